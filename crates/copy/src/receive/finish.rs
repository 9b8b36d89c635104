//! What comes when all contents are there: further names of files,
//! directories' metadata, locks, subvolumes' properties; then all onto the
//! disk.

use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;
use p2v_sys::btrfs;
use p2v_sys::inode;

use super::metadata::{self, path, repair};
use super::remove::remove;
use super::state::{Directory, Receiver};
use crate::dirs::{Worker, open_to_read};
use crate::entry::Entry;
use crate::flags;
use crate::queue::lock;

/// See the module.
pub fn finish(receiver: &Receiver) -> Result<()> {
    receiver.check_complete()?;
    let mut worker = Worker::new(receiver.dirs)?;
    for (directory, entry, first) in std::mem::take(&mut *lock(&receiver.links)) {
        link(receiver, &mut worker, directory, &entry, first)
            .with_context(|| format!("linking {}", receiver.dirs.shown(directory, entry.name())))?;
    }
    let states = std::mem::take(&mut *lock(&receiver.states));
    for (number, state) in &states {
        directory(&mut worker, *number, state)?;
    }
    for (directory, name, flags) in std::mem::take(&mut *lock(&receiver.locks)) {
        worker.enter(directory)?;
        metadata::lock(path(&name), flags)
            .with_context(|| format!("locking {}", receiver.dirs.shown(directory, path(&name))))?;
    }
    for (number, state) in &states {
        seal(receiver, &mut worker, *number, state)?;
    }
    inode::sync_filesystem(receiver.dirs.top()).context("waiting for the disk")
}

fn link(
    receiver: &Receiver,
    worker: &mut Worker,
    directory: u32,
    entry: &Entry,
    first: u64,
) -> Result<()> {
    let firsts = lock(&receiver.firsts);
    let Some((first_directory, first_name)) = firsts.get(&first) else {
        bail!("receiving: a further name of what never came");
    };
    let first_name = path(first_name);
    worker.enter(*first_directory)?;
    let original = inode::examine(first_name).context("examining its first name")?;
    let from = worker.open(*first_directory)?;
    worker.enter(directory)?;
    match inode::examine(entry.name()) {
        Ok(found) if (found.device, found.number) == (original.device, original.number) => {
            return Ok(());
        }
        Ok(found) => remove(entry.name(), &found)?,
        Err(Errno::ENOENT) => {}
        Err(error) => return Err(error).context("examining it"),
    }
    receiver.directory(directory)?.touch();
    let make = || {
        linkat(
            from.as_fd(),
            first_name,
            AT_FDCWD,
            entry.name(),
            AtFlags::empty(),
        )
    };
    match make() {
        Err(Errno::EPERM) if flags::of(&original) & flags::LOCKS != 0 => {
            worker.enter(*first_directory)?;
            metadata::unlock(first_name, &original)?;
            worker.enter(directory)?;
            make()
        }
        other => other,
    }
    .context("making the link")
}

/// Sets a directory's metadata if what was done in it has changed them.
fn directory(worker: &mut Worker, number: u32, state: &Arc<Directory>) -> Result<()> {
    let Some(metadata) = state.metadata.as_ref().filter(|_| state.is_unsettled()) else {
        return Ok(());
    };
    worker.enter(number)?;
    let doing = || format!("finishing {}", worker.dirs().shown(number, path(b"")));
    let found = inode::examine(".").with_context(doing)?;
    repair(path(b"."), &found, metadata).with_context(doing)?;
    Ok(())
}

/// Locks a directory, and gives a subvolume its properties.
fn seal(
    receiver: &Receiver,
    worker: &mut Worker,
    number: u32,
    state: &Arc<Directory>,
) -> Result<()> {
    let locks = state.metadata.as_ref().map_or(0, |metadata| metadata.flags) & flags::LOCKS;
    let volume = state.subvolume.filter(|_| receiver.is_btrfs);
    if locks == 0 && volume.is_none_or(|volume| !volume.read_only && !volume.default) {
        return Ok(());
    }
    worker.enter(number)?;
    let doing = || format!("sealing {}", worker.dirs().shown(number, path(b"")));
    if locks != 0 {
        metadata::lock(path(b"."), locks).with_context(doing)?;
    }
    let here = open_to_read(path(b".")).with_context(doing)?;
    if let Some(volume) = volume {
        if volume.default {
            let id = btrfs::id(&here).with_context(doing)?;
            btrfs::set_default(&here, id).with_context(doing)?;
        }
        if volume.read_only {
            btrfs::set_read_only(&here, true).with_context(doing)?;
        }
    }
    Ok(())
}
