//! Where a file's data lies on its filesystem's device.
//!
//! See <https://docs.kernel.org/filesystems/fiemap.html>.

use std::fs::File;
use std::os::fd::AsRawFd;

/// A piece of a file's data; all in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it is in the file.
    pub offset: u64,
    /// Where it is on the device.
    pub place: u64,
    /// How long it is. The last one may reach past the file's end.
    pub length: u64,
}

/// How many extents are asked for at once; most files have one.
const AT_ONCE: usize = 16;

/// The flags of linux/fiemap.h that concern us.
const LAST: u32 = 0x1;
const UNWRITTEN: u32 = 0x800;
/// The data is nevertheless at that place as it is.
const HARMLESS: u32 = LAST | UNWRITTEN | 0x1000 /* merged */ | 0x2000 /* shared */;

/// `struct fiemap_extent`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// `struct fiemap`, with room for extents.
#[repr(C)]
#[derive(Default)]
struct Request {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    extents: [Extent; AT_ONCE],
}

mod ioctl {
    #![allow(missing_docs)]
    // The number is made with the size of `struct fiemap` without extents.
    nix::ioctl_readwrite_bad!(
        fiemap,
        nix::request_code_readwrite!(b'f', 11, 32),
        super::Request
    );
}

/// The pieces of `file`, in its order, without what reads as zeros (holes,
/// and space that was never written to). `None` if some of its data is not
/// simply on the device: compressed, encrypted, kept in the inode, or not
/// written yet.
///
/// For filesystems of one device whose places are the device's: ext and XFS,
/// but not Btrfs.
pub fn of(file: &File) -> nix::Result<Option<Vec<Piece>>> {
    let mut pieces = Vec::new();
    let mut request = Request::default();
    loop {
        request.length = u64::MAX - request.start;
        request.count = AT_ONCE as u32;
        // SAFETY: the descriptor is open, and the kernel writes at most
        // `count` extents, for which `request` has room.
        unsafe { ioctl::fiemap(file.as_raw_fd(), &mut request) }?;
        let mapped = (request.mapped as usize).min(AT_ONCE);
        for extent in &request.extents[..mapped] {
            if extent.flags & !HARMLESS != 0 {
                return Ok(None);
            }
            if extent.flags & UNWRITTEN == 0 {
                pieces.push(Piece {
                    offset: extent.logical,
                    place: extent.physical,
                    length: extent.length,
                });
            }
        }
        match request.extents[..mapped].last() {
            Some(extent) if extent.flags & LAST == 0 => {
                request.start = extent.logical + extent.length;
            }
            _ => return Ok(Some(pieces)),
        }
    }
}
