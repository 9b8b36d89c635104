//! Makes owner, permissions, extended attributes, flags and times right.
//!
//! Order matters: a new owner takes away the set-user-id bit and capabilities,
//! new permissions change an access control list, and everything changes times.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::libc;
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmod, fchmodat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use p2v_sys::inode::{self, Inode};

use crate::entry::{Metadata, is_kept_attribute, shown};
use crate::flags;

/// The times to set: the access is now, as a reader would have it.
fn times(metadata: &Metadata) -> (TimeSpec, TimeSpec) {
    let (seconds, nanoseconds) = metadata.modified;
    let modified = TimeSpec::new(seconds, i64::from(nanoseconds));
    (TimeSpec::UTIME_NOW, modified)
}

fn mode(metadata: &Metadata) -> Mode {
    Mode::from_bits_truncate(metadata.mode & 0o7777)
}

/// For a regular file that was just made with its mode by root in a directory
/// that hands nothing down.
pub fn of_new_file(file: &File, metadata: &Metadata) -> Result<()> {
    if (metadata.uid, metadata.gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
        fchown(file, Some(uid), Some(gid)).context("setting the owner")?;
    }
    if metadata.mode & 0o7000 != 0 {
        fchmod(file, mode(metadata)).context("setting the mode")?;
    }
    for (name, value) in &metadata.extended {
        taken(name, inode::set_extended_open(file, name, value))?;
    }
    Ok(())
}

/// The last thing that is set.
pub fn time_of_open(file: &File, metadata: &Metadata) -> Result<()> {
    let (accessed, modified) = times(metadata);
    futimens(file, &accessed, &modified).context("setting the times")
}

/// For a file of any type in the working directory, which may have anything:
/// true if something had to be changed. Flags that lock it are not set, but
/// taken away where they are in the way.
pub fn repair(name: &OsStr, found: &Inode, wanted: &Metadata) -> Result<bool> {
    let extended = inode::extended(name).context("reading the extended attributes")?;
    let is_link = found.kind() == libc::S_IFLNK;
    let owner = (found.uid, found.gid) != (wanted.uid, wanted.gid);
    let permissions = !is_link && found.mode & 0o7777 != wanted.mode & 0o7777;
    let attributes = extended
        .iter()
        .filter(|(name, _)| is_kept_attribute(name))
        .ne(&wanted.extended);
    let time = found.modified != wanted.modified;
    let others = set_flags(name, found, wanted)?;
    if !(owner || permissions || attributes || time) {
        return Ok(others);
    }
    unlock(name, found)?;
    if owner {
        let (uid, gid) = (Uid::from_raw(wanted.uid), Gid::from_raw(wanted.gid));
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        fchownat(AT_FDCWD, name, Some(uid), Some(gid), flags).context("setting the owner")?;
    }
    if !is_link && (owner || permissions) {
        fchmodat(AT_FDCWD, name, mode(wanted), FchmodatFlags::FollowSymlink)
            .context("setting the mode")?;
    }
    if owner || permissions || attributes {
        repair_extended(name, &wanted.extended)?;
    }
    time_of(name, wanted)?;
    Ok(true)
}

/// Sets the time of a file in the working directory.
pub fn time_of(name: &OsStr, wanted: &Metadata) -> Result<()> {
    let (accessed, modified) = times(wanted);
    let flags = UtimensatFlags::NoFollowSymlink;
    utimensat(AT_FDCWD, name, &accessed, &modified, flags).context("setting the times")
}

/// Makes its time another one than any that is wanted.
pub fn forget_time(name: &OsStr) -> Result<()> {
    let (never, flags) = (TimeSpec::new(0, 1), UtimensatFlags::NoFollowSymlink);
    utimensat(AT_FDCWD, name, &never, &never, flags).context("setting the times")
}

fn repair_extended(name: &OsStr, wanted: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
    let found = inode::extended(name).context("reading the extended attributes")?;
    for (attribute, _) in found.iter().filter(|(name, _)| is_kept_attribute(name)) {
        if !wanted.iter().any(|(wanted, _)| wanted == attribute) {
            match inode::remove_extended(name, attribute) {
                Ok(()) | Err(Errno::ENODATA) => {}
                other => other.with_context(|| {
                    format!("removing the extended attribute {}", shown(attribute))
                })?,
            }
        }
    }
    for pair in wanted.iter().filter(|pair| !found.contains(pair)) {
        taken(&pair.0, inode::set_extended(name, &pair.0, &pair.1))?;
    }
    Ok(())
}

/// Whether an attribute was taken. What belongs to one filesystem alone is
/// not missed on another.
fn taken(name: &[u8], result: nix::Result<()>) -> Result<()> {
    let own = [&b"user."[..], b"security.", b"trusted.", b"system."];
    match result {
        Err(Errno::EOPNOTSUPP | Errno::EINVAL) if !own.iter().any(|own| name.starts_with(own)) => {
            Ok(())
        }
        result => result.with_context(|| format!("setting the extended attribute {}", shown(name))),
    }
}

/// Takes away what keeps a file in the working directory from being changed.
pub fn unlock(name: &OsStr, found: &Inode) -> Result<()> {
    if flags::of(found) & flags::LOCKS == 0 {
        return Ok(());
    }
    let file = open_for_flags(name).context("opening it to unlock it")?;
    flags::set(&file, 0, flags::LOCKS).context("unlocking it")
}

/// Sets the flags that do no harm to what comes after.
pub fn set_flags(name: &OsStr, found: &Inode, wanted: &Metadata) -> Result<bool> {
    let has_flags = matches!(found.kind(), libc::S_IFREG | libc::S_IFDIR);
    let mask = flags::NO_DUMP | flags::HIDDEN;
    let differs = (flags::of(found) ^ wanted.flags) & flags::NO_DUMP != 0;
    if !has_flags || !differs && wanted.flags & flags::HIDDEN == 0 {
        return Ok(false);
    }
    unlock(name, found)?;
    let file = open_for_flags(name).context("opening it to set its flags")?;
    if flags::hidden(&file) == wanted.flags & flags::HIDDEN && !differs {
        return Ok(false);
    }
    // Not every filesystem has each, and a file that has contents keeps its
    // way of being written.
    let _ = flags::set(&file, wanted.flags, mask);
    Ok(false)
}

/// Makes the flags as they shall be, those that lock included.
pub fn lock(name: &OsStr, wanted: u16) -> Result<()> {
    let file = open_for_flags(name).context("opening it to set its flags")?;
    match flags::set(&file, wanted, flags::LOCKS | flags::NO_DUMP) {
        // A filesystem that has none.
        Err(Errno::ENOTTY | Errno::EOPNOTSUPP) => Ok(()),
        other => other.context("setting its flags"),
    }
}

fn open_for_flags(name: &OsStr) -> nix::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    open(name, flags, Mode::empty()).map(File::from)
}

/// The name as a path of one component.
pub fn path(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}
