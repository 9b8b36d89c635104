//! The directory in which a root is built. It goes with its guard; what a
//! killed run left goes at the next one.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, umount2};
use p2v_sys::mount::points_below;

/// A directory of our own, removed with all that is in it.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the directory anew. Its caller holds the lock that makes it the
    /// only user.
    pub(crate) fn new(path: PathBuf) -> Result<Self> {
        remove(&path)?;
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it and reports.
    pub(crate) fn close(self) -> Result<()> {
        let result = remove(&self.path);
        std::mem::forget(self);
        result
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!("{error:#}");
        }
    }
}

/// Removes a tree, but never through a mount: a tool that was killed may have
/// left the node's own /proc or /dev in it. None is no error.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removing = || format!("removing {}", path.display());
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.with_context(removing)?,
    };
    // A link's own end is not ours, nor is what is mounted there.
    if !metadata.is_dir() {
        return std::fs::remove_file(path).with_context(removing);
    }
    for mount in points_below(path)?.iter().rev() {
        // Lazily: whatever still uses it, it is gone from our sight.
        umount2(mount, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
            .with_context(|| format!("unmounting {}", mount.display()))
            .with_context(removing)?;
    }
    if let Some(mount) = points_below(path)?.first() {
        bail!("{}: {} is still mounted", removing(), mount.display());
    }
    std::fs::remove_dir_all(path).with_context(removing)
}

/// Whether `name` is that of a scratch directory, and of which key.
pub(crate) fn key_of(name: &std::ffi::OsStr) -> Option<&str> {
    std::str::from_utf8(name.as_bytes().strip_prefix(PREFIX.as_bytes())?).ok()
}

/// The start of a scratch directory's name; the key follows.
pub(crate) const PREFIX: &str = ".building-";

#[cfg(test)]
mod tests {
    use super::*;
    use nix::mount::{MsFlags, mount};

    #[test]
    fn a_tree_goes_without_what_is_mounted_in_it() {
        p2v_testing::need_root!();
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        std::fs::create_dir(&precious).unwrap();
        std::fs::write(precious.join("file"), "").unwrap();
        let path = dir.path().join("a tree");
        let inner = path.join("mount point");
        std::fs::create_dir_all(&inner).unwrap();
        let none: Option<&str> = None;
        mount(Some(&precious), &inner, none, MsFlags::MS_BIND, none).unwrap();
        remove(&path).unwrap();
        assert!(precious.join("file").exists());
        assert!(!path.exists());
        remove(&path).unwrap();
    }

    #[test]
    fn a_link_goes_and_what_is_mounted_at_its_end_stays() {
        p2v_testing::need_root!();
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere/mounted");
        std::fs::create_dir_all(&elsewhere).unwrap();
        let none: Option<&str> = None;
        mount(Some(&elsewhere), &elsewhere, none, MsFlags::MS_BIND, none).unwrap();
        let link = dir.path().join(format!("{PREFIX}link"));
        for end in [dir.path().join("elsewhere"), "/nowhere".into()] {
            std::os::unix::fs::symlink(end, &link).unwrap();
            let removed = remove(&link);
            let mounted = !points_below(&elsewhere).unwrap().is_empty();
            if !mounted {
                panic!("what was mounted behind the link is gone");
            }
            removed.unwrap();
            assert!(link.symlink_metadata().is_err());
        }
        umount2(&elsewhere, MntFlags::empty()).unwrap();
    }
}
