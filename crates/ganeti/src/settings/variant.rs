//! Which variant's file is read.
//!
//! Ganeti offers the variants listed in variants.list; others it passes on
//! only when it is forced to. Either kind needs its file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::SettingsPaths;
use crate::findings::quoted;
use crate::job::is_word;

/// The list's name in the OS directory.
const LIST_NAME: &str = "variants.list";

/// How the name of a variant's file ends.
pub const FILE_END: &str = ".conf";

/// The file of a variant, which is there. `dir` is the directory of the
/// variants' files.
pub(super) fn file(variant: &str, dir: &Path, paths: &SettingsPaths) -> Result<PathBuf> {
    let doing = format!("choosing the variant {}", quoted(variant));
    // Before it becomes part of a path.
    if !is_word(variant) {
        bail!("{doing}: a variant's name has letters, digits, `.`, `_` and `-`");
    }
    let file = dir.join(format!("{variant}{FILE_END}"));
    if file.is_file() {
        return Ok(file);
    }
    let list = paths.os_dir.join(LIST_NAME);
    let published = published(paths).with_context(|| doing.clone())?;
    if published.iter().any(|name| name == variant) {
        bail!(
            "{doing}: it is published, but its file is missing: create {}, or remove the line \
            `{variant}` from {}",
            file.display(),
            list.display()
        );
    }
    let others = match published.as_slice() {
        [] => "none is published".to_owned(),
        names => format!("published are: {}", names.join(", ")),
    };
    bail!(
        "{doing}: there is no such variant ({others}): choose another, or create {} and add the \
        line `{variant}` to {}",
        file.display(),
        list.display()
    )
}

/// The names in variants.list, those that Ganeti offers; none if there is no
/// such file. Blank lines and comments are skipped, as Ganeti does.
pub fn published(paths: &SettingsPaths) -> Result<Vec<String>> {
    let list = paths.os_dir.join(LIST_NAME);
    let text = match std::fs::read(&list) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("reading {}", list.display()));
        }
    };
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}
