//! Compares entries with what is there; makes, repairs and removes all but
//! contents, and asks for those.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use nix::fcntl::{AT_FDCWD, readlink};
use nix::libc;
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};
use nix::unistd::symlinkat;
use p2v_sys::btrfs;
use p2v_sys::inode::{self, Inode};

use super::contents;
use super::metadata::{self, path, repair};
use super::remove::remove;
use super::state::{Directory, Pending, Receiver};
use crate::batch::{LAST, TOP, id};
use crate::dirs::{Worker, open_to_read};
use crate::entry::{Entry, Metadata, Names, Subvolume, What};
use crate::exclude::Found;
use crate::flags;
use crate::frame::{Append, Cursor, Frame, Kind};
use crate::queue::{Queue, lock};
use crate::walk::names;

/// Works on batches until none is left.
pub fn work(receiver: &Receiver, answers: &Queue<Frame>) -> Result<()> {
    let mut worker = Worker::new(receiver.dirs)?;
    while let Some((directory, payload)) = receiver.next_batch() {
        let mut made = Vec::new();
        let result = worker
            .enter(directory)
            .and_then(|()| batch(receiver, &payload, &mut made));
        receiver.batch_done(directory, &made);
        answers.push(Frame::new(Kind::Wanted, result?));
    }
    Ok(())
}

/// A directory that is being made equal.
struct Here<'a, 'b> {
    receiver: &'a Receiver<'b>,
    number: u32,
    state: Arc<Directory>,
    made: &'a mut Vec<u32>,
}

/// Returns the answer.
fn batch(receiver: &Receiver, payload: &[u8], made: &mut Vec<u32>) -> Result<Vec<u8>> {
    let mut from = Cursor(payload);
    let (batch, number) = (from.u32()?, from.u32()?);
    let (bits, count) = (from.u8()?, from.u32()?);
    let is_top = bits & TOP != 0;
    let mut here = Here {
        receiver,
        number,
        state: receiver.directory(number)?,
        made,
    };
    if !is_top {
        here.list()?;
    }
    let mut wanted = Vec::new();
    for place in 0..count {
        let entry = Entry::decode(&mut from, is_top)?;
        let name = entry.name().to_owned();
        let doing = || format!("making {}", receiver.dirs.shown(number, &name));
        if is_top {
            here.top(entry).with_context(doing)?;
        } else if here.place(entry, id(batch, place)).with_context(doing)? {
            wanted.put_u32(place);
        }
    }
    if !from.is_empty() {
        bail!("receiving: a batch is longer than it should be");
    }
    if bits & LAST != 0 {
        here.remove_others()?;
    }
    receiver
        .entries
        .fetch_add(u64::from(count), Ordering::Relaxed);
    let mut answer = Vec::new();
    answer.put_u32(batch);
    answer.put_u32((wanted.len() / 4) as u32);
    answer.extend_from_slice(&wanted);
    Ok(answer)
}

impl Here<'_, '_> {
    /// Notes what is in the directory, if anything can be.
    fn list(&self) -> Result<()> {
        let mut found = lock(&self.state.names);
        if !self.state.fresh && found.is_none() {
            let doing = || format!("listing {}", self.shown(b""));
            let names = names().with_context(doing)?;
            *found = Some(names.into_iter().map(|name| name.into_bytes()).collect());
        }
        Ok(())
    }

    fn shown(&self, name: &[u8]) -> String {
        self.receiver
            .dirs
            .shown(self.number, OsStr::from_bytes(name))
    }

    /// The top is there: only its metadata are repaired.
    fn top(&mut self, entry: Entry) -> Result<()> {
        let What::Directory { subvolume, .. } = entry.what else {
            bail!("receiving: the top is no directory");
        };
        let found = inode::examine(entry.name())?;
        if self.number != 0 || lock(&self.state.names).is_some() {
            bail!("receiving: the top came late");
        }
        self.enter_existing(0, entry, &found, subvolume, Some(0))
    }

    /// Makes one entry right. True if its contents are wanted.
    fn place(&mut self, entry: Entry, id: u64) -> Result<bool> {
        let excluded = self.receiver.exclude.find(self.state.excluded, &entry.name);
        if excluded == Found::Excluded {
            bail!("receiving: it was to be left out");
        }
        let existed = lock(&self.state.names)
            .as_mut()
            .is_some_and(|names| names.remove(&entry.name));
        match entry.names {
            Names::One => {}
            Names::First => {
                let place = (self.number, entry.name.clone());
                lock(&self.receiver.firsts).insert(id, place);
            }
            Names::Same(first) => {
                lock(&self.receiver.links).push((self.number, entry, first));
                return Ok(false);
            }
        }
        if existed {
            let found = inode::examine(entry.name())?;
            if self.is_same(&entry, &found, id)? {
                return self.keep(entry, &found, excluded.node()).map(|()| false);
            }
            if self.is_doubtful(&found) && found.nlink > 1 {
                // Nor shall its other names be believed, from now on.
                metadata::unlock(entry.name(), &found)?;
                metadata::forget_time(entry.name())?;
            }
            remove(entry.name(), &found)?;
        }
        self.state.touch();
        self.make(entry, id, excluded.node())
    }

    /// Whether what is there needs repair at most.
    fn is_same(&self, entry: &Entry, found: &Inode, id: u64) -> Result<bool> {
        if found.kind() != entry.kind() {
            return Ok(false);
        }
        if found.kind() != libc::S_IFDIR && found.nlink > 1 {
            let identity = (found.device, found.number);
            if *lock(&self.receiver.claims).entry(identity).or_insert(id) != id {
                return Ok(false);
            }
        }
        Ok(match &entry.what {
            What::Directory { subvolume, .. } => {
                let is_subvolume = found.number == btrfs::TOP;
                !self.receiver.is_btrfs || is_subvolume == subvolume.is_some()
            }
            What::File { size: 0, .. } => found.size == 0,
            What::File { size, .. } => {
                found.size == *size
                    && found.modified == entry.metadata.modified
                    && !self.is_doubtful(found)
            }
            What::Symlink(target) => readlink(entry.name())?.as_bytes() == target,
            What::Device(device) => found.rdev == *device,
            What::Other => true,
        })
    }

    /// Whether its size and time say nothing of its contents.
    fn is_doubtful(&self, found: &Inode) -> bool {
        let doubt = self.receiver.doubt.as_ref();
        found.kind() == libc::S_IFREG && doubt.is_some_and(|doubt| doubt.contains(&found.changed))
    }

    fn keep(&mut self, entry: Entry, found: &Inode, excluded: Option<usize>) -> Result<()> {
        if let What::Directory {
            number,
            subvolume,
            foreign,
        } = entry.what
        {
            if found.is_mount_point() == Some(true) && !foreign {
                bail!("something is mounted there: unmount it first");
            }
            self.add(number, entry.name())?;
            return self.enter_existing(number, entry, found, subvolume, excluded);
        }
        repair(entry.name(), found, &entry.metadata)?;
        self.lock_later(&entry);
        Ok(())
    }

    /// Flags that lock are the last thing.
    fn lock_later(&self, entry: &Entry) {
        let flags = entry.metadata.flags;
        if flags & flags::LOCKS != 0 {
            lock(&self.receiver.locks).push((self.number, entry.name.clone(), flags));
        }
    }

    fn add(&mut self, number: u32, name: &OsStr) -> Result<()> {
        if !self.receiver.dirs.add(number, self.number, name) {
            bail!("receiving: two directories have the number {number}");
        }
        Ok(())
    }

    /// A directory that is there already, and in which things will change.
    fn enter_existing(
        &mut self,
        number: u32,
        entry: Entry,
        found: &Inode,
        subvolume: Option<Subvolume>,
        excluded: Option<usize>,
    ) -> Result<()> {
        if self.receiver.is_btrfs && found.number == btrfs::TOP {
            let directory = open_to_read(entry.name()).context("opening it")?;
            if btrfs::is_read_only(&directory).context("examining the subvolume")? {
                btrfs::set_read_only(&directory, false).context("making it writable")?;
            }
        }
        metadata::unlock(entry.name(), found)?;
        let inherited = hands_down(entry.name(), found)?;
        repair(entry.name(), found, &entry.metadata)?;
        let state = Directory {
            hands_down: inherited || metadata_hands_down(&entry.metadata),
            excluded,
            subvolume,
            ..Directory::default()
        };
        self.enter_as(number, entry, state);
        Ok(())
    }

    fn enter_as(&mut self, number: u32, entry: Entry, mut state: Directory) {
        state.metadata = Some(entry.metadata);
        lock(&self.receiver.states).insert(number, Arc::new(state));
        if number == 0 {
            return;
        }
        self.made.push(number);
    }

    /// Makes what is not there. True if its contents are wanted.
    fn make(&mut self, entry: Entry, id: u64, excluded: Option<usize>) -> Result<bool> {
        let name = entry.name();
        match &entry.what {
            What::Directory {
                number, subvolume, ..
            } => {
                let (number, subvolume) = (*number, *subvolume);
                self.make_directory(name, subvolume.is_some())?;
                self.add(number, name)?;
                let state = Directory {
                    fresh: true,
                    hands_down: self.state.hands_down || metadata_hands_down(&entry.metadata),
                    excluded,
                    subvolume,
                    ..Directory::default()
                };
                if entry.metadata.flags & flags::HIDDEN != 0 {
                    let found = inode::examine(name)?;
                    metadata::set_flags(name, &found, &entry.metadata)?;
                }
                self.enter_as(number, entry, state);
                return Ok(false);
            }
            What::File { size, .. } if *size > 0 => {
                let pending = Pending {
                    directory: self.number,
                    entry,
                    inherits: self.state.hands_down,
                };
                lock(&self.receiver.pending).insert(id, pending);
                return Ok(true);
            }
            What::File { .. } => {
                let file = contents::create(name, &entry.metadata, self.state.hands_down)?;
                contents::complete(&file, name, &entry.metadata, self.state.hands_down)?;
                metadata::time_of_open(&file, &entry.metadata)?;
            }
            What::Symlink(target) => {
                symlinkat(path(target), AT_FDCWD, name).context("making the link")?;
            }
            What::Device(device) => make_node(name, entry.kind(), &entry.metadata, *device)?,
            What::Other => make_node(name, entry.kind(), &entry.metadata, 0)?,
        }
        if !matches!(entry.what, What::File { .. }) {
            let found = inode::examine(name)?;
            repair(name, &found, &entry.metadata)?;
        }
        self.lock_later(&entry);
        Ok(false)
    }

    fn make_directory(&self, name: &OsStr, subvolume: bool) -> Result<()> {
        if subvolume && self.receiver.is_btrfs {
            let here = open_to_read(OsStr::new(".")).context("opening its directory")?;
            return btrfs::create(&here, name.as_bytes()).context("making the subvolume");
        }
        mkdirat(AT_FDCWD, name, Mode::S_IRWXU).context("making the directory")
    }

    /// Removes what the sender does not have.
    fn remove_others(&self) -> Result<()> {
        let names = lock(&self.state.names).take();
        for name in names.into_iter().flatten() {
            let found = self.receiver.exclude.find(self.state.excluded, &name);
            if found == Found::Excluded || found.node().is_some() {
                continue;
            }
            let doing = || format!("removing {}", self.shown(&name));
            let found = inode::examine(path(&name)).with_context(doing)?;
            self.state.touch();
            remove(path(&name), &found).with_context(doing)?;
        }
        Ok(())
    }
}

fn make_node(name: &OsStr, kind: u32, metadata: &Metadata, device: u64) -> Result<()> {
    let mode = Mode::from_bits_truncate(metadata.mode & 0o777);
    let kind = SFlag::from_bits_truncate(kind);
    mknodat(AT_FDCWD, name, kind, mode, device).context("making the device or pipe")
}

/// Whether what is made in a directory gets something from it.
fn hands_down(name: &OsStr, found: &Inode) -> Result<bool> {
    let mut metadata = crate::entry::metadata_of(found);
    metadata.extended = inode::extended(name).context("reading the extended attributes")?;
    if let Ok(file) = open_to_read(name) {
        metadata.flags |= flags::hidden(&file);
    }
    Ok(metadata_hands_down(&metadata))
}

fn metadata_hands_down(metadata: &Metadata) -> bool {
    let default = b"system.posix_acl_default";
    metadata.mode & libc::S_ISGID != 0
        || metadata.flags & flags::HIDDEN != 0
        || metadata.extended.iter().any(|(name, _)| name == default)
}

/// A state for what is not there yet.
impl Directory {
    /// Whether its time must be set again.
    pub fn is_unsettled(&self) -> bool {
        self.fresh || self.touched.load(Ordering::Relaxed)
    }
}
