//! Owner, mode, extended attributes (access control lists and capabilities
//! are such) and times.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, futimens, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use xattr::FileExt;

use crate::init::tree::Entry;

/// Extended attributes: names and values.
#[derive(Debug, Default)]
pub struct Extended(Vec<(OsString, Vec<u8>)>);

impl Extended {
    /// Those of an open file.
    pub fn of_open(file: &File) -> Result<Self> {
        Self::read(file.list_xattr(), |name| file.get_xattr(name))
    }

    /// Those of the file at `path` itself, be it a symbolic link.
    pub fn of_path(path: &Path) -> Result<Self> {
        Self::read(xattr::list(path), |name| xattr::get(path, name))
    }

    fn read(
        names: io::Result<impl Iterator<Item = OsString>>,
        get: impl Fn(&OsStr) -> io::Result<Option<Vec<u8>>>,
    ) -> Result<Self> {
        let names = match names {
            // The disk's filesystem has none.
            Err(error) if is(&error, Errno::EOPNOTSUPP) => return Ok(Self::default()),
            names => names.context("listing the extended attributes")?,
        };
        let mut all = Vec::new();
        for name in names {
            let value = get(&name).with_context(|| {
                format!("reading the extended attribute {}", name.to_string_lossy())
            })?;
            all.extend(value.map(|value| (name, value)));
        }
        Ok(Self(all))
    }

    /// Sets them, and returns how many the filesystem there does not take:
    /// neither a symbolic link nor a device can have one of a user's (EPERM),
    /// nor anything on a tmpfs before Linux 6.6 (EOPNOTSUPP).
    fn apply(&self, set: impl Fn(&OsStr, &[u8]) -> io::Result<()>) -> Result<usize> {
        let mut lost = 0;
        for (name, value) in &self.0 {
            match set(name, value) {
                Err(error) if is(&error, Errno::EOPNOTSUPP) || is(&error, Errno::EPERM) => {
                    lost += 1;
                }
                other => other.with_context(|| {
                    format!("setting the extended attribute {}", name.to_string_lossy())
                })?,
            }
        }
        Ok(lost)
    }
}

/// Gives copies the attributes of the originals, and counts what is lost.
#[derive(Debug, Default)]
pub struct Attributes {
    lost: AtomicUsize,
}

impl Attributes {
    /// How many extended attributes the target's filesystem did not take.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    /// For an open regular file that was made with its mode, or an open
    /// directory. Order matters: a new owner takes away the set-user-id bit
    /// and capabilities, so both come after it, and everything changes times.
    pub fn to_open(&self, target: &File, entry: &Entry, extended: &Extended) -> Result<()> {
        let stat = &entry.stat;
        if !owned_by_root(stat) {
            fchown(target, Some(uid(stat)), Some(gid(stat))).context("setting the owner")?;
        }
        if entry.kind() == SFlag::S_IFDIR || !owned_by_root(stat) {
            fchmod(target, mode(stat)).context("setting the mode")?;
        }
        let lost = extended.apply(|name, value| target.set_xattr(name, value))?;
        self.lost.fetch_add(lost, Ordering::Relaxed);
        let (accessed, modified) = times(stat);
        futimens(target, &accessed, &modified).context("setting the times")
    }

    /// For a symbolic link, device, pipe or socket in the directory `root`,
    /// which is at `path`; none of them is to be opened.
    pub fn to_path(
        &self,
        root: &OwnedFd,
        path: &Path,
        entry: &Entry,
        extended: &Extended,
    ) -> Result<()> {
        let (stat, name) = (&entry.stat, entry.path.as_path());
        if !owned_by_root(stat) {
            let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
            fchownat(root, name, Some(uid(stat)), Some(gid(stat)), flags)
                .context("setting the owner")?;
            // A symbolic link has no mode.
            if entry.kind() != SFlag::S_IFLNK {
                fchmodat(root, name, mode(stat), FchmodatFlags::FollowSymlink)
                    .context("setting the mode")?;
            }
        }
        let target = path.join(name);
        let lost = extended.apply(|name, value| xattr::set(&target, name, value))?;
        self.lost.fetch_add(lost, Ordering::Relaxed);
        let (accessed, modified) = times(stat);
        let flags = UtimensatFlags::NoFollowSymlink;
        utimensat(root, name, &accessed, &modified, flags).context("setting the times")
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

fn owned_by_root(stat: &FileStat) -> bool {
    stat.st_uid == 0 && stat.st_gid == 0
}

fn uid(stat: &FileStat) -> Uid {
    Uid::from_raw(stat.st_uid)
}

fn gid(stat: &FileStat) -> Gid {
    Gid::from_raw(stat.st_gid)
}

fn mode(stat: &FileStat) -> Mode {
    Mode::from_bits_truncate(stat.st_mode)
}

fn times(stat: &FileStat) -> (TimeSpec, TimeSpec) {
    (
        TimeSpec::new(stat.st_atime, stat.st_atime_nsec),
        TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec),
    )
}
