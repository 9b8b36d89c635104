//! What a draft would change, as a unified diff.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use similar::TextDiff;

use super::{Draft, Edit};

/// Lines around a change.
const CONTEXT: usize = 3;

/// Set in the mode of a file that everybody may read.
const READ_BY_OTHERS: u32 = 0o004;

impl Draft<'_> {
    /// All edits, in the order of their paths, each byte as it is in the files.
    ///
    /// Of a file that not everybody may read only the changed lines are shown:
    /// the lines around may hold a password.
    pub fn diff(&self) -> Result<Vec<u8>> {
        let mut shown = Vec::new();
        for (path, edit) in &self.edits {
            let old = match self.root.read_link(path)? {
                None => self.read_file(path)?,
                Some(_) => None,
            };
            let name = path.display();
            match edit {
                Edit::File { bytes, .. } => {
                    self.diff_file(path, old.as_deref(), Some(bytes), &mut shown)?;
                }
                Edit::Link(target) => writeln!(shown, "link {name} -> {}", target.display())?,
                Edit::Removed if old.is_none() => writeln!(shown, "remove {name}")?,
                Edit::Removed => self.diff_file(path, old.as_deref(), None, &mut shown)?,
            }
        }
        Ok(shown)
    }

    fn diff_file(
        &self,
        path: &Path,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
        shown: &mut Vec<u8>,
    ) -> Result<()> {
        let header = |side: &str, bytes: Option<&[u8]>| match bytes {
            Some(_) => format!("{side}/{}", path.display()),
            None => "/dev/null".to_owned(),
        };
        let diff = TextDiff::from_lines(old.unwrap_or_default(), new.unwrap_or_default());
        diff.unified_diff()
            .context_radius(self.radius(path))
            .header(&header("a", old), &header("b", new))
            .to_writer(shown)?;
        Ok(())
    }

    fn radius(&self, path: &Path) -> usize {
        let mode = path.to_str().and_then(|path| self.mode(path).ok());
        match mode {
            Some(mode) if mode & READ_BY_OTHERS == 0 => 0,
            _ => CONTEXT,
        }
    }
}
