//! What a disk's filesystems hold, file by file, to be compared with what
//! another's do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use p2v_sys::partition::Partition;

use crate::image::{self, MountedPart};
use crate::manifest;

/// The filesystems that this kernel is sure to mount.
const MOUNTABLE: &[&str] = &["ext2", "ext3", "ext4", "xfs", "btrfs"];

/// What is known of each file, by the number of its partition and its path
/// there.
pub type Files = BTreeMap<(usize, PathBuf), String>;

/// All files of a disk image's filesystems, mounted below `dir` one at a time.
/// Renaming replaces files, so the times of directories are left out.
pub fn of_disk(disk: &Path, dir: &Path) -> Result<Files> {
    let mut files = Files::new();
    for (number, partition) in image::partitions(disk)?.iter().enumerate() {
        let part = mount(disk, partition, dir)?;
        if let Some(part) = part {
            let found = manifest::without_directory_times(part.path())?;
            files.extend(
                found
                    .into_iter()
                    .map(|(path, words)| ((number, path), words)),
            );
            part.close()?;
        }
    }
    Ok(files)
}

/// The filesystem of a partition, if it has one that can be mounted.
pub fn mount(disk: &Path, partition: &Partition, dir: &Path) -> Result<Option<MountedPart>> {
    let kind = image::probe(disk, partition.extent)?.kind;
    if !MOUNTABLE.contains(&kind.as_str()) {
        return Ok(None);
    }
    MountedPart::new(disk, partition.extent, &kind, dir).map(Some)
}
