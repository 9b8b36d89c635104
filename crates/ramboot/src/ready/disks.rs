//! Promise 1: no block device is open or mounted, and swap is off.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use p2v_sys::interrupt;

use super::{PAUSE, users};
use crate::init::block_device::{self, BlockDevice};
use crate::init::release;

/// How long a program that has a disk open may keep it.
const PATIENCE: Duration = Duration::from_secs(5);

/// RAM disks, floppies, loop devices and optical drives: not disks that a
/// machine could be moved to. By major number, see the kernel's devices.txt.
const NOT_DISKS: [&str; 4] = ["1:", "2:", "7:", "11:"];

/// What to do where the root is not in RAM.
const START: &str = "start the instance by its ramboot initrd";

/// Fails unless the root is a tmpfs.
pub fn check_root() -> Result<()> {
    let mounts = std::fs::read("/proc/self/mountinfo").context("reading the mounts")?;
    let mounts = String::from_utf8_lossy(&mounts);
    match root_type(&mounts) {
        Some("tmpfs") => Ok(()),
        Some(other) => bail!("the root is not in RAM: it is {other}, not tmpfs: {START}"),
        None => bail!("the root is not in RAM: it is not among the mounts: {START}"),
    }
}

/// Fails unless swap is off and every disk is free to be rewritten, with all
/// of its partitions.
pub fn check_free() -> Result<()> {
    let swaps = std::fs::read_to_string("/proc/swaps").context("reading /proc/swaps")?;
    if let Some(swap) = first_swap(&swaps) {
        bail!("{swap} is in use as swap: run `swapoff -a`");
    }
    let devices = block_device::list()?;
    for device in &devices {
        // Before the attempt to claim the disk, which would not name it.
        let holders = Path::new("/sys/class/block").join(&device.name);
        let mut holders = std::fs::read_dir(holders.join("holders"))
            .into_iter()
            .flatten()
            .flatten();
        if let Some(holder) = holders.next() {
            let holder = holder.file_name();
            bail!(
                "{device} is held by /dev/{}: close that",
                holder.to_string_lossy()
            );
        }
    }
    let is_disk = |device: &BlockDevice| {
        let other = NOT_DISKS
            .iter()
            .any(|major| device.number.starts_with(major));
        device.size > 0 && !other
    };
    let disks: Vec<_> = devices.into_iter().filter(is_disk).collect();
    for device in disks.iter().filter(|device| device.part_of.is_none()) {
        release::prove(device)?;
    }
    check_unused(&disks)
}

/// Fails if a program or a loop device has one of them open. udev looks at
/// what is new for a moment: that is waited for.
fn check_unused(disks: &[BlockDevice]) -> Result<()> {
    let start = Instant::now();
    while let Some(user) = users::first(disks)? {
        interrupt::check()?;
        if start.elapsed() >= PATIENCE {
            bail!("{user}");
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The filesystem type of what is mounted on /: the last such line, since
/// mounts may lie over each other.
fn root_type(mountinfo: &str) -> Option<&str> {
    let mut lines = mountinfo.lines().rev();
    lines.find_map(|line| {
        let (place, filesystem) = line.split_once(" - ")?;
        let is_root = place.split(' ').nth(4) == Some("/");
        is_root.then(|| filesystem.split(' ').next())?
    })
}

fn first_swap(swaps: &str) -> Option<&str> {
    swaps.lines().nth(1)?.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_type_is_that_of_the_last_mount_on_it() {
        let disk = "21 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw";
        let ram = "21 1 0:20 / / rw,relatime shared:1 - tmpfs tmpfs rw,size=9k";
        let other = "22 21 254:1 / /mnt rw shared:2 master:1 - ext4 /dev/vda1 rw";
        assert_eq!(root_type(disk), Some("ext4"));
        assert_eq!(
            root_type(&format!("{disk}\n{ram}\n{other}\n")),
            Some("tmpfs")
        );
        assert_eq!(root_type(&format!("{ram}\n{disk}\n")), Some("ext4"));
        assert_eq!(root_type(other), None);
        assert_eq!(root_type("garbage\n\n"), None);
    }

    #[test]
    fn a_disk_that_somebody_holds_is_not_free() {
        use p2v_sys::loopdev::{Extent, LoopDevice};
        use std::os::unix::fs::OpenOptionsExt;
        p2v_testing::need_root!();
        let image = p2v_testing::image(1 << 20);
        let disk = LoopDevice::attach(image.path(), Extent::default(), false).unwrap();
        let devices = block_device::list().unwrap();
        let device = devices.iter().find(|it| it.path() == disk.path()).unwrap();
        release::prove(device).unwrap();
        let holder = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_EXCL)
            .open(disk.path())
            .unwrap();
        assert!(release::prove(device).is_err());
        drop(holder);
        release::prove(device).unwrap();
        disk.close().unwrap();
    }

    #[test]
    fn swap_is_found_below_the_heading() {
        let heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert_eq!(first_swap(heading), None);
        assert_eq!(first_swap(""), None);
        let text =
            format!("{heading}/dev/vda2                               partition\t1\t0\t-2\n");
        assert_eq!(first_swap(&text), Some("/dev/vda2"));
    }

    #[test]
    fn this_machines_root_is_judged_as_findmnt_names_it() {
        let real = p2v_sys::Cmd::new("findmnt", "asking findmnt").args(["-no", "FSTYPE", "/"]);
        let Ok(real) = real.read() else {
            p2v_testing::skip("findmnt is not installed");
            return;
        };
        let real = real.lines().last().unwrap().to_owned();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert_eq!(root_type(&mounts), Some(real.as_str()));
        assert_eq!(check_root().is_ok(), real == "tmpfs");
    }
}
