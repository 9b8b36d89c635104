//! Mounted filesystems as guards.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};

/// A mounted filesystem. [`Mount::close`] unmounts it and reports; dropping it
/// unmounts too, and warns where that fails.
#[derive(Debug)]
pub struct Mount {
    target: PathBuf,
    mounted: bool,
}

impl Mount {
    /// Mounts `source` of type `kind` on the existing directory `target`, with
    /// `data` as the filesystem's own options ("" for none).
    pub fn new(
        source: impl AsRef<OsStr>,
        target: &Path,
        kind: &str,
        flags: MsFlags,
        data: &str,
    ) -> Result<Self> {
        let source = source.as_ref();
        nix::mount::mount(
            Some(source),
            target,
            (!kind.is_empty()).then_some(kind),
            flags,
            (!data.is_empty()).then_some(data),
        )
        .with_context(|| {
            format!(
                "mounting {} on {}",
                source.to_string_lossy(),
                target.display()
            )
        })?;
        Ok(Self {
            target: target.to_owned(),
            mounted: true,
        })
    }

    /// Makes the directory `source` visible at `target` too.
    pub fn bind(source: &Path, target: &Path) -> Result<Self> {
        Self::new(source, target, "", MsFlags::MS_BIND, "")
    }

    /// The directory this filesystem is mounted on.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Unmounts, trying again for up to five seconds while it is busy.
    pub fn close(mut self) -> Result<()> {
        self.unmount()
    }

    fn unmount(&mut self) -> Result<()> {
        if !self.mounted {
            return Ok(());
        }
        self.mounted = false;
        let mut last = Ok(());
        for _ in 0..50 {
            // Never follow a link that may have taken the mount point's place.
            last = umount2(&self.target, MntFlags::UMOUNT_NOFOLLOW);
            match last {
                Err(Errno::EBUSY) => std::thread::sleep(Duration::from_millis(100)),
                _ => break,
            }
        }
        last.with_context(|| format!("unmounting {}", self.target.display()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            tracing::warn!("{error:#}");
        }
    }
}
