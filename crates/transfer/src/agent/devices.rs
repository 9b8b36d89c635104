//! A volume as a block device: the kernel's partition, or a loop device where
//! the kernel makes none.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use p2v_sys::{LoopDevice, interrupt};

use super::recognise;
use crate::plan::{PlannedDisk, Volume};

/// How long udev may take to make a partition's node.
const PATIENCE: Duration = Duration::from_secs(5);

/// A volume's device, while it is open.
#[derive(Debug)]
pub struct Device {
    path: PathBuf,
    shown: Option<LoopDevice>,
}

impl Device {
    /// Opens it.
    pub fn of(disk: &PlannedDisk, volume: &Volume) -> Result<Self> {
        let path = volume.device(disk);
        if volume.number == 0 || wait_for(disk, volume, &path)? {
            return Ok(Self { path, shown: None });
        }
        let shown = LoopDevice::attach(&disk.device, recognise::extent(disk, volume), false)?;
        Ok(Self {
            path: shown.path().to_owned(),
            shown: Some(shown),
        })
    }

    /// Its node.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets go of it. What is mounted from it stays.
    pub fn close(self) -> Result<()> {
        self.shown.map_or(Ok(()), LoopDevice::close)
    }
}

/// Whether the kernel shows this part of the disk under this name.
fn wait_for(disk: &PlannedDisk, volume: &Volume, path: &Path) -> Result<bool> {
    if !is_partition(disk, volume, path) {
        return Ok(false);
    }
    let start = Instant::now();
    while !path.exists() {
        interrupt::check()?;
        if start.elapsed() > PATIENCE {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

fn is_partition(disk: &PlannedDisk, volume: &Volume, path: &Path) -> bool {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
    let directory = Path::new("/sys/class/block").join(name(&disk.device));
    let directory = directory.join(name(path));
    // In units of 512 bytes, whatever the sectors have.
    let number = |file: &str| {
        let text = std::fs::read_to_string(directory.join(file)).ok()?;
        text.trim().parse::<u64>().ok()?.checked_mul(512)
    };
    let extent = recognise::extent(disk, volume);
    number("start") == Some(extent.offset) && number("size") == Some(extent.length)
}
