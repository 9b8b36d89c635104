//! The receiving side of a comparison: it changes nothing.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, bail};
use nix::fcntl::readlink;
use nix::libc;
use p2v_sys::inode::{self, Inode};

use super::differences::{Differences, type_name};
use super::digest::{DIGEST, digest};
use crate::batch::{LAST, TOP, id};
use crate::dirs::{Worker, open_to_read};
use crate::entry::{Entry, Metadata, Names, What, is_kept_attribute, shown};
use crate::exclude::Found;
use crate::failure::Failure;
use crate::flags;
use crate::frame::{Cursor, Frame, FrameReader, FrameWriter, Kind};
use crate::queue::lock;
use crate::receive::state::{Directory, Receiver};
use crate::receive::{refuse, welcome};
use crate::send::Wish;
use crate::walk::names;

/// Threads that compare.
const THREADS: usize = 2;

/// One side's view of a file's contents, until the other's is there.
enum Half {
    Theirs([u8; DIGEST]),
    /// Ours, and where: `None` if the contents need not be compared any more.
    Ours(Option<([u8; DIGEST], String)>),
}

/// The entry that it is another name of, its inode here, its path.
type FurtherName = (u64, (u64, u64), String);

struct Answerer<'a> {
    receiver: Receiver<'a>,
    differences: Differences,
    contents: Mutex<HashMap<u64, Half>>,
    /// Inodes of files with several names, and such names.
    inodes: Mutex<HashMap<u64, (u64, u64)>>,
    links: Mutex<Vec<FurtherName>>,
}

/// See [`crate::answer`]. Compares until the sender ends, and answers with what
/// differs.
pub fn answer(top: &Path, from: impl Read + Send, to: impl Write + Send) -> Result<()> {
    let (mut from, mut to) = (FrameReader::new(from), FrameWriter::new(to));
    let (dirs, exclude) = welcome(top, Wish::Compare, &mut from, &mut to)?;
    let (from, to) = (&mut from, &mut to);
    let answerer = Answerer {
        receiver: Receiver::new(&dirs, &exclude, None)?,
        differences: Differences::default(),
        contents: Mutex::default(),
        inodes: Mutex::default(),
        links: Mutex::default(),
    };
    let to = Mutex::new(to);
    let failure_said = |error: anyhow::Error| {
        let mut to = lock(&to);
        refuse(&mut to, error)
    };
    let end = || answerer.receiver.abandon();
    let failure = Failure::new(&end);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                // Told at once: the sender may wait for us.
                let result = answerer.work().map_err(&failure_said);
                failure.watch(result);
            });
        }
        failure.watch(answerer.read_all(from).map_err(&failure_said));
        answerer.receiver.end();
    });
    let result = match failure.take() {
        None => answerer.last(),
        Some(error) => return Err(error),
    };
    let payload = result.and_then(|()| {
        serde_json::to_vec(&answerer.differences.take()).context("writing what differs")
    });
    let mut to = lock(&to);
    match payload {
        Ok(payload) => {
            to.write(&Frame::new(Kind::Done, payload))?;
            to.flush()
        }
        Err(error) => Err(refuse(&mut to, error)),
    }
}

impl Answerer<'_> {
    fn read_all(&self, from: &mut FrameReader<impl Read>) -> Result<()> {
        loop {
            let frame = from.read(Vec::new())?;
            match frame.kind {
                Kind::Entries => {
                    if !self.receiver.take_batch(frame.unpacked()?)? {
                        return Ok(());
                    }
                }
                Kind::Digests => self.take_digests(&frame.unpacked()?)?,
                Kind::End => return Ok(()),
                Kind::Failed => {
                    return Err(anyhow!("the sending side: {}", shown(&frame.unpacked()?)));
                }
                _ => bail!("receiving: the other side sent what only a receiver does"),
            }
        }
    }

    fn take_digests(&self, payload: &[u8]) -> Result<()> {
        let mut from = Cursor(payload);
        while !from.is_empty() {
            let id = from.u64()?;
            let mut theirs = [0; DIGEST];
            theirs.copy_from_slice(from.bytes(DIGEST)?);
            self.meet(id, Half::Theirs(theirs))?;
        }
        Ok(())
    }

    /// Compares when both sides' halves are there.
    fn meet(&self, id: u64, half: Half) -> Result<()> {
        let mut contents = lock(&self.contents);
        match (contents.remove(&id), half) {
            (None, half) => {
                contents.insert(id, half);
            }
            (Some(Half::Theirs(theirs)), Half::Ours(ours))
            | (Some(Half::Ours(ours)), Half::Theirs(theirs)) => {
                if let Some((_, path)) = ours.filter(|(ours, _)| *ours != theirs) {
                    self.differences.add(path, "content".to_owned());
                }
            }
            _ => bail!("receiving: two digests of one file"),
        }
        Ok(())
    }

    fn work(&self) -> Result<()> {
        let mut worker = Worker::new(self.receiver.dirs)?;
        while let Some((directory, payload)) = self.receiver.next_batch() {
            let mut made = Vec::new();
            let result = self.batch(&mut worker, directory, &payload, &mut made);
            self.receiver.batch_done(directory, &made);
            result?;
        }
        Ok(())
    }

    fn batch(
        &self,
        worker: &mut Worker,
        number: u32,
        payload: &[u8],
        made: &mut Vec<u32>,
    ) -> Result<()> {
        let mut from = Cursor(payload);
        let (batch, _) = (from.u32()?, from.u32()?);
        let (bits, count) = (from.u8()?, from.u32()?);
        let is_top = bits & TOP != 0;
        let here = Here {
            all: self,
            number,
            state: self.receiver.directory(number)?,
        };
        // `fresh` says here that it is missing on this side.
        if !here.state.fresh {
            worker.enter(number)?;
            let mut found = lock(&here.state.names);
            if !is_top && found.is_none() {
                *found = Some(names()?.into_iter().map(|name| name.into_bytes()).collect());
            }
        }
        for place in 0..count {
            let entry = Entry::decode(&mut from, is_top)?;
            if let Some(directory) = here.entry(&entry, id(batch, place), is_top)? {
                made.push(directory);
            }
        }
        if bits & LAST != 0 {
            here.others();
        }
        Ok(())
    }

    /// What can be said only when all is there.
    fn last(&self) -> Result<()> {
        self.receiver.check_complete()?;
        if !lock(&self.contents).is_empty() {
            bail!("receiving: the digest of a file never came");
        }
        let inodes = lock(&self.inodes);
        for (first, inode, path) in lock(&self.links).drain(..) {
            // If the first is missing, that is a difference already.
            if inodes.get(&first).is_some_and(|first| *first != inode) {
                let what = "another file, not another name of the same";
                self.differences.add(path, what.to_owned());
            }
        }
        Ok(())
    }
}

struct Here<'a, 'b> {
    all: &'a Answerer<'b>,
    number: u32,
    state: Arc<Directory>,
}

impl Here<'_, '_> {
    fn path(&self, name: &OsStr) -> String {
        shown(&self.all.receiver.dirs.path(self.number, name))
    }

    /// Compares one entry. Returns the number of a directory, whose entries
    /// can be compared from now on.
    fn entry(&self, entry: &Entry, id: u64, is_top: bool) -> Result<Option<u32>> {
        let found = if is_top {
            Some(inode::examine(entry.name()).context("examining the top")?)
        } else {
            self.find(entry)?
        };
        let has_contents = matches!(entry.what, What::File { size, .. } if size > 0)
            && !matches!(entry.names, Names::Same(_));
        if let Some(found) = &found {
            self.metadata(entry, found)?;
            self.names(entry, id, found);
        }
        if has_contents {
            let ours = found.and_then(|found| self.digest(entry, &found));
            self.all.meet(id, Half::Ours(ours))?;
        }
        let What::Directory { number, .. } = entry.what else {
            return Ok(None);
        };
        if is_top {
            return Ok(None);
        }
        let receiver = &self.all.receiver;
        if !receiver.dirs.add(number, self.number, entry.name()) {
            bail!("receiving: two directories have the number {number}");
        }
        let excluded = receiver.exclude.find(self.state.excluded, &entry.name);
        let state = Directory {
            fresh: found.is_none_or(|found| found.kind() != libc::S_IFDIR),
            excluded: excluded.node(),
            ..Directory::default()
        };
        lock(&receiver.states).insert(number, Arc::new(state));
        Ok(Some(number))
    }

    /// What is there under the entry's name; if nothing is, says so, once for
    /// a directory with all in it.
    fn find(&self, entry: &Entry) -> Result<Option<Inode>> {
        if self.state.fresh {
            return Ok(None);
        }
        let existed = lock(&self.state.names)
            .as_mut()
            .is_some_and(|names| names.remove(&entry.name));
        if !existed {
            self.add(entry.name(), "missing".to_owned());
            return Ok(None);
        }
        let found = inode::examine(entry.name())
            .with_context(|| format!("examining {}", self.path(entry.name())))?;
        Ok(Some(found))
    }

    fn add(&self, name: &OsStr, what: String) {
        self.all.differences.add(self.path(name), what);
    }

    fn metadata(&self, entry: &Entry, found: &Inode) -> Result<()> {
        let wanted = &entry.metadata;
        let name = entry.name();
        if found.kind() != entry.kind() {
            let (ours, theirs) = (type_name(found.kind()), type_name(entry.kind()));
            self.add(name, format!("{ours}, not {theirs}"));
            return Ok(());
        }
        let differs = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                self.add(name, format!("{what} {ours}, not {theirs}"));
            }
        };
        let owner = |uid, gid| format!("{uid}:{gid}");
        differs(
            "owner",
            owner(found.uid, found.gid),
            owner(wanted.uid, wanted.gid),
        );
        if found.kind() != libc::S_IFLNK {
            let mode = |mode: u32| format!("{:04o}", mode & 0o7777);
            differs("mode", mode(found.mode), mode(wanted.mode));
        }
        let time = |(seconds, nanoseconds): (i64, u32)| format!("{seconds}.{nanoseconds:09}");
        differs("modified", time(found.modified), time(wanted.modified));
        let flags = |flags: u16| format!("{:#x}", flags & !flags::HIDDEN);
        differs("flags", flags(flags::of(found)), flags(wanted.flags));
        match &entry.what {
            What::File { size, .. } => differs("size", found.size.to_string(), size.to_string()),
            What::Device(device) => differs("device", found.rdev.to_string(), device.to_string()),
            What::Symlink(target) => {
                let ours = readlink(name).context("reading a link")?;
                differs("target", shown(ours.as_bytes()), shown(target));
            }
            _ => {}
        }
        self.attributes(name, wanted)
    }

    fn attributes(&self, name: &OsStr, wanted: &Metadata) -> Result<()> {
        let mut found = inode::extended(name)
            .with_context(|| format!("reading the attributes of {}", self.path(name)))?;
        found.retain(|(attribute, _)| is_kept_attribute(attribute));
        for (attribute, value) in &wanted.extended {
            match found.iter().find(|(found, _)| found == attribute) {
                None => self.add(name, format!("attribute {} missing", shown(attribute))),
                Some((_, ours)) if ours != value => {
                    self.add(name, format!("attribute {}", shown(attribute)));
                }
                Some(_) => {}
            }
        }
        for (attribute, _) in &found {
            if !wanted
                .extended
                .iter()
                .any(|(wanted, _)| wanted == attribute)
            {
                self.add(name, format!("attribute {} too many", shown(attribute)));
            }
        }
        Ok(())
    }

    fn names(&self, entry: &Entry, id: u64, found: &Inode) {
        let identity = (found.device, found.number);
        match entry.names {
            Names::One => {}
            Names::First => {
                lock(&self.all.inodes).insert(id, identity);
            }
            Names::Same(first) => {
                let path = self.path(entry.name());
                lock(&self.all.links).push((first, identity, path));
            }
        }
    }

    /// Our digest, if the contents are worth comparing.
    fn digest(&self, entry: &Entry, found: &Inode) -> Option<([u8; DIGEST], String)> {
        let What::File { size, .. } = entry.what else {
            return None;
        };
        if found.kind() != libc::S_IFREG || found.size != size {
            return None;
        }
        let read = open_to_read(entry.name())
            .map_err(anyhow::Error::from)
            .and_then(|file| digest(&file, size));
        match read {
            Ok(digest) => Some((digest, self.path(entry.name()))),
            Err(error) => {
                self.add(entry.name(), format!("cannot be read: {error:#}"));
                None
            }
        }
    }

    /// What the sender does not have.
    fn others(&self) {
        let names = lock(&self.state.names).take();
        for name in names.into_iter().flatten() {
            let found = self.all.receiver.exclude.find(self.state.excluded, &name);
            if found == Found::Not {
                self.add(OsStr::from_bytes(&name), "not at the source".to_owned());
            }
        }
    }
}
