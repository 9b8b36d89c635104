//! Subvolumes of a Btrfs: made, told apart, marked read-only.
//!
//! See linux/btrfs.h and <https://btrfs.readthedocs.io/en/latest/btrfs-ioctl.html>.

use std::os::fd::AsRawFd;

use nix::errno::Errno;

/// The inode number of every subvolume's top directory.
pub const TOP: u64 = 256;
/// `statfs` says this type.
pub const MAGIC: i64 = 0x9123_683e;

const READ_ONLY: u64 = 1 << 1;
const NAME_LONGEST: usize = 4087;
const ROOT_TREE: u64 = 1;
const ROOT_TREE_DIRECTORY: u64 = 6;
const DIR_ITEM: u32 = 84;

/// `struct btrfs_ioctl_vol_args`
#[repr(C)]
struct Volume {
    fd: i64,
    name: [u8; NAME_LONGEST + 1],
}

/// `struct btrfs_ioctl_ino_lookup_args`
#[repr(C)]
struct Lookup {
    tree: u64,
    inode: u64,
    name: [u8; 4080],
}

/// `struct btrfs_ioctl_search_args`
#[repr(C)]
struct Search {
    tree: u64,
    least_object: u64,
    most_object: u64,
    least_offset: u64,
    most_offset: u64,
    least_generation: u64,
    most_generation: u64,
    least_kind: u32,
    most_kind: u32,
    items: u32,
    unused: u32,
    unused64: [u64; 4],
    found: [u8; 3992],
}

mod ioctl {
    #![allow(missing_docs)]
    nix::ioctl_write_ptr!(create, 0x94, 14, super::Volume);
    nix::ioctl_write_ptr!(destroy, 0x94, 15, super::Volume);
    nix::ioctl_readwrite!(search, 0x94, 17, super::Search);
    nix::ioctl_readwrite!(lookup, 0x94, 18, super::Lookup);
    nix::ioctl_write_ptr!(set_default, 0x94, 19, u64);
    nix::ioctl_read!(get_flags, 0x94, 25, u64);
    nix::ioctl_write_ptr!(set_flags, 0x94, 26, u64);
}

fn volume(name: &[u8]) -> nix::Result<Box<Volume>> {
    if name.len() > NAME_LONGEST {
        return Err(Errno::ENAMETOOLONG);
    }
    let mut volume = Box::new(Volume {
        fd: 0,
        name: [0; NAME_LONGEST + 1],
    });
    volume.name[..name.len()].copy_from_slice(name);
    Ok(volume)
}

/// Makes an empty subvolume of this name in an open directory.
pub fn create(directory: &impl AsRawFd, name: &[u8]) -> nix::Result<()> {
    let volume = volume(name)?;
    // SAFETY: the descriptor is open, and the kernel reads the structure.
    unsafe { ioctl::create(directory.as_raw_fd(), &*volume) }.map(drop)
}

/// Removes the subvolume of this name in an open directory, with all in it
/// but other subvolumes, which must not be there.
pub fn destroy(directory: &impl AsRawFd, name: &[u8]) -> nix::Result<()> {
    let volume = volume(name)?;
    // SAFETY: the descriptor is open, and the kernel reads the structure.
    unsafe { ioctl::destroy(directory.as_raw_fd(), &*volume) }.map(drop)
}

/// Whether the subvolume with this open top directory is read-only.
pub fn is_read_only(subvolume: &impl AsRawFd) -> nix::Result<bool> {
    let mut flags = 0;
    // SAFETY: the descriptor is open, and the kernel writes 64 bits.
    unsafe { ioctl::get_flags(subvolume.as_raw_fd(), &mut flags) }?;
    Ok(flags & READ_ONLY != 0)
}

/// Makes it read-only, or writable again.
pub fn set_read_only(subvolume: &impl AsRawFd, read_only: bool) -> nix::Result<()> {
    let flags = if read_only { READ_ONLY } else { 0 };
    // SAFETY: the descriptor is open, and the kernel reads 64 bits.
    unsafe { ioctl::set_flags(subvolume.as_raw_fd(), &flags) }.map(drop)
}

/// The number of the subvolume in which this open directory is.
pub fn id(directory: &impl AsRawFd) -> nix::Result<u64> {
    let mut lookup = Box::new(Lookup {
        tree: 0,
        inode: TOP,
        name: [0; 4080],
    });
    // SAFETY: the descriptor is open, and the kernel fills the structure.
    unsafe { ioctl::lookup(directory.as_raw_fd(), &mut *lookup) }?;
    Ok(lookup.tree)
}

/// The number of the subvolume that a mount without options shows: 5 is the
/// top of all. Needs root.
pub fn default_id(directory: &impl AsRawFd) -> nix::Result<u64> {
    let mut search = Box::new(Search {
        tree: ROOT_TREE,
        least_object: ROOT_TREE_DIRECTORY,
        most_object: ROOT_TREE_DIRECTORY,
        least_offset: 0,
        most_offset: u64::MAX,
        least_generation: 0,
        most_generation: u64::MAX,
        least_kind: DIR_ITEM,
        most_kind: DIR_ITEM,
        items: 1,
        unused: 0,
        unused64: [0; 4],
        found: [0; 3992],
    });
    // SAFETY: the descriptor is open, and the kernel fills the structure.
    unsafe { ioctl::search(directory.as_raw_fd(), &mut *search) }?;
    // A header of 32 bytes, then a `struct btrfs_dir_item`, which begins with
    // the key of what it names.
    let number = search.found[32..40].try_into().map_err(|_| Errno::EINVAL)?;
    match search.items {
        0 => Ok(5),
        _ => Ok(u64::from_le_bytes(number)),
    }
}

/// Changes which one that is.
pub fn set_default(directory: &impl AsRawFd, id: u64) -> nix::Result<()> {
    // SAFETY: the descriptor is open, and the kernel reads 64 bits.
    unsafe { ioctl::set_default(directory.as_raw_fd(), &id) }.map(drop)
}
