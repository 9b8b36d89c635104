//! Proves that the disk is free: nothing of it is mounted, used as swap, held
//! by another device, or claimed by anybody.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;

use super::block_device::{self, BlockDevice};

/// The kernel may let go of an unmounted device a moment later.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fails unless the disk that `device` is part of is free. Returns the names
/// of its devices: the disk and all of its partitions.
pub fn prove(device: &BlockDevice) -> Result<Vec<String>> {
    let mut devices = block_device::list()?;
    devices.retain(|other| other.disk() == device.disk());
    let mounts = read("/proc/self/mountinfo")?;
    let swaps = read("/proc/swaps")?;
    for device in &devices {
        let doing = || format!("releasing {}", device.path().display());
        if let Some(place) = mounted(&mounts, device) {
            bail!("{}: it is still mounted on {place}", doing());
        }
        if swaps
            .lines()
            .any(|line| first_field(line) == path_text(device))
        {
            bail!("{}: it is in use as swap", doing());
        }
        let holders = Path::new("/sys/class/block")
            .join(&device.name)
            .join("holders");
        let mut holders = std::fs::read_dir(holders).with_context(doing)?.flatten();
        if let Some(holder) = holders.next() {
            bail!(
                "{}: {} holds it",
                doing(),
                holder.file_name().to_string_lossy()
            );
        }
        claim(device).with_context(doing)?;
    }
    Ok(devices.into_iter().map(|device| device.name).collect())
}

fn read(path: &str) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {path}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn path_text(device: &BlockDevice) -> String {
    device.path().to_string_lossy().into_owned()
}

fn first_field(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

/// Where it is mounted. Btrfs has a device number of its own, so the source is
/// compared too.
fn mounted(mounts: &str, device: &BlockDevice) -> Option<String> {
    let path = path_text(device);
    mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let rest = fields.iter().position(|field| *field == "-")?;
        let is = fields.get(2) == Some(&device.number.as_str())
            || fields.get(rest + 2) == Some(&path.as_str());
        is.then(|| fields.get(4).copied().unwrap_or_default().to_owned())
    })
}

/// Opens it as nobody may have it who wants to write to it undisturbed.
fn claim(device: &BlockDevice) -> Result<()> {
    let start = Instant::now();
    loop {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_EXCL)
            .open(device.path());
        let Err(error) = opened else {
            return Ok(());
        };
        let errno = error.raw_os_error().map(Errno::from_raw);
        if errno != Some(Errno::EBUSY) || start.elapsed() >= PATIENCE {
            return Err(error).context("opening it exclusively");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_number_or_source() {
        let device = BlockDevice {
            name: "vda1".to_owned(),
            number: "254:1".to_owned(),
            size: 1,
            part_of: Some(("vda".to_owned(), 1)),
            sector_size: 512,
        };
        let table = [
            ("30 1 254:1 / /mnt ro - ext4 /dev/root ro", Some("/mnt")),
            (
                "30 1 0:33 /@ / rw,noatime shared:1 - btrfs /dev/vda1 rw",
                Some("/"),
            ),
            ("30 1 254:17 / /mnt ro - ext4 /dev/vdb1 ro", None),
            ("30 1 0:5 / /dev rw - devtmpfs devtmpfs rw", None),
        ];
        for (line, expected) in table {
            assert_eq!(mounted(line, &device).as_deref(), expected, "{line}");
        }
    }
}
