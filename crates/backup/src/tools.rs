//! The programs that a restore needs, looked for before the first write, and
//! those that an export needs: without them it would take a table for unreadable.

use anyhow::{Result, bail};
use p2v_sys::command::in_path;

use crate::restore::{Direction, Fit};
use crate::stream::Manifest;

type Tool = (&'static str, &'static str);

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
    find(&tools)
}

/// Fails if a program is missing that reads partition tables.
pub fn check_table() -> Result<()> {
    find(&TABLE)
}

fn find(tools: &[Tool]) -> Result<()> {
    for (tool, package) in tools {
        if !in_path(tool) {
            bail!("{tool} is not found on this node; install {package}");
        }
    }
    Ok(())
}
