//! Removes what the sender does not have: a file, or a directory with all in
//! it, however deep.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, fchdir, unlinkat};
use p2v_sys::btrfs;
use p2v_sys::inode::{self, Inode};

use super::metadata::unlock;
use crate::entry::shown;
use crate::walk::names;

/// Removes `name` from the working directory, which is the same afterwards.
pub fn remove(name: &OsStr, found: &Inode) -> Result<()> {
    let doing = || format!("removing {}", shown(name.as_bytes()));
    if found.kind() != libc::S_IFDIR {
        return remove_file(name, found).with_context(doing);
    }
    let home = open_directory(OsStr::new(".")).with_context(doing)?;
    let result = remove_directory(name, found);
    fchdir(&home).with_context(doing)?;
    result.with_context(doing)
}

fn remove_file(name: &OsStr, found: &Inode) -> Result<()> {
    unlock(name, found)?;
    unlinkat(AT_FDCWD, name, UnlinkatFlags::NoRemoveDir).context("unlinking it")
}

fn open_directory(name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(AT_FDCWD, name, flags, Mode::empty())
}

/// A directory that is being emptied.
struct Level {
    name: CString,
    /// Directories in it that are left.
    left: Vec<CString>,
}

/// Goes down into directories and up again by "..", so that few are open and
/// no path is too long. Nobody else moves anything here meanwhile.
fn remove_directory(name: &OsStr, found: &Inode) -> Result<()> {
    let name = CString::new(name.as_bytes()).context("a name with a zero")?;
    enter(&name, found)?;
    let mut levels = vec![Level {
        name,
        left: empty()?,
    }];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.left.pop() {
            let found = inode::examine(name.as_c_str())?;
            enter(&name, &found)?;
            levels.push(Level {
                name,
                left: empty()?,
            });
            continue;
        }
        let name = OsStr::from_bytes(level.name.as_bytes());
        let up = open_directory(OsStr::new("..")).context("going up")?;
        fchdir(&up).context("going up")?;
        unlinkat(AT_FDCWD, name, UnlinkatFlags::RemoveDir)
            .with_context(|| format!("removing the directory {}", shown(name.as_bytes())))?;
        levels.pop();
    }
    Ok(())
}

fn enter(name: &CString, found: &Inode) -> Result<()> {
    let shown = shown(name.to_bytes());
    if found.is_mount_point() == Some(true) {
        bail!("something is mounted on {shown}: unmount it first");
    }
    let name = OsStr::from_bytes(name.to_bytes());
    unlock(name, found)?;
    let directory = open_directory(name).with_context(|| format!("opening {shown}"))?;
    if found.number == btrfs::TOP {
        // A snapshot may be read-only; elsewhere the number means nothing.
        let directory = File::from(directory.try_clone()?);
        if btrfs::is_read_only(&directory) == Ok(true) {
            btrfs::set_read_only(&directory, false)
                .with_context(|| format!("making {shown} writable"))?;
        }
    }
    fchdir(&directory).with_context(|| format!("entering {shown}"))
}

/// Removes everything in the working directory but directories, which are
/// returned.
fn empty() -> Result<Vec<CString>> {
    let mut directories = Vec::new();
    for name in names()? {
        let found = match inode::examine(name.as_c_str()) {
            Err(Errno::ENOENT) => continue,
            found => found?,
        };
        if found.kind() == libc::S_IFDIR {
            directories.push(name);
        } else {
            let name = OsStr::from_bytes(name.to_bytes());
            remove_file(name, &found)
                .with_context(|| format!("removing {}", shown(name.as_bytes())))?;
        }
    }
    Ok(directories)
}
