//! A filesystem becomes larger or smaller.
//!
//! It may have been crafted by whoever had the machine: the programs get a
//! deadline, and it is mounted so that nothing in it counts. What they leave
//! when they fail is looked at: a filesystem that is whole may stay as it is.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::mount::MsFlags;
use p2v_sys::{Cmd, LoopDevice, Mount};

/// A resize moves what lies beyond the new end, so it may take long.
const LONGEST: Duration = Duration::from_secs(4 * 3600);

/// e2fsck's: errors were found, and corrected.
const CORRECTED: i32 = 1;

/// What a growth has come to, if it has not destroyed anything.
#[derive(Debug)]
pub enum Grown {
    /// It fills the device.
    Fully,
    /// It is whole, and as large as before.
    NotAtAll(anyhow::Error),
}

/// Grows the filesystem of type `kind` to fill `device`. If a kernel would
/// already take it for its root, killing us must not damage it: `in_use`. An
/// error means that it may be damaged.
pub fn grow(kind: &str, device: &LoopDevice, mount_point: &Path, in_use: bool) -> Result<Grown> {
    let device = device.path();
    match kind {
        "ext2" | "ext3" | "ext4" if in_use => match check_ext(device) {
            // The driver knows them all, and does each step to its end. It asks
            // for CAP_SYS_RESOURCE, which root in a container may not have;
            // resize2fs by itself, killed midway, leaves a damaged filesystem.
            Ok(()) => grow_mounted("ext4", device, mount_point),
            Err(error) => Ok(Grown::NotAtAll(error)),
        },
        "ext2" | "ext3" | "ext4" => grow_ext(device),
        _ => grow_mounted(kind, device, mount_point),
    }
}

fn grow_ext(device: &Path) -> Result<Grown> {
    if let Err(error) = check_ext(device) {
        return Ok(Grown::NotAtAll(error));
    }
    let Err(error) = resize2fs(device, &[]) else {
        return Ok(Grown::Fully);
    };
    let whole = e2fsck(device, "-fn").read_answer(&[]);
    match whole {
        Ok(_) => Ok(Grown::NotAtAll(error)),
        Err(_) => Err(error),
    }
}

/// Replays the journal, and mends what is safe to mend.
fn check_ext(device: &Path) -> Result<()> {
    e2fsck(device, "-fp").read_answer(&[CORRECTED]).map(drop)
}

fn e2fsck(device: &Path, how: &str) -> Cmd {
    let doing = format!("checking the filesystem on {}", device.display());
    Cmd::new("e2fsck", doing)
        .arg(how)
        .arg(device)
        .timeout(LONGEST)
}

fn resize2fs(device: &Path, size: &[&str]) -> Result<()> {
    let doing = format!("resizing the filesystem on {}", device.display());
    let command = Cmd::new("resize2fs", doing).arg(device).args(size);
    command.timeout(LONGEST).run()
}

/// What cannot be moved to before the new end is an error; the check afterwards
/// finds whatever else went wrong.
fn shrink_ext(device: &Path, length: u64) -> Result<()> {
    check_ext(device)?;
    let size = format!("{}K", length >> 10);
    let least = least_ext(device);
    let shrunk = match least {
        // An estimate, and a cautious one: with its use of blocks in groups it
        // may be twice what is needed.
        Some(least) if least > length => resize2fs(device, &["-f", &size]),
        _ => resize2fs(device, &[&size]),
    };
    let shrunk = shrunk.and_then(|()| e2fsck(device, "-fn").read_answer(&[]).map(drop));
    shrunk.with_context(|| {
        format!(
            "there are {} MiB for it, and by resize2fs's estimate it needs {} MiB",
            length >> 20,
            least.unwrap_or_default().div_ceil(1 << 20)
        )
    })
}

/// The least size in bytes to which resize2fs would go, if it can tell.
fn least_ext(device: &Path) -> Option<u64> {
    let doing = format!("asking how far {} can shrink", device.display());
    let command = Cmd::new("resize2fs", doing).arg("-P").arg(device);
    let blocks = command
        .read()
        .ok()?
        .rsplit(' ')
        .next()?
        .parse::<u64>()
        .ok()?;
    // In the superblock: log2 of the block size, less 10.
    let mut exponent = [0; 4];
    let opened = File::open(device).ok()?;
    opened.read_exact_at(&mut exponent, 1024 + 24).ok()?;
    let block = 1024_u64.checked_shl(u32::from_le_bytes(exponent))?;
    blocks.checked_mul(block)
}

/// Drivers lose nothing when they are stopped midway.
fn grow_mounted(kind: &str, device: &Path, mount_point: &Path) -> Result<Grown> {
    let mount = match mount(kind, device, mount_point) {
        Ok(mount) => mount,
        Err(error) => return Ok(Grown::NotAtAll(error)),
    };
    let writes = mount.watch_writes()?;
    let grown = match kind {
        "xfs" => xfs_growfs(&mount),
        "btrfs" => btrfs_resize(&mount, "max"),
        _ => resize2fs(device, &[]),
    };
    writes.finish()?;
    mount.close()?;
    Ok(match grown {
        Ok(()) => Grown::Fully,
        Err(error) => Grown::NotAtAll(error),
    })
}

fn mount(kind: &str, device: &Path, mount_point: &Path) -> Result<Mount> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
    // On the node its original may be mounted: then that UUID is taken.
    let options = if kind == "xfs" { "nouuid" } else { "" };
    Mount::new(device, mount_point, kind, flags, options)
        .with_context(|| format!("does this node's kernel have {kind}? (try `modprobe {kind}`)"))
}

fn xfs_growfs(mount: &Mount) -> Result<()> {
    let command = Cmd::new("xfs_growfs", "growing the XFS").arg("-d");
    command.arg(mount.target()).timeout(LONGEST).run()
}

fn btrfs_resize(mount: &Mount, size: &str) -> Result<()> {
    let command = Cmd::new("btrfs", "resizing the btrfs");
    let command = command.args(["filesystem", "resize", size]);
    command.arg(mount.target()).timeout(LONGEST).run()
}

/// Shrinks the filesystem of type `kind` on `device` to `length` bytes.
pub fn shrink(kind: &str, device: &LoopDevice, length: u64, mount_point: &Path) -> Result<()> {
    match kind {
        "ext2" | "ext3" | "ext4" => shrink_ext(device.path(), length),
        "btrfs" => {
            let mount = mount(kind, device.path(), mount_point)?;
            let writes = mount.watch_writes()?;
            let resized = btrfs_resize(&mount, &length.to_string());
            writes.finish()?;
            mount.close()?;
            resized
        }
        other => bail!("shrinking {other}: it cannot"),
    }
}
