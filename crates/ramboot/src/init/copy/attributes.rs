//! Owner, mode, extended attributes (access control lists and capabilities
//! are such) and times.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
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

/// Gives copies the attributes of the originals.
pub struct Attributes {
    /// Where the copies are, for the calls that take only a path.
    target: PathBuf,
    lost: AtomicUsize,
}

impl Attributes {
    /// For copies in the directory `target`.
    pub fn new(target: &Path) -> Self {
        Self {
            target: target.to_owned(),
            lost: AtomicUsize::new(0),
        }
    }

    /// How many extended attributes the target's filesystem does not take.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    /// For an open regular file or directory. Order matters: a new owner takes
    /// away the set-user-id bit and capabilities, so both come after it, and
    /// everything changes times.
    pub fn to_open(&self, source: &File, target: &File, entry: &Entry) -> Result<()> {
        let stat = &entry.stat;
        if !owned_by_root(stat) {
            fchown(target, Some(uid(stat)), Some(gid(stat))).context("setting the owner")?;
        }
        // A regular file was made with its mode.
        if entry.kind() == SFlag::S_IFDIR || !owned_by_root(stat) {
            fchmod(target, mode(stat)).context("setting the mode")?;
        }
        let names = source.list_xattr();
        self.extended(
            names,
            |name| source.get_xattr(name),
            |name, value| target.set_xattr(name, value),
        )?;
        let (accessed, modified) = times(stat);
        futimens(target, &accessed, &modified).context("setting the times")
    }

    /// For a symbolic link, device, pipe or socket, which are not opened.
    pub fn to_path(&self, source: &Path, root: &OwnedFd, entry: &Entry) -> Result<()> {
        let (stat, path) = (&entry.stat, entry.path.as_path());
        if !owned_by_root(stat) {
            let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
            fchownat(root, path, Some(uid(stat)), Some(gid(stat)), flags)
                .context("setting the owner")?;
            // A symbolic link has no mode.
            if entry.kind() != SFlag::S_IFLNK {
                fchmodat(root, path, mode(stat), FchmodatFlags::FollowSymlink)
                    .context("setting the mode")?;
            }
        }
        let target = self.target.join(path);
        self.extended(
            xattr::list(source),
            |name| xattr::get(source, name),
            |name, value| xattr::set(&target, name, value),
        )?;
        let (accessed, modified) = times(stat);
        utimensat(
            root,
            path,
            &accessed,
            &modified,
            UtimensatFlags::NoFollowSymlink,
        )
        .context("setting the times")
    }

    fn extended(
        &self,
        names: io::Result<impl Iterator<Item = OsString>>,
        get: impl Fn(&OsStr) -> io::Result<Option<Vec<u8>>>,
        set: impl Fn(&OsStr, &[u8]) -> io::Result<()>,
    ) -> Result<()> {
        let names = match names {
            // The disk's filesystem has none.
            Err(error) if is(&error, Errno::EOPNOTSUPP) => return Ok(()),
            names => names.context("listing the extended attributes")?,
        };
        for name in names {
            let doing = |verb| format!("{verb} the extended attribute {}", name.to_string_lossy());
            let Some(value) = get(&name).with_context(|| doing("reading"))? else {
                continue;
            };
            match set(&name, &value) {
                Ok(()) => {}
                // A symbolic link or a device cannot have one of a user's
                // (EPERM), nor can anything on a tmpfs before Linux 6.6.
                Err(error) if is(&error, Errno::EOPNOTSUPP) || is(&error, Errno::EPERM) => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
                other => other.with_context(|| doing("setting"))?,
            }
        }
        Ok(())
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
