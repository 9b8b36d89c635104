//! Those of chattr(1)'s flags that are kept, in numbers of our own, since
//! filesystems and calls number them differently.

use std::fs::File;

use nix::libc;
use p2v_sys::inode::{self, Inode};

/// May not be changed.
pub const IMMUTABLE: u16 = 1;
/// May only be appended to.
pub const APPEND: u16 = 2;
/// Left out by dump(8).
pub const NO_DUMP: u16 = 4;
/// Btrfs: written in place. Takes effect only on an empty file.
pub const NO_COW: u16 = 8;
/// Btrfs: compressed when written.
pub const COMPRESS: u16 = 16;

/// Those that keep a file from being changed.
pub const LOCKS: u16 = IMMUTABLE | APPEND;
/// Those that statx(2) does not tell of.
pub const HIDDEN: u16 = NO_COW | COMPRESS;

/// The numbers of linux/fs.h.
const INODE: [(u16, u32); 5] = [
    (IMMUTABLE, 0x10),
    (APPEND, 0x20),
    (NO_DUMP, 0x40),
    (NO_COW, 0x0080_0000),
    (COMPRESS, 0x4),
];

/// Those that statx(2) told of.
pub fn of(inode: &Inode) -> u16 {
    [
        (IMMUTABLE, libc::STATX_ATTR_IMMUTABLE),
        (APPEND, libc::STATX_ATTR_APPEND),
        (NO_DUMP, libc::STATX_ATTR_NODUMP),
    ]
    .into_iter()
    .filter(|(_, bit)| inode.attributes & *bit as u64 != 0)
    .fold(0, |flags, (flag, _)| flags | flag)
}

/// The hidden ones of an open file or directory.
pub fn hidden(file: &File) -> u16 {
    // A filesystem that has none cannot tell.
    let bits = inode::flags(file).unwrap_or(0);
    let set = INODE.iter().filter(|(_, bit)| bits & bit != 0);
    set.fold(0, |flags, (flag, _)| flags | flag) & HIDDEN
}

/// Makes those in `mask` as in `flags`.
///
/// # Errors
/// The filesystem has no such flag.
pub fn set(file: &File, flags: u16, mask: u16) -> nix::Result<()> {
    let old = inode::flags(file)?;
    let new = INODE
        .iter()
        .filter(|(flag, _)| mask & flag != 0)
        .fold(old, |bits, (flag, bit)| {
            if flags & flag == 0 {
                bits & !bit
            } else {
                bits | bit
            }
        });
    if new == old {
        return Ok(());
    }
    inode::set_flags(file, new)
}
