//! The source's disks, held so that nothing can write to them.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::Source;

/// A machine whose disks are open to be read alone, for as long as this lives.
#[derive(Debug)]
pub struct OpenSource {
    /// What was found.
    pub source: Source,
}

impl OpenSource {
    /// Opens and inspects the disks at `paths`, or without any every disk of
    /// this machine.
    ///
    /// # Errors
    /// A disk is missing or in use, or the running system lives on it.
    pub fn open(_paths: &[PathBuf]) -> Result<Self> {
        bail!("inspecting is not there yet")
    }

    /// Mounts the filesystem that begins at byte `start` of the disk `disk`,
    /// read-only; a btrfs by its top.
    ///
    /// # Errors
    /// Its journal would have to be replayed; no such filesystem.
    pub fn mount(&self, _disk: &Path, _start: u64) -> Result<MountedSource> {
        bail!("inspecting is not there yet")
    }

    /// Lets the disks go; they may be written to again.
    pub fn close(self) -> Result<()> {
        Ok(())
    }
}

/// A filesystem of the source, mounted read-only until this is dropped.
#[derive(Debug)]
pub struct MountedSource {
    path: PathBuf,
}

impl MountedSource {
    /// Its top.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
