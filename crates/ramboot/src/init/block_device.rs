//! The block devices that the kernel has, from /sys/class/block.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A block device: a disk or a partition of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    /// The kernel's name, as in "vda1".
    pub name: String,
    /// MAJOR:MINOR, as in mountinfo.
    pub number: String,
    /// Size in bytes; 0 for a drive without a medium.
    pub size: u64,
    /// For a partition: its disk's name, and its number in the table.
    pub part_of: Option<(String, u32)>,
    /// Logical sector size in bytes, the unit of the partition table.
    pub sector_size: u32,
}

impl BlockDevice {
    /// The device node.
    pub fn path(&self) -> PathBuf {
        // The kernel writes the slash of "cciss/c0d0" so in sysfs.
        Path::new("/dev").join(self.name.replace('!', "/"))
    }

    /// The name of the disk that this is, or is a partition of.
    pub fn disk(&self) -> &str {
        self.part_of.as_ref().map_or(&self.name, |(disk, _)| disk)
    }

    /// Opens it for reading.
    pub fn open(&self) -> Result<File> {
        let path = self.path();
        File::open(&path).with_context(|| format!("opening {}", path.display()))
    }

    fn examine(name: &str) -> Option<Self> {
        let directory = Path::new("/sys/class/block")
            .join(name)
            .canonicalize()
            .ok()?;
        let text = |directory: &Path, file: &str| {
            let text = std::fs::read_to_string(directory.join(file)).ok()?;
            Some(text.trim().to_owned())
        };
        let partition = text(&directory, "partition").and_then(|n| n.parse().ok());
        let parent = directory.parent()?;
        let part_of = match partition {
            Some(number) => Some((parent.file_name()?.to_str()?.to_owned(), number)),
            None => None,
        };
        let disk = if part_of.is_some() {
            parent
        } else {
            &directory
        };
        let sector_size = text(disk, "queue/logical_block_size").and_then(|n| n.parse().ok());
        // In units of 512 bytes, whatever the sector size.
        let size: u64 = text(&directory, "size")?.parse().ok()?;
        Some(Self {
            name: name.to_owned(),
            number: text(&directory, "dev")?,
            size: size.saturating_mul(512),
            part_of,
            sector_size: sector_size.unwrap_or(512),
        })
    }
}

impl std::fmt::Display for BlockDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path().display())
    }
}

/// All of them, sorted by name. One that vanishes meanwhile is left out.
pub fn list() -> Result<Vec<BlockDevice>> {
    let mut devices = Vec::new();
    let entries = std::fs::read_dir("/sys/class/block").context("reading /sys/class/block")?;
    for entry in entries.flatten() {
        if let Some(device) = entry.file_name().to_str().and_then(BlockDevice::examine) {
            devices.push(device);
        }
    }
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(devices)
}

/// For messages: "vda (10240 MB), vda1 (10239 MB)", or "none".
pub fn describe(devices: &[BlockDevice]) -> String {
    let described: Vec<String> = devices
        .iter()
        .filter(|device| device.size > 0)
        .map(|device| format!("{} ({} MB)", device.name, device.size >> 20))
        .collect();
    if described.is_empty() {
        return "none".to_owned();
    }
    described.join(", ")
}
