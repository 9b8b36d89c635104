//! What the kernel says of a block device: its size, its sectors and its write
//! protection.

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::libc::{c_int, c_uint};

/// The requests of linux/fs.h.
mod ioctl {
    #![allow(missing_docs)]
    nix::ioctl_write_ptr_bad!(blkroset, 0x125d, nix::libc::c_int);
    nix::ioctl_read_bad!(blkroget, 0x125e, nix::libc::c_int);
    nix::ioctl_read!(blkgetsize64, 0x12, 114, u64);
    nix::ioctl_read_bad!(blksszget, 0x1268, nix::libc::c_uint);
    nix::ioctl_write_ptr_bad!(blkzeroout, 0x127f, [u64; 2]);
    nix::ioctl_none_bad!(blkrrpart, 0x125f);
    nix::ioctl_none_bad!(blkflsbuf, 0x1261);
}

/// Whether the kernel refuses to write to `device`.
pub fn is_read_only(device: &File) -> nix::Result<bool> {
    let mut read_only: c_int = 0;
    // SAFETY: the descriptor is open, and the kernel writes one int.
    unsafe { ioctl::blkroget(device.as_raw_fd(), &mut read_only) }?;
    Ok(read_only != 0)
}

/// Makes the kernel refuse to write to `device`, or allow it again. It lasts
/// until it is changed or the device goes away, not until it is closed.
pub fn set_read_only(device: &File, read_only: bool) -> nix::Result<()> {
    let value = c_int::from(read_only);
    // SAFETY: the descriptor is open, and the kernel reads one int.
    unsafe { ioctl::blkroset(device.as_raw_fd(), &value) }.map(drop)
}

/// The size of `device` in bytes.
pub fn size(device: &File) -> nix::Result<u64> {
    let mut size = 0;
    // SAFETY: the descriptor is open, and the kernel writes 64 bits.
    unsafe { ioctl::blkgetsize64(device.as_raw_fd(), &mut size) }?;
    Ok(size)
}

/// The size of a logical sector of `device` in bytes: the unit of its
/// partition table, and the least that can be written.
pub fn sector_size(device: &File) -> nix::Result<u32> {
    let mut size: c_uint = 0;
    // SAFETY: the descriptor is open, and the kernel writes one int.
    unsafe { ioctl::blksszget(device.as_raw_fd(), &mut size) }?;
    Ok(size)
}

/// Makes `length` bytes at byte `offset` of `device` zeros, by the device's own
/// means where it has them; both must be multiples of the sector size.
pub fn zero_out(device: &File, offset: u64, length: u64) -> nix::Result<()> {
    // SAFETY: the descriptor is open, and the kernel reads two numbers.
    unsafe { ioctl::blkzeroout(device.as_raw_fd(), &[offset, length]) }.map(drop)
}

/// Has the kernel read the partition table of `device` anew. EBUSY while a
/// partition is open, EINVAL for a device that has no partitions for the kernel.
pub fn reread_partitions(device: &File) -> nix::Result<()> {
    // SAFETY: the descriptor is open; the call has no argument.
    unsafe { ioctl::blkrrpart(device.as_raw_fd()) }.map(drop)
}

/// Has what the kernel remembers of `device` read anew. A disk and each of its
/// partitions are remembered apart: what was written to the one may be seen
/// late on the other.
pub fn forget_cached(device: &File) -> nix::Result<()> {
    // SAFETY: the descriptor is open; the call has no argument.
    unsafe { ioctl::blkflsbuf(device.as_raw_fd()) }.map(drop)
}
