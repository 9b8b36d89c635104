//! The side that reads: walks its tree, sends every entry, and the contents
//! that the receiver asks for.
//!
//! Threads: walkers emit entries, readers emit contents; the calling thread
//! writes both to the link; one more reads what the receiver answers.

pub mod contents;
mod counters;
mod link;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::batch::{Batch, FileRef};
use crate::compress::Packer;
use crate::dirs::Dirs;
use crate::entry::shown;
use crate::exclude::Exclude;
use crate::failure::Failure;
use crate::frame::{self, Append, Cursor, Frame, FrameReader, Kind};
use crate::queue::{Queue, lock};
use crate::walk::Walk;
use crate::{Progress, SendOptions, Watch};

pub use contents::is_zero;
pub use counters::Counters;
pub use link::Link;

/// Threads that walk, and as many that read contents.
pub const THREADS: usize = 2;
/// Frames that wait for the link.
const WAITING: usize = 16;
/// Files that were asked for and not yet sent before walking pauses.
const AHEAD: usize = 20_000;

/// What a sender wants of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Wish {
    /// Become equal.
    Copy = 1,
    /// Say what differs.
    Compare = 2,
    /// Become equal, a disk.
    Blocks = 3,
    /// Say what differs, a disk.
    CompareBlocks = 4,
}

impl std::fmt::Display for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Self::Copy => "to copy files",
            Self::Compare => "to compare files",
            Self::Blocks => "to copy blocks",
            Self::CompareBlocks => "to compare blocks",
        })
    }
}

/// The first frame.
pub fn hello(wish: Wish, exclude: &[String]) -> Result<Frame> {
    let mut payload = Vec::new();
    payload.put_u32(frame::VERSION);
    payload.put_u8(wish as u8);
    put_paths(&mut payload, exclude)?;
    Ok(Frame::new(Kind::Hello, payload))
}

/// What all threads of a sender know.
pub struct Sender<'a> {
    dirs: &'a Dirs,
    out: &'a Queue<Frame>,
    wanted: &'a Queue<FileRef>,
    /// Batches that the receiver has not answered yet.
    asked: Mutex<HashMap<u32, Vec<FileRef>>>,
    walkers: AtomicUsize,
    readers: AtomicUsize,
    done: AtomicBool,
    counters: &'a Counters<'a>,
    packer: &'a Packer,
}

impl Sender<'_> {
    fn emit(&self, batch: Batch) -> bool {
        self.counters.entries(u64::from(batch.count));
        lock(&self.asked).insert(batch.number, batch.files);
        let frame = Frame::new(Kind::Entries, batch.payload);
        self.packer.push(self.out, frame)
    }

    /// Lets the link and the readers catch up.
    fn pause(&self) {
        while self.wanted.len() > AHEAD {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the readers when nothing more can be asked for.
    fn end_if_answered(&self) {
        if self.walkers.load(Ordering::SeqCst) == 0 && lock(&self.asked).is_empty() {
            self.wanted.end();
        }
    }

    fn walk(&self, walk: &Walk) -> Result<()> {
        let result = walk.work(&|batch| self.emit(batch), || self.pause());
        self.walkers.fetch_sub(1, Ordering::SeqCst);
        self.end_if_answered();
        result
    }

    fn read_contents(&self) -> Result<()> {
        contents::send(self)?;
        if self.readers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.out.push(Frame::new(Kind::End, Vec::new()));
            self.out.end();
        }
        Ok(())
    }

    /// Reads the receiver's answers until it is done.
    fn listen(&self, mut from: FrameReader<impl Read>, failure: &Failure) -> Result<()> {
        loop {
            let frame = from.read(Vec::new())?;
            match frame.kind {
                Kind::Wanted => self.answered(&frame.unpacked()?)?,
                Kind::Done => {
                    self.done.store(true, Ordering::SeqCst);
                    return Ok(());
                }
                _ => return no_answer(frame, failure),
            }
        }
    }

    fn answered(&self, payload: &[u8]) -> Result<()> {
        let mut from = Cursor(payload);
        while !from.is_empty() {
            let (number, count) = (from.u32()?, from.u32()?);
            let files = lock(&self.asked)
                .remove(&number)
                .context("receiving: an answer to what was not asked")?;
            let mut files = files.into_iter();
            for _ in 0..count {
                let place = from.u32()?;
                let id = crate::batch::id(number, place);
                let wanted = files.by_ref().find(|file| {
                    if file.id != id {
                        self.counters.done(file.data());
                    }
                    file.id == id
                });
                let wanted = wanted.context("receiving: the other side wants what is no file")?;
                self.wanted.push(wanted);
            }
            files.for_each(|file| self.counters.done(file.data()));
        }
        self.end_if_answered();
        Ok(())
    }
}

/// Reads the receiver's first frame.
pub fn welcome(from: &mut FrameReader<impl Read>) -> Result<()> {
    let frame = from.read(Vec::new())?;
    match frame.kind {
        Kind::Welcome => Ok(()),
        Kind::Failed => bail!("the receiving side: {}", shown(&frame.unpacked()?)),
        _ => bail!("receiving: the other side is no receiver"),
    }
}

/// Takes a frame that is none of the answers that a sender waits for: the
/// receiver's failure is kept.
///
/// # Errors
/// It is not that either.
pub fn no_answer(frame: Frame, failure: &Failure) -> Result<()> {
    match frame.kind {
        Kind::Failed => {
            let message = shown(&frame.unpacked()?);
            failure.said(anyhow!("the receiving side: {message}"));
            Ok(())
        }
        _ => bail!("receiving: the other side sent what only a sender does"),
    }
}

/// What a sender comes to whose threads have ended: the receiver must have said
/// that it is `done`.
///
/// # Errors
/// The first failure, or the receiver said nothing.
pub fn outcome(failure: &Failure, done: &AtomicBool, counters: &Counters) -> Result<Progress> {
    match failure.take() {
        Some(error) => Err(error),
        None if done.load(Ordering::SeqCst) => Ok(counters.now()),
        None => bail!("the receiving side ended without a word"),
    }
}

/// Appends paths to leave out.
pub fn put_paths(to: &mut Vec<u8>, paths: &[String]) -> Result<()> {
    to.put_u32(paths.len() as u32);
    paths
        .iter()
        .try_for_each(|path| to.put_short(path.as_bytes()))
}

/// Takes them.
pub fn read_paths(from: &mut Cursor) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for _ in 0..from.u32()? {
        let path = std::str::from_utf8(from.short()?).context("receiving: a path to leave out")?;
        paths.push(path.to_owned());
    }
    Ok(paths)
}

/// See [`crate::send`].
pub fn send(
    top: &Path,
    from_receiver: impl Read + Send,
    to_receiver: impl Write + Send,
    options: &SendOptions,
    watch: Watch,
) -> Result<Progress> {
    Exclude::new(&options.exclude)?;
    let dirs = Dirs::open(top)?;
    let counters = Counters::new(watch);
    let packer = Packer::new(options.compression);
    let mut link = Link::new(to_receiver, &packer, &counters);
    link.write(&hello(Wish::Copy, &options.exclude)?)?;
    link.flush()?;
    let mut from = FrameReader::new(from_receiver);
    welcome(&mut from)?;
    let exclude = Exclude::new(&options.exclude)?;
    let walk = Walk::new(&dirs, &exclude)?;
    let (out, wanted) = (Queue::new(WAITING), Queue::new(usize::MAX));
    let sender = Sender {
        dirs: &dirs,
        out: &out,
        wanted: &wanted,
        asked: Mutex::default(),
        walkers: AtomicUsize::new(THREADS),
        readers: AtomicUsize::new(THREADS),
        done: AtomicBool::new(false),
        counters: &counters,
        packer: &packer,
    };
    let end = || {
        out.abandon();
        wanted.abandon();
    };
    let failure = Failure::new(&end);
    std::thread::scope(|scope| {
        scope.spawn(|| failure.watch(sender.listen(from, &failure)));
        scope.spawn(|| {
            failure.watch(walk.start(&|batch| sender.emit(batch)));
            for _ in 0..THREADS {
                scope.spawn(|| failure.watch(sender.walk(&walk)));
                scope.spawn(|| failure.watch(sender.read_contents()));
            }
        });
        link.run(&out, &failure);
        drop(link);
    });
    outcome(&failure, &sender.done, &counters)
}
