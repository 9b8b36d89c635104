//! What an inode carries besides its contents, as far as nix has no call for
//! it: statx(2), extended attributes without an open file, and the flags of
//! chattr(1).
//!
//! Paths are used as they are: a caller that does not trust a directory makes
//! it its working directory and gives single names. Nothing here follows a
//! symbolic link.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsRawFd;

use nix::NixPath;
use nix::errno::Errno;
use nix::libc;

/// An inode as statx(2) has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inode {
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// How many names it has.
    pub nlink: u32,
    /// Its number.
    pub number: u64,
    /// The filesystem's device.
    pub device: u64,
    /// The device that it is, if it is one.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// Stored bytes, in whole sectors.
    pub stored: u64,
    /// When it was last modified: seconds and nanoseconds.
    pub modified: (i64, u32),
    /// When anything of it was last changed: nanoseconds.
    pub changed: i64,
    /// `STATX_ATTR_...`
    pub attributes: u64,
    /// Which of those the filesystem knows.
    pub attributes_known: u64,
}

impl Inode {
    /// The type alone.
    pub fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Whether it is a directory on which something is mounted: `None` before
    /// Linux 5.8.
    pub fn is_mount_point(&self) -> Option<bool> {
        let bit = libc::STATX_ATTR_MOUNT_ROOT as u64;
        (self.attributes_known & bit != 0).then_some(self.attributes & bit != 0)
    }
}

/// Examines the file at `path` itself, be it a symbolic link.
pub fn examine<P: NixPath + ?Sized>(path: &P) -> nix::Result<Inode> {
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    path.with_nix_path(|path| statx(libc::AT_FDCWD, path, flags))?
}

/// Examines an open file.
pub fn examine_open(file: &impl AsRawFd) -> nix::Result<Inode> {
    statx(file.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

fn statx(directory: i32, path: &CStr, flags: i32) -> nix::Result<Inode> {
    let mask = libc::STATX_BASIC_STATS;
    let mut found = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is a string, and the kernel fills the structure.
    let result = unsafe { libc::statx(directory, path.as_ptr(), flags, mask, found.as_mut_ptr()) };
    Errno::result(result)?;
    // SAFETY: it was zeroed, which is a valid value, and filled.
    let found = unsafe { found.assume_init() };
    Ok(Inode {
        mode: u32::from(found.stx_mode),
        uid: found.stx_uid,
        gid: found.stx_gid,
        nlink: found.stx_nlink,
        number: found.stx_ino,
        device: libc::makedev(found.stx_dev_major, found.stx_dev_minor),
        rdev: libc::makedev(found.stx_rdev_major, found.stx_rdev_minor),
        size: found.stx_size,
        stored: found.stx_blocks * 512,
        modified: (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
        changed: found
            .stx_ctime
            .tv_sec
            .saturating_mul(1_000_000_000)
            .saturating_add(i64::from(found.stx_ctime.tv_nsec)),
        attributes: found.stx_attributes,
        attributes_known: found.stx_attributes_mask,
    })
}

/// Names and values of the extended attributes of the file at `path` itself,
/// by name. A filesystem without any has none.
pub fn extended<P: NixPath + ?Sized>(path: &P) -> nix::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    path.with_nix_path(|path| {
        let names = filled(|buffer, size| {
            // SAFETY: the kernel writes at most `size` bytes into the buffer.
            unsafe { libc::llistxattr(path.as_ptr(), buffer.cast(), size) }
        });
        let names = match names {
            Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
            names => names?,
        };
        let mut all = Vec::new();
        for name in names.split_inclusive(|&byte| byte == 0) {
            let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::EINVAL)?;
            let value = filled(|buffer, size| {
                // SAFETY: as above; the name is a string.
                unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), buffer, size) }
            });
            match value {
                // It went away, or it is none that can be read.
                Err(Errno::ENODATA) => {}
                value => all.push((name.to_bytes().to_vec(), value?)),
            }
        }
        all.sort_unstable();
        Ok(all)
    })?
}

/// What `get` writes, which answers how much, and ERANGE when the room is too
/// small.
fn filled(get: impl Fn(*mut libc::c_void, usize) -> isize) -> nix::Result<Vec<u8>> {
    let mut room = [0_u8; 256];
    match Errno::result(get(room.as_mut_ptr().cast(), room.len())) {
        Err(Errno::ERANGE) => {}
        count => return Ok(room[..count? as usize].to_vec()),
    }
    // The most that the kernel allows for a value and for the list of names.
    let mut room = vec![0; 1 << 16];
    let count = Errno::result(get(room.as_mut_ptr().cast(), room.len()))?;
    room.truncate(count as usize);
    Ok(room)
}

/// Sets an extended attribute of the file at `path` itself.
pub fn set_extended<P: NixPath + ?Sized>(path: &P, name: &[u8], value: &[u8]) -> nix::Result<()> {
    let set = |path: &CStr, name: &CStr| {
        let (start, size) = (value.as_ptr().cast(), value.len());
        // SAFETY: both are strings, and the kernel reads `size` bytes.
        unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), start, size, 0) }
    };
    let result = path.with_nix_path(|path| name.with_nix_path(|name| set(path, name)))??;
    Errno::result(result).map(drop)
}

/// Takes an extended attribute from the file at `path` itself.
pub fn remove_extended<P: NixPath + ?Sized>(path: &P, name: &[u8]) -> nix::Result<()> {
    // SAFETY: both are strings.
    let remove =
        |path: &CStr, name: &CStr| unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) };
    let result = path.with_nix_path(|path| name.with_nix_path(|name| remove(path, name)))??;
    Errno::result(result).map(drop)
}

/// Sets an extended attribute of an open file.
pub fn set_extended_open(file: &File, name: &[u8], value: &[u8]) -> nix::Result<()> {
    let set = |name: &CStr| {
        let (start, size) = (value.as_ptr().cast(), value.len());
        // SAFETY: the descriptor is open, the name is a string, and the kernel
        // reads `size` bytes.
        unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), start, size, 0) }
    };
    Errno::result(name.with_nix_path(set)?).map(drop)
}

mod ioctl {
    #![allow(missing_docs)]
    // The numbers are made with `long`, but the kernel reads and writes an int.
    nix::ioctl_read_bad!(
        get_flags,
        nix::request_code_read!(b'f', 1, size_of::<nix::libc::c_long>()),
        u32
    );
    nix::ioctl_write_ptr_bad!(
        set_flags,
        nix::request_code_write!(b'f', 2, size_of::<nix::libc::c_long>()),
        u32
    );
}

/// The flags that chattr(1) sets, `FS_..._FL`.
pub fn flags(file: &impl AsRawFd) -> nix::Result<u32> {
    let mut flags = 0;
    // SAFETY: the descriptor is open, and the kernel writes one int.
    unsafe { ioctl::get_flags(file.as_raw_fd(), &mut flags) }?;
    Ok(flags)
}

/// Sets them.
pub fn set_flags(file: &impl AsRawFd, flags: u32) -> nix::Result<()> {
    // SAFETY: the descriptor is open, and the kernel reads one int.
    unsafe { ioctl::set_flags(file.as_raw_fd(), &flags) }.map(drop)
}

/// Asks the kernel to begin to write so many bytes of `file` out to its medium,
/// without waiting for them. Nothing is said about when they are there: that
/// takes an fsync(2), which then has less to wait for.
pub fn begin_write_out(file: &impl AsRawFd, range: std::ops::Range<u64>) -> nix::Result<()> {
    let invalid = |_| Errno::EINVAL;
    let start = i64::try_from(range.start).map_err(invalid)?;
    let length = i64::try_from(range.end.saturating_sub(range.start)).map_err(invalid)?;
    let flags = libc::SYNC_FILE_RANGE_WRITE;
    // SAFETY: the descriptor is open; no memory is passed.
    Errno::result(unsafe { libc::sync_file_range(file.as_raw_fd(), start, length, flags) })
        .map(drop)
}

/// Waits until all that was written to the filesystem of `file` is on its
/// medium.
pub fn sync_filesystem(file: &impl AsRawFd) -> nix::Result<()> {
    // SAFETY: the descriptor is open.
    Errno::result(unsafe { libc::syncfs(file.as_raw_fd()) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_found() {
        let top =
            tempfile::tempdir_in(std::env::var("P2V_TEST_SCRATCH").unwrap_or("/var/tmp".into()))
                .unwrap();
        let path = top.path().join("file");
        std::fs::write(&path, "text").unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(begin_write_out(&file, 0..4), Ok(()));
        assert_eq!(
            begin_write_out(&file, u64::MAX..u64::MAX),
            Err(Errno::EINVAL)
        );
        let inode = examine(&path).unwrap();
        assert_eq!((inode.size, inode.nlink), (4, 1));
        assert_eq!(inode.kind(), libc::S_IFREG);
        let file = File::open(&path).unwrap();
        assert_eq!(examine_open(&file).unwrap(), inode);
        assert_eq!(extended(&path).unwrap(), []);
        set_extended(&path, b"user.b", &[7; 2000]).unwrap();
        set_extended_open(&file, b"user.a", b"").unwrap();
        let expected = [
            (b"user.a".to_vec(), vec![]),
            (b"user.b".to_vec(), vec![7; 2000]),
        ];
        assert_eq!(extended(&path).unwrap(), expected);
        remove_extended(&path, b"user.b").unwrap();
        assert_eq!(extended(&path).unwrap(), expected[..1]);
        let flags = flags(&file).unwrap();
        set_flags(&file, flags | 0x40).unwrap();
        assert_eq!(super::flags(&file).unwrap(), flags | 0x40);
    }
}
