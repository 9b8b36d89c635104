//! A root of the cache that has been verified.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use p2v_sys::lock::SharedFile;

use crate::archive;
use crate::metadata::Metadata;

/// A verified root, ready to be unpacked. While this lives, nobody prunes it;
/// it stays usable where create drops it for its age.
#[derive(Debug)]
pub struct CachedRoot {
    pub(super) archive: SharedFile,
    pub(super) metadata: Metadata,
}

impl CachedRoot {
    /// Room that the unpacked root takes on a filesystem with blocks of 4 KiB,
    /// in bytes, its own structures not counted.
    pub fn unpacked_bytes(&self) -> u64 {
        self.metadata.unpacked_bytes
    }

    /// Number of inodes it takes.
    pub fn inodes(&self) -> u64 {
        self.metadata.inodes
    }

    /// Its name in the cache.
    pub fn key(&self) -> &str {
        &self.metadata.key
    }

    /// The version of its kernel, as in `6.1.0-31-amd64`.
    pub fn kernel_version(&self) -> &str {
        &self.metadata.kernel
    }

    /// All that is known of it.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Unpacks it into the directory `target`: the top of a fresh filesystem.
    pub fn unpack(&self, target: &Path) -> Result<()> {
        // A handle of its own would share the position.
        let path = format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(self.archive.file())
        );
        let archive = File::open(&path)
            .with_context(|| format!("opening the bootstrap root {}", self.key()))?;
        archive::unpack(archive, target)
            .with_context(|| format!("unpacking the bootstrap root {}", self.key()))
    }
}
