//! The programs that a restore needs, looked for before the first write, and
//! those that an export needs: without them it would take a table for unreadable.

use anyhow::Result;
use p2v_sys::tools::{self, Tool};

use crate::restore::{Direction, Fit};
use crate::stream::Manifest;

const TABLE: [Tool; 2] = [("sfdisk", "fdisk"), ("blkid", "util-linux")];
const EXT: [Tool; 2] = [("e2fsck", "e2fsprogs"), ("resize2fs", "e2fsprogs")];
const XFS: [Tool; 1] = [("xfs_growfs", "xfsprogs")];
const BTRFS: [Tool; 1] = [("btrfs", "btrfs-progs")];

/// Fails if a program is missing that `fit` needs.
pub fn check(manifest: &Manifest, fit: &Fit) -> Result<()> {
    let mut tools: Vec<Tool> = Vec::new();
    if fit.table.is_some() {
        tools.extend(TABLE);
    }
    if let Some(resize) = fit.resize {
        tools.extend(match manifest.areas[resize.area].content.as_deref() {
            Some("xfs") => XFS.as_slice(),
            Some("btrfs") => BTRFS.as_slice(),
            _ => EXT.as_slice(),
        });
        if resize.how == Direction::Shrink {
            tools.push(("blkid", "util-linux"));
        }
    }
    tools::check(&tools::missing(&tools))
}

/// Fails if a program is missing that reads partition tables.
pub fn check_table() -> Result<()> {
    tools::check(&tools::missing(&TABLE))
}
