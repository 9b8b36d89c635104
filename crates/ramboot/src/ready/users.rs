//! Who has a block device open without claiming it: a program, or a loop
//! device. The kernel lets anybody else open it even so, but the partition
//! table of such a disk cannot be read again after it has been rewritten.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use anyhow::{Context, Result};
use nix::sys::stat::{major, minor};
use p2v_sys::loopdev;

use crate::init::block_device::BlockDevice;

/// Names one user of one of the devices, if there is any: "/dev/vda1 is open
/// in blkid (process 17)".
pub fn first(devices: &[BlockDevice]) -> Result<Option<String>> {
    match first_program(devices)? {
        None => first_loop(devices),
        found => Ok(found),
    }
}

/// By every process's open files. A process that ends meanwhile has none, and
/// kernel threads have none ever.
fn first_program(devices: &[BlockDevice]) -> Result<Option<String>> {
    let processes = std::fs::read_dir("/proc").context("listing the processes")?;
    for process in processes.flatten() {
        let id = process.file_name().to_string_lossy().into_owned();
        if id.parse::<u32>().is_err() {
            continue;
        }
        let files = std::fs::read_dir(process.path().join("fd"));
        for file in files.into_iter().flatten().flatten() {
            // Through the link, to the device itself, whatever name it has.
            let Ok(metadata) = std::fs::metadata(file.path()) else {
                continue;
            };
            if !metadata.file_type().is_block_device() {
                continue;
            }
            let number = metadata.rdev();
            let number = format!("{}:{}", major(number), minor(number));
            if let Some(device) = devices.iter().find(|it| it.number == number) {
                let name = std::fs::read_to_string(process.path().join("comm"));
                let name = name.unwrap_or_default();
                let name = name.trim();
                return Ok(Some(format!("{device} is open in {name} (process {id})")));
            }
        }
    }
    Ok(None)
}

/// By what the loop devices are attached to.
fn first_loop(devices: &[BlockDevice]) -> Result<Option<String>> {
    for device in devices {
        if let Some(user) = loopdev::users_of(&device.path())?.first() {
            return Ok(Some(format!("{device} is open as {}", user.display())));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::block_device;
    use p2v_sys::loopdev::{Extent, LoopDevice};

    #[test]
    fn programs_and_loop_devices_that_have_a_disk_open_are_named() {
        p2v_testing::need_root!();
        let image = p2v_testing::image(1 << 20);
        let disk = LoopDevice::attach(image.path(), Extent::default(), false).unwrap();
        let mut devices = block_device::list().unwrap();
        devices.retain(|device| device.path() == disk.path());
        assert_eq!(devices.len(), 1);
        // The guard itself keeps the device open.
        let ours = std::process::id().to_string();
        let found = first(&devices).unwrap().unwrap();
        assert!(
            found.starts_with(&disk.path().display().to_string()),
            "{found}"
        );
        assert!(found.contains(&ours), "{found}");

        let over = LoopDevice::attach(disk.path(), Extent::default(), true).unwrap();
        let found = first_loop(&devices).unwrap().unwrap();
        assert!(
            found.ends_with(&format!("open as {}", over.path().display())),
            "{found}"
        );
        over.close().unwrap();
        assert_eq!(first_loop(&devices).unwrap(), None);
        disk.close().unwrap();
        assert_eq!(first(&devices).unwrap(), None);
    }
}
