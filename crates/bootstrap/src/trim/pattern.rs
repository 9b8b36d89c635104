//! Removing what a path with `*` names, inside a tree: no step of the path is
//! a symbolic link, so nothing outside the tree is ever reached.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Removes everything that `pattern` names, except for `except`.
pub(super) fn remove(root: &Path, pattern: &str, except: &[&str]) -> Result<()> {
    for path in expand(root, pattern)? {
        let kept = path
            .file_name()
            .is_some_and(|name| except.iter().any(|except| name == *except));
        if !kept {
            remove_path(&path)?;
        }
    }
    Ok(())
}

/// Removes a file, a link itself, or a directory with all that is in it; none
/// is no error.
pub(super) fn remove_path(path: &Path) -> Result<()> {
    let removing = || format!("removing {}", path.display());
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path).with_context(removing),
        Ok(_) => std::fs::remove_file(path).with_context(removing),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(removing),
    }
}

/// The existing paths that `pattern` names.
pub(super) fn expand(root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let mut found = vec![root.to_owned()];
    for name in pattern.split('/') {
        let mut next = Vec::new();
        for directory in found.iter().filter(|path| is_directory(path)) {
            if name.contains('*') {
                next.extend(matching(directory, name)?);
            } else {
                next.push(directory.join(name));
            }
        }
        found = next;
    }
    found.retain(|path| std::fs::symlink_metadata(path).is_ok());
    Ok(found)
}

fn is_directory(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn matching(directory: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let (start, end) = pattern.split_once('*').unwrap_or((pattern, ""));
    let reading = || format!("reading {}", directory.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let long_enough = name.len() >= start.len() + end.len();
        if long_enough && name.starts_with(start) && name.ends_with(end) {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_removed_but_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        let root = dir.path().join("root");
        std::fs::create_dir_all(outside.join("log")).unwrap();
        std::fs::write(outside.join("log/precious"), "").unwrap();
        std::fs::create_dir_all(root.join("var")).unwrap();
        std::os::unix::fs::symlink(outside.join("log"), root.join("var/log")).unwrap();
        remove(&root, "var/log/*", &[]).unwrap();
        assert!(outside.join("log/precious").exists());
        remove(&root, "var/*", &[]).unwrap();
        assert!(outside.join("log/precious").exists());
        assert!(std::fs::symlink_metadata(root.join("var/log")).is_err());
    }
}
