//! Which blocks of a filesystem are in use, read from its own structures on
//! the device. Nothing is mounted, and nothing written.
//!
//! The filesystem may be damaged, or crafted by whoever had the machine: a
//! reader bounds all that it follows, and gives up with a reason rather than
//! guess. A filesystem that was not unmounted gives up too, where what it holds
//! may be more than its own maps say; only of ext3 and ext4 the journal is
//! followed. The caller takes every block instead.

use anyhow::{Result, bail};

use crate::ranges::Ranges;
use crate::window::Window;

mod btrfs;
mod checksum;
mod ext;
mod fat;
pub mod fields;
mod kept;
mod swap;
mod xfs;

pub use xfs::features as xfs_features;

/// What a filesystem uses of its partition.
#[derive(Debug)]
pub struct Used {
    /// The filesystem's own blocks.
    pub ranges: Ranges,
    /// Where it ends. What lies behind is not its own, and nobody knows whose
    /// it is: a tree of hashes that verifies it, say.
    pub end: u64,
}

impl Used {
    /// All that must be kept of a partition of `length` bytes.
    pub fn with_rest(self, length: u64) -> Ranges {
        let mut ranges = self.ranges;
        ranges.add(self.end.min(length)..length);
        ranges
    }
}

/// The bytes in use of the filesystem of type `kind`, in blkid's words, at the
/// start of `window`. An error says why they cannot be told.
pub fn used(kind: &str, window: &Window) -> Result<Used> {
    let mut used = match kind {
        "ext2" | "ext3" | "ext4" => ext::used(window),
        "xfs" => xfs::used(window),
        "btrfs" => btrfs::used(window),
        "vfat" => fat::used(window),
        "swap" => swap::used(window),
        _ => bail!("the allocation of {kind} is not known"),
    }?;
    used.ranges = used.ranges.clipped(window.length());
    Ok(used)
}

/// Fails if the XFS at the start of `window` has a log that must be replayed,
/// lies on another device, or cannot be read.
pub fn check_xfs_log(window: &Window) -> Result<()> {
    xfs::check_log(window).map(drop)
}
