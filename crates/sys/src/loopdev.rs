//! Loop devices over a file or a block device, or over a part of one: how
//! partitions are reached without device-mapper, kpartx or the node's own
//! partition scanning.
//!
//! Every device is set to autoclear: the kernel detaches it when its last user
//! closes it, so one whose owner was killed goes away by itself.
//! See <https://man7.org/linux/man-pages/man4/loop.4.html>.

use std::fs::{File, Metadata, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;

use crate::block;

const LOOP_MAJOR: libc::c_uint = 7;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// The requests of linux/loop.h.
mod ioctl {
    #![allow(missing_docs)]
    nix::ioctl_none_bad!(loop_clr_fd, 0x4C01);
    nix::ioctl_none_bad!(loop_ctl_get_free, 0x4C82);
    nix::ioctl_read_bad!(loop_get_status64, 0x4C05, super::LoopInfo);
    nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, super::LoopConfig);
}

/// The kernel's `struct loop_info64`, from linux/loop.h.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

impl Default for LoopInfo {
    fn default() -> Self {
        Self {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: 0,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        }
    }
}

/// The kernel's `struct loop_config`, from linux/loop.h.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// The bytes of the backing file that a loop device shows; the default is all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Length in bytes; 0 means up to the end.
    pub length: u64,
}

/// An attached loop device, detached by [`LoopDevice::close`] or when dropped.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    file: Option<File>,
}

impl LoopDevice {
    /// Attaches a free loop device to `backing`.
    ///
    /// # Errors
    /// `backing` cannot be opened so, the kernel has no loop devices, or others
    /// take each free one first. Needs root.
    pub fn attach(backing: &Path, extent: Extent, read_only: bool) -> Result<Self> {
        let doing = || format!("attaching a loop device to {}", backing.display());
        let file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            .custom_flags(libc::O_CLOEXEC)
            .open(backing)
            .with_context(doing)?;
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/loop-control")
            .context("opening /dev/loop-control (is the loop module loaded?)")
            .with_context(doing)?;
        // Between asking for a free device and taking it, another process may.
        for attempt in 0..100_u64 {
            match try_attach(&control, &file, extent, read_only).with_context(doing)? {
                Some(device) => return Ok(device),
                None => std::thread::sleep(Duration::from_millis(attempt.min(20))),
            }
        }
        bail!("{}: every free device was taken meanwhile", doing())
    }

    /// The device's node, such as `/dev/loop3`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Flushes and detaches. A device that something still holds (a daemon
    /// of the node looking at it) is detached by the kernel as soon as that
    /// lets go.
    ///
    /// # Errors
    /// What was written did not all reach the medium, or the kernel refuses to
    /// detach it.
    pub fn close(mut self) -> Result<()> {
        self.detach()
    }

    fn detach(&mut self) -> Result<()> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        file.sync_all()
            .with_context(|| format!("flushing {}", self.path.display()))?;
        // SAFETY: the descriptor is an open loop device; the call has no
        // argument.
        match unsafe { ioctl::loop_clr_fd(file.as_raw_fd()) } {
            Ok(_) | Err(Errno::ENXIO) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("detaching {}", self.path.display())),
        }
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            tracing::warn!("{error:#}");
        }
    }
}

/// One attempt; `None` when another process was faster.
fn try_attach(
    control: &File,
    backing: &File,
    extent: Extent,
    read_only: bool,
) -> Result<Option<LoopDevice>> {
    // SAFETY: the descriptor is /dev/loop-control; the call has no argument.
    let number = unsafe { ioctl::loop_ctl_get_free(control.as_raw_fd()) }
        .context("asking for a free loop device")?;
    let path = PathBuf::from(format!("/dev/loop{number}"));
    make_node(&path, number.unsigned_abs())?;
    let file = OpenOptions::new()
        .read(true)
        .write(!read_only)
        .custom_flags(libc::O_CLOEXEC)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    let flags = LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 };
    // A filesystem made for smaller sectors than the disk's could not be
    // mounted from the disk itself. Of a file, the kernel's default: 512.
    let on_device = backing.metadata()?.file_type().is_block_device();
    let block_size = if on_device {
        block::sector_size(backing).context("asking for its sector size")?
    } else {
        0
    };
    let config = LoopConfig {
        fd: backing.as_raw_fd().unsigned_abs(),
        block_size,
        info: LoopInfo {
            offset: extent.offset,
            size_limit: extent.length,
            flags,
            ..LoopInfo::default()
        },
        reserved: [0; 8],
    };
    // SAFETY: `config` has the kernel's layout and outlives the call.
    match unsafe { ioctl::loop_configure(file.as_raw_fd(), &config) } {
        Ok(_) => Ok(Some(LoopDevice {
            path,
            file: Some(file),
        })),
        Err(Errno::EBUSY) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("setting up {}", path.display())),
    }
}

/// Makes the node where neither devtmpfs nor udev does, as in a chroot.
fn make_node(path: &Path, number: u32) -> Result<()> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    if path.exists() {
        return Ok(());
    }
    let device = makedev(u64::from(LOOP_MAJOR), u64::from(number));
    match mknod(
        path,
        SFlag::S_IFBLK,
        Mode::from_bits_truncate(0o600),
        device,
    ) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("making {}", path.display())),
    }
}

/// The loop devices of this machine that show `file`, a regular file or a
/// block device, or a part of it; by whatever name they were given it.
pub fn users_of(file: &Path) -> Result<Vec<PathBuf>> {
    let doing = || format!("examining {}", file.display());
    let metadata = std::fs::metadata(file).with_context(doing)?;
    // A file may be open, and have no name any more.
    let path = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let mut users = Vec::new();
    let entries = std::fs::read_dir("/sys/block").context("reading /sys/block")?;
    for entry in entries {
        let entry = entry.context("reading /sys/block")?;
        let backing = entry.path().join("loop/backing_file");
        let Ok(text) = std::fs::read_to_string(backing) else {
            continue;
        };
        let user = Path::new("/dev").join(entry.file_name());
        let named = Path::new(text.trim_end_matches('\n')) == path;
        if named || shows(&user, &metadata) {
            users.push(user);
        }
    }
    users.sort();
    Ok(users)
}

/// Whether the loop device shows that file, by its inode or device number. One
/// that has gone meanwhile does not.
fn shows(user: &Path, file: &Metadata) -> bool {
    let Ok(device) = File::open(user) else {
        return false;
    };
    let mut info = LoopInfo::default();
    // SAFETY: the descriptor is open, and the kernel writes one `LoopInfo`.
    if unsafe { ioctl::loop_get_status64(device.as_raw_fd(), &mut info) }.is_err() {
        return false;
    }
    if file.file_type().is_block_device() {
        info.rdevice == file.rdev()
    } else {
        (info.device, info.inode) == (file.dev(), file.ino())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, SeekFrom, Write};

    #[test]
    fn the_kernel_structure_has_its_size() {
        assert_eq!(std::mem::size_of::<LoopInfo>(), 232);
        assert_eq!(std::mem::size_of::<LoopConfig>(), 304);
    }

    #[test]
    fn a_part_of_a_file_is_shown_and_let_go() {
        p2v_testing::need_root!();
        let mut file = p2v_testing::image(1 << 20);
        file.seek(SeekFrom::Start(4096)).unwrap();
        file.write_all(b"here").unwrap();
        let extent = Extent {
            offset: 4096,
            length: 8192,
        };
        let device = LoopDevice::attach(file.path(), extent, false).unwrap();
        let mut bytes = Vec::new();
        let mut shown = File::open(device.path()).unwrap();
        shown.read_to_end(&mut bytes).unwrap();
        drop(shown);
        assert_eq!(bytes.len(), 8192);
        assert_eq!(&bytes[..4], b"here");
        assert_eq!(users_of(file.path()).unwrap(), [device.path()]);
        device.close().unwrap();
        assert!(users_of(file.path()).unwrap().is_empty());
    }

    #[test]
    fn users_are_found_by_any_name_and_of_devices_too() {
        p2v_testing::need_root!();
        let dir = tempfile::tempdir().unwrap();
        let (image, link) = (dir.path().join("image"), dir.path().join("link"));
        File::create(&image).unwrap().set_len(1 << 20).unwrap();
        std::fs::hard_link(&image, &link).unwrap();
        let lower = LoopDevice::attach(&image, Extent::default(), false).unwrap();
        assert_eq!(users_of(&link).unwrap(), [lower.path()]);
        let upper = LoopDevice::attach(lower.path(), Extent::default(), false).unwrap();
        assert_eq!(users_of(lower.path()).unwrap(), [upper.path()]);
        assert!(users_of(upper.path()).unwrap().is_empty());
        upper.close().unwrap();
        lower.close().unwrap();
    }

    #[test]
    fn a_part_of_a_device_has_its_sectors() {
        p2v_testing::need_root!();
        let file = p2v_testing::image(1 << 20);
        let disk = crate::Cmd::new("losetup", "attaching a disk of 4 KiB sectors")
            .args(["--find", "--show", "--sector-size", "4096"])
            .arg(file.path())
            .read()
            .unwrap();
        let part = LoopDevice::attach(Path::new(&disk), Extent::default(), false).unwrap();
        let sector = block::sector_size(&File::open(part.path()).unwrap());
        part.close().unwrap();
        let detach = crate::Cmd::new("losetup", "detaching it").arg("--detach");
        detach.arg(disk).run().unwrap();
        assert_eq!(sector, Ok(4096));
    }
}
