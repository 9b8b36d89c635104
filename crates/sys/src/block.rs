//! The kernel's write protection of a block device.

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::libc::c_int;

/// The requests of linux/fs.h.
mod ioctl {
    #![allow(missing_docs)]
    nix::ioctl_write_ptr_bad!(blkroset, 0x125d, nix::libc::c_int);
    nix::ioctl_read_bad!(blkroget, 0x125e, nix::libc::c_int);
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
