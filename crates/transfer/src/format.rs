//! How a filesystem is made like another one: the same kind, block size and
//! feature set, so that the machine's own boot loader and kernel can read it.

use std::path::Path;

use anyhow::{Result, bail};
use p2v_sys::loopdev::Extent;
use serde::{Deserialize, Serialize};

use crate::source::Identity;

/// What mkfs must be told beside the identity and the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// blkid's word: `ext2`, `ext3`, `ext4`, `xfs`, `btrfs`, `vfat`.
    pub kind: String,
    /// mkfs's arguments that make its features those of the source:
    /// `["-b", "4096", "-O", "none,has_journal,..."]`.
    pub options: Vec<String>,
}

impl Format {
    /// The format of the filesystem of that kind in `extent` of the disk or
    /// image at `disk`, read from its superblock alone.
    ///
    /// # Errors
    /// The kind is none that we make; the superblock is damaged.
    pub fn of(_disk: &Path, _extent: Extent, _kind: &str) -> Result<Self> {
        bail!("reading a filesystem's features is not there yet")
    }

    /// Makes such a filesystem on `device`.
    ///
    /// # Errors
    /// A tool is missing or too old for a feature; an option is not one that
    /// [`Format::of`] could have given.
    pub fn make(&self, _device: &Path, _identity: &Identity) -> Result<()> {
        bail!("making a filesystem is not there yet")
    }
}
