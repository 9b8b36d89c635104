//! A look at a disk image that `create` has made: its table, its filesystems,
//! whether a firmware would boot it, and its root mounted.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::MsFlags;
use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_sys::partition::{self, Partition};
use p2v_sys::{Cmd, Mount};

/// The file at the top of a root that create has not finished.
pub const INCOMPLETE: &str = ".p2v-incomplete";

/// What blkid finds at a place of a disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The filesystem's type, "" for none.
    pub kind: String,
    /// The filesystem's UUID, "" for none.
    pub uuid: String,
}

/// Probes the bytes from `offset` on, `length` of them.
pub fn probe(disk: &Path, extent: Extent) -> Result<Found> {
    let value = |tag: &str| {
        Cmd::new("blkid", format!("probing {}", disk.display()))
            .args(["--probe", "--output", "value", "--match-tag", tag])
            .args(["--offset", &extent.offset.to_string()])
            .args(["--size", &extent.length.to_string()])
            .arg(disk)
            .read()
    };
    // Status 2 means that nothing was found.
    Ok(Found {
        kind: value("TYPE").unwrap_or_default(),
        uuid: value("UUID").unwrap_or_default(),
    })
}

/// The extent of a whole disk image.
pub fn whole(disk: &Path) -> Result<Extent> {
    let length = std::fs::metadata(disk)
        .with_context(|| format!("examining {}", disk.display()))?
        .len();
    Ok(Extent { offset: 0, length })
}

/// The partitions of a disk image.
pub fn partitions(disk: &Path) -> Result<Vec<Partition>> {
    partition::read(disk)
}

/// The table's kind, "dos" or "gpt"; none if there is no table.
pub fn label(disk: &Path) -> Option<String> {
    let text = Cmd::new("sfdisk", "reading a partition table")
        .arg("--json")
        .arg(disk)
        .read()
        .ok()?;
    let table: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(table["partitiontable"]["label"].as_str()?.to_owned())
}

/// Whether a BIOS would find boot code in the first sector.
pub fn has_boot_code(disk: &Path) -> Result<bool> {
    let mut sector = [0; 512];
    read_at(disk, &mut sector, 0)?;
    Ok(sector[..440].iter().any(|byte| *byte != 0) && sector[510..] == [0x55, 0xaa])
}

/// Whether the first and the last MiB, where tables and boot code lie, are all
/// zeros.
pub fn edges_are_blank(disk: &Path) -> Result<bool> {
    let length = whole(disk)?.length;
    let mut edge = vec![0; 1 << 20];
    read_at(disk, &mut edge, 0)?;
    let first = edge.iter().all(|byte| *byte == 0);
    read_at(disk, &mut edge, length - (1 << 20))?;
    Ok(first && edge.iter().all(|byte| *byte == 0))
}

/// The hash of all of a file, to tell whether anything was written.
pub fn hash(file: &Path) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let opened = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    hasher
        .update_reader(opened)
        .with_context(|| format!("reading {}", file.display()))?;
    Ok(hasher.finalize())
}

/// Puts recognizable bytes where a firmware, a table or a filesystem would
/// look, so that a stray write shows.
pub fn scribble(disk: &Path) -> Result<()> {
    let length = whole(disk)?.length;
    let file = File::options()
        .write(true)
        .open(disk)
        .with_context(|| format!("opening {}", disk.display()))?;
    for offset in [0, 1024, 65536, 1 << 20, length / 2, length - 4096] {
        file.write_all_at(&[0xa5; 512], offset)
            .with_context(|| format!("writing {}", disk.display()))?;
    }
    Ok(())
}

/// A part of a disk image, mounted read-only.
#[derive(Debug)]
pub struct MountedPart {
    mount: Option<Mount>,
    device: Option<LoopDevice>,
    target: PathBuf,
}

/// Mount options by which a filesystem does not mind that another of the same
/// UUID is mounted, as a copy has it.
pub fn beside_clones(kind: &str) -> &'static str {
    if kind == "xfs" { "nouuid" } else { "" }
}

impl MountedPart {
    /// Mounts the filesystem of type `kind` at `extent` on a new directory in
    /// `dir`.
    pub fn new(disk: &Path, extent: Extent, kind: &str, dir: &Path) -> Result<Self> {
        let target = tempfile::Builder::new()
            .prefix("mounted-")
            .tempdir_in(dir)
            .context("making a mount point")?
            .keep();
        let device = LoopDevice::attach(disk, extent, true)?;
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let mount = Mount::new(device.path(), &target, kind, flags, beside_clones(kind))?;
        Ok(Self {
            mount: Some(mount),
            device: Some(device),
            target,
        })
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        &self.target
    }

    /// Unmounts, and reports what that meets.
    pub fn close(mut self) -> Result<()> {
        self.mount.take().map_or(Ok(()), Mount::close)?;
        self.device.take().map_or(Ok(()), LoopDevice::close)
    }
}

impl Drop for MountedPart {
    fn drop(&mut self) {
        // In this order, whatever the fields' is.
        drop(self.mount.take());
        drop(self.device.take());
    }
}

fn read_at(disk: &Path, bytes: &mut [u8], offset: u64) -> Result<()> {
    File::open(disk)
        .and_then(|file| file.read_exact_at(bytes, offset))
        .with_context(|| format!("reading {} at byte {offset}", disk.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_disk_is_told_from_a_written_one() {
        let file = p2v_testing::image(8 << 20);
        let path = file.path();
        let before = hash(path).unwrap();
        assert!(edges_are_blank(path).unwrap());
        assert!(!has_boot_code(path).unwrap());
        assert_eq!(probe(path, whole(path).unwrap()).unwrap(), Found::default());
        assert_eq!(label(path), None);
        scribble(path).unwrap();
        assert!(!edges_are_blank(path).unwrap());
        assert_ne!(hash(path).unwrap(), before);
    }
}
