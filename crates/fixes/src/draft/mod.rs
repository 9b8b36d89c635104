//! A root with edits that are not made yet.
//!
//! Fixes read and write through it. What they write is kept in memory and read
//! back by those that come after, so a dry run shows what all of them together
//! would do. [`Draft::diff`] shows it, [`Draft::apply`] does it: each file is
//! replaced as a whole, with its owner, mode and extended attributes.

mod diff;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use p2v_sys::Root;

use crate::lines::{Line, edit_lines};
use crate::step::Step;

/// The mode of a new file.
const NEW_FILE: u32 = 0o644;

/// A view of a root that remembers edits instead of making them.
#[derive(Debug)]
pub struct Draft<'a> {
    root: &'a Root,
    edits: BTreeMap<PathBuf, Edit>,
    steps: Vec<Step>,
    last_resort: Option<Step>,
    warnings: Vec<String>,
    obstacles: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Edit {
    /// These bytes; the mode is for a file that is not there yet.
    File {
        bytes: Vec<u8>,
        mode: u32,
    },
    Link(PathBuf),
    Removed,
}

impl<'a> Draft<'a> {
    /// A draft without edits.
    pub fn new(root: &'a Root) -> Self {
        Self {
            root,
            edits: BTreeMap::new(),
            steps: Vec::new(),
            last_resort: None,
            warnings: Vec::new(),
            obstacles: Vec::new(),
        }
    }

    /// The root itself, as it is now.
    pub fn root(&self) -> &'a Root {
        self.root
    }

    /// A file's bytes as they would be; `None` if there would be none.
    ///
    /// # Errors
    /// It is no regular file, or its path leads through what is none of the
    /// root's.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
        match self.edits.get(&self.place(path.as_ref())?) {
            Some(Edit::File { bytes, .. }) => Ok(Some(bytes.clone())),
            Some(Edit::Link(target)) => match target.to_str() {
                Some("/dev/null") => Ok(None),
                _ => self.read(target),
            },
            Some(Edit::Removed) => Ok(None),
            None => self.read_file(path.as_ref()),
        }
    }

    /// A device in a file's place (`/dev/null`, a mask) is no file.
    fn read_file(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let Some(real) = self.root.real_path(path)? else {
            return Ok(None);
        };
        if real.starts_with("dev") {
            return Ok(None);
        }
        self.root.read(path)
    }

    /// The same as text for looking at, invalid UTF-8 replaced.
    pub fn text(&self, path: impl AsRef<Path>) -> Result<Option<String>> {
        let bytes = self.read(path)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Whether `path` would lead to something.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        match self.place(path).ok().and_then(|path| self.edits.get(&path)) {
            Some(edit) => *edit != Edit::Removed,
            None => self.root.exists(path),
        }
    }

    /// What the symbolic link `path` would say; `None` if there would be none.
    pub fn link(&self, path: impl AsRef<Path>) -> Result<Option<PathBuf>> {
        match self.edits.get(&plain(path.as_ref())) {
            Some(Edit::Link(target)) => Ok(Some(target.clone())),
            Some(_) => Ok(None),
            None => self.root.read_link(path),
        }
    }

    /// The names that a directory would have, sorted. Names that are not UTF-8
    /// are no configuration's and are left out.
    pub fn list(&self, directory: impl AsRef<Path>) -> Result<Vec<String>> {
        let directory = plain(directory.as_ref());
        let names = self.root.list(&directory)?;
        let mut names: BTreeSet<String> = names
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .collect();
        let real = self.root.real_path(&directory)?.unwrap_or(directory);
        for (path, edit) in &self.edits {
            if path.parent() != Some(&real) {
                continue;
            }
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            match edit {
                Edit::Removed => names.remove(name),
                _ => names.insert(name.to_owned()),
            };
        }
        Ok(names.into_iter().collect())
    }

    /// The paths of a directory's entries whose names end in `suffix`.
    pub fn list_paths(&self, directory: &str, suffix: &str) -> Result<Vec<String>> {
        let names = self.list(directory)?.into_iter();
        let names = names.filter(|name| name.ends_with(suffix) && !name.starts_with('.'));
        Ok(names.map(|name| format!("{directory}/{name}")).collect())
    }

    /// Gives a file these bytes; a new one gets mode 0644.
    pub fn write(&mut self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) -> Result<()> {
        self.write_mode(path, bytes, NEW_FILE)
    }

    /// Gives a file these bytes; a new one gets this mode.
    pub fn write_mode(
        &mut self,
        path: impl AsRef<Path>,
        bytes: impl Into<Vec<u8>>,
        mode: u32,
    ) -> Result<()> {
        let place = self.place(path.as_ref())?;
        let bytes = bytes.into();
        self.edits.insert(place, Edit::File { bytes, mode });
        Ok(())
    }

    /// Edits a file line by line, see [`edit_lines`]. Returns whether it
    /// changed; a file that is not there does not.
    pub fn edit(&mut self, path: impl AsRef<Path>, edit: impl FnMut(&str) -> Line) -> Result<bool> {
        let Some(old) = self.read(&path)? else {
            return Ok(false);
        };
        let new = edit_lines(&old, edit);
        if new == old {
            return Ok(false);
        }
        self.write(path, new)?;
        Ok(true)
    }

    /// Removes a file or a link itself.
    pub fn remove(&mut self, path: impl AsRef<Path>) {
        self.edits.insert(plain(path.as_ref()), Edit::Removed);
    }

    /// Puts a symbolic link to `target` in the place of `path`.
    pub fn symlink(&mut self, target: impl AsRef<Path>, path: impl AsRef<Path>) {
        let target = target.as_ref().to_owned();
        self.edits.insert(plain(path.as_ref()), Edit::Link(target));
    }

    /// Gives a file another name in the same or another directory, and keeps
    /// its mode.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let Some(bytes) = self.read(from)? else {
            bail!("renaming {from}: there is no such file");
        };
        if self.exists(to) {
            bail!("renaming {from} to {to}: that name is taken");
        }
        let mode = self.mode(from)?;
        self.write_mode(to, bytes, mode)?;
        self.remove(from);
        Ok(())
    }

    /// A file's mode, as in 0o644.
    pub fn mode(&self, path: &str) -> Result<u32> {
        use std::os::unix::fs::MetadataExt;
        match self.edits.get(&self.place(path.as_ref())?) {
            Some(Edit::File { mode, .. }) if !self.root.exists(path) => Ok(*mode),
            _ => {
                let file = self.root.open_file(path)?;
                let metadata = file
                    .metadata()
                    .with_context(|| format!("examining {path}"))?;
                Ok(metadata.mode() & 0o7777)
            }
        }
    }

    /// Adds a program of the transferred system that must run after the edits.
    pub fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Takes the steps out.
    pub fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// What is done instead of the rest of the steps when one of them fails.
    pub fn or_else(&mut self, step: Step) {
        self.last_resort = Some(step);
    }

    /// Takes that out.
    pub fn take_last_resort(&mut self) -> Option<Step> {
        self.last_resort.take()
    }

    /// Says what somebody has to look at.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// Takes the warnings out.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Says why the system will not start.
    pub fn obstacle(&mut self, text: impl Into<String>) {
        self.obstacles.push(text.into());
    }

    /// Takes the obstacles out.
    pub fn take_obstacles(&mut self) -> Vec<String> {
        std::mem::take(&mut self.obstacles)
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The files that would change.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.edits.keys().map(PathBuf::as_path)
    }

    /// Makes the edits, and forgets them.
    ///
    /// # Errors
    /// One cannot be made: those before it stay, and all are forgotten.
    pub fn apply(&mut self) -> Result<()> {
        for (path, edit) in std::mem::take(&mut self.edits) {
            match edit {
                Edit::File { bytes, .. } if self.root.exists(&path) => {
                    self.root.rewrite(&path, bytes)?;
                }
                Edit::File { bytes, mode } => self.root.write(&path, bytes, mode)?,
                Edit::Link(target) => self.root.symlink(target, &path)?,
                Edit::Removed => self.root.remove_file(&path)?,
            }
        }
        Ok(())
    }

    /// Forgets the edits made since `keep` was taken by [`Draft::mark`].
    pub fn roll_back(&mut self, mark: Mark) {
        self.edits = mark.0;
        self.steps.clear();
        self.last_resort = None;
    }

    /// The state to which [`Draft::roll_back`] returns.
    pub fn mark(&self) -> Mark {
        Mark(self.edits.clone())
    }

    /// The files whose bytes are others than at `mark`, with those: `None` where
    /// there was no file.
    pub fn changed_since(&self, mark: &Mark) -> Result<Vec<(PathBuf, Option<Vec<u8>>)>> {
        let mut changed = Vec::new();
        for path in self.edits.keys() {
            let before = match mark.0.get(path) {
                Some(Edit::File { bytes, .. }) => Some(bytes.clone()),
                Some(Edit::Link(_) | Edit::Removed) => None,
                None => self.read_file(path)?,
            };
            if self.read(path)? != before {
                changed.push((path.clone(), before));
            }
        }
        Ok(changed)
    }

    /// Where a file is that more than one path may lead to, so that there is
    /// one edit of it.
    fn place(&self, path: &Path) -> Result<PathBuf> {
        let path = plain(path);
        if self.edits.contains_key(&path) {
            return Ok(path);
        }
        let real = self.root.real_path(&path)?;
        Ok(real.filter(|real| !real.starts_with("dev")).unwrap_or(path))
    }
}

/// A state of a draft.
#[derive(Debug)]
pub struct Mark(BTreeMap<PathBuf, Edit>);

/// A path as the draft's keys have it: from the root, without the first slash.
fn plain(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn rooted() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn edits_are_read_back_listed_shown_and_made() {
        let (_dir, root) = rooted();
        root.write("etc/a", "one\ntwo\n", 0o600).unwrap();
        root.write("etc/b", "b\n", 0o640).unwrap();
        root.symlink("a", "etc/link").unwrap();
        let mut draft = Draft::new(&root);
        draft.write("/etc/link", "one\n2\n").unwrap();
        draft.rename("etc/b", "etc/c").unwrap();
        draft.symlink("/dev/null", "etc/systemd/system/x.service");
        assert_eq!(draft.text("etc/a").unwrap().unwrap(), "one\n2\n");
        assert_eq!(draft.list("etc").unwrap(), ["a", "c", "link"]);
        assert!(!draft.exists("etc/b") && draft.exists("etc/c"));
        assert_eq!(draft.read("etc/systemd/system/x.service").unwrap(), None);
        let diff = String::from_utf8(draft.diff().unwrap()).unwrap();
        assert_eq!(
            diff,
            "--- a/etc/a\n+++ b/etc/a\n@@ -2 +2 @@\n-two\n+2\n\
             --- a/etc/b\n+++ /dev/null\n@@ -1 +0,0 @@\n-b\n\
             --- /dev/null\n+++ b/etc/c\n@@ -0,0 +1 @@\n+b\n\
             link etc/systemd/system/x.service -> /dev/null\n"
        );
        assert_eq!(root.read_text("etc/a").unwrap().unwrap(), "one\ntwo\n");
        draft.apply().unwrap();
        assert!(draft.is_empty());
        assert_eq!(root.read_text("etc/a").unwrap().unwrap(), "one\n2\n");
        let mode = |name: &str| {
            let metadata = std::fs::metadata(root.path().join(name)).unwrap();
            metadata.permissions().mode() & 0o7777
        };
        assert_eq!((mode("etc/a"), mode("etc/c")), (0o600, 0o640));
        assert!(root.path().join("etc/link").is_symlink());
        assert!(!root.exists("etc/b"));
    }

    #[test]
    fn a_failed_fix_is_rolled_back_alone() {
        let (_dir, root) = rooted();
        let mut draft = Draft::new(&root);
        draft.write("kept", "x").unwrap();
        let mark = draft.mark();
        draft.write("half", "x").unwrap();
        draft.roll_back(mark);
        assert_eq!(draft.list("").unwrap(), ["kept"]);
    }
}
