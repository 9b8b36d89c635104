//! Makes the root in RAM the root, frees what the initrd takes, and becomes
//! the next init.
//!
//! See <https://docs.kernel.org/filesystems/ramfs-rootfs-initramfs.html>.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat, umask};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use nix::unistd::{UnlinkatFlags, chdir, chroot, unlinkat};

use super::console;
use crate::{IN_RAM, MARKER};

/// ramfs, from linux/magic.h.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// The kernel's filesystems go along; systemd looks for them there.
const GO_ALONG: [&str; 3] = ["dev", "proc", "sys"];

/// Goes over to the root mounted on `root` and runs `init` in it, with the
/// arguments and environment that the kernel gave us. Only returns on failure.
pub fn hand_over(root: &Path, init: &Path) -> Result<Infallible> {
    let initrd = open_initrd(root)?;
    let marker = root.join(IN_RAM.trim_start_matches('/'));
    write_marker(&marker).with_context(|| format!("writing {}", marker.display()))?;
    for name in GO_ALONG {
        let target = root.join(name);
        // An excluded or never made directory.
        std::fs::create_dir_all(&target)
            .with_context(|| format!("creating {}", target.display()))?;
        move_mount(&Path::new("/").join(name), &target)?;
    }
    chdir(root).with_context(|| format!("entering {}", root.display()))?;
    move_mount(root, Path::new("/"))?;
    chroot(".").context("making the root in RAM the root")?;
    chdir("/").context("entering the root in RAM")?;
    delete_content(initrd).context("freeing the initrd's memory")?;
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    console::say(format!("handing over to {}", init.display()));
    // Also gives SIGPIPE its default back, which Rust programs ignore.
    let error = Command::new(init).args(std::env::args_os().skip(1)).exec();
    Err(error).with_context(|| format!("handing over to {}", init.display()))
}

/// As yet there is no umask.
fn write_marker(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o444);
    options.open(path).map(drop)
}

fn move_mount(from: &Path, to: &Path) -> Result<()> {
    let none: Option<&str> = None;
    mount(Some(from), to, none, MsFlags::MS_MOVE, none)
        .with_context(|| format!("moving {} to {}", from.display(), to.display()))
}

/// Opens `/`, once it is certain that it may be emptied: it is in RAM, it is
/// our initrd, and it is not the new root.
fn open_initrd(root: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let initrd = nix::fcntl::open("/", flags, Mode::empty()).context("opening the initrd")?;
    let kind = fstatfs(&initrd)
        .context("examining the initrd")?
        .filesystem_type();
    if kind != RAMFS_MAGIC && kind != TMPFS_MAGIC {
        bail!("examining the initrd: it is not in RAM");
    }
    let device = fstat(&initrd).context("examining the initrd")?.st_dev;
    let stat_of = |path: &Path| {
        let doing = || format!("examining {}", path.display());
        fstatat(&initrd, path, AtFlags::AT_SYMLINK_NOFOLLOW).with_context(doing)
    };
    if stat_of(Path::new(MARKER))?.st_dev != device {
        bail!("examining the initrd: {MARKER} is not in it");
    }
    if stat_of(root)?.st_dev == device {
        bail!("examining the initrd: {} is not mounted", root.display());
    }
    Ok(initrd)
}

/// Deletes everything below `directory` on the same filesystem.
fn delete_content(directory: OwnedFd) -> Result<()> {
    let device = fstat(&directory)?.st_dev;
    let mut dir = Dir::from_fd(directory)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        names.push(entry?.file_name().to_owned());
    }
    for name in names {
        let name = OsStr::from_bytes(name.to_bytes());
        if name != "." && name != ".." {
            delete(dir.as_fd(), name, device)
                .with_context(|| format!("deleting {}", name.to_string_lossy()))?;
        }
    }
    Ok(())
}

fn delete(parent: BorrowedFd, name: &OsStr, device: u64) -> Result<()> {
    let stat = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if stat.st_dev != device {
        return Ok(());
    }
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFDIR {
        return Ok(unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?);
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    delete_content(openat(parent, name, flags, Mode::empty())?)?;
    Ok(unlinkat(parent, name, UnlinkatFlags::RemoveDir)?)
}
