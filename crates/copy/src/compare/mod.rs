//! Two trees compared: the sender sends all entries and a digest of each
//! file's contents, the receiver compares both with what it has, and answers
//! with what differs. Each side reads its own disk, at the same time.

mod answer;
mod differences;
mod digest;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

use crate::batch::{Batch, FileRef};
use crate::compress::Packer;
use crate::dirs::{Dirs, Worker, open_to_read};
use crate::exclude::Exclude;
use crate::failure::Failure;
use crate::frame::{Append, Frame, FrameReader, Kind};
use crate::queue::{Queue, lock};
use crate::send::{Counters, Link, THREADS, Wish, hello, no_answer, welcome};
use crate::walk::Walk;
use digest::digest;

use crate::{Compression, Difference, SendOptions, Watch};

pub use answer::answer;
pub use differences::Differences;

/// Files that wait to be read.
const WAITING: usize = 4096;
/// A frame of digests is sent when it is so long, in bytes.
const DIGESTS: usize = 32 << 10;

/// What all threads of the sending side know.
struct Comparer<'a> {
    dirs: &'a Dirs,
    out: &'a Queue<Frame>,
    files: &'a Queue<FileRef>,
    walkers: AtomicUsize,
    readers: AtomicUsize,
    counters: &'a Counters<'a>,
}

impl Comparer<'_> {
    fn emit(&self, batch: Batch) -> bool {
        self.counters.entries(u64::from(batch.count));
        let files = batch.files;
        self.out.push(Frame::new(Kind::Entries, batch.payload))
            && files
                .into_iter()
                .filter(|file| file.size > 0)
                .all(|file| self.files.push(file))
    }

    fn walk(&self, walk: &Walk) -> Result<()> {
        let result = walk.work(&|batch| self.emit(batch), || ());
        if self.walkers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.files.end();
        }
        result
    }

    /// Digests what the walkers found.
    fn read(&self) -> Result<()> {
        let mut worker = Worker::new(self.dirs)?;
        let mut payload = Vec::new();
        while let Some(file) = self.files.pop() {
            let name = OsStr::from_bytes(&file.name);
            let doing = || format!("reading {}", self.dirs.shown(file.directory, name));
            worker.enter(file.directory)?;
            let open = open_to_read(name).with_context(doing)?;
            let digest = digest(&open, file.size).with_context(doing)?;
            self.counters.done(file.data());
            payload.put_u64(file.id);
            payload.extend_from_slice(&digest);
            if payload.len() >= DIGESTS || self.files.len() == 0 {
                let frame = Frame::new(Kind::Digests, std::mem::take(&mut payload));
                self.out.push(frame);
            }
        }
        if !payload.is_empty() {
            self.out.push(Frame::new(Kind::Digests, payload));
        }
        if self.readers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.out.push(Frame::new(Kind::End, Vec::new()));
            self.out.end();
        }
        Ok(())
    }
}

/// Reads what differs, the receiver's only answer.
pub fn listen(mut from: FrameReader<impl Read>, failure: &Failure) -> Result<Vec<Difference>> {
    let frame = from.read(Vec::new())?;
    match frame.kind {
        Kind::Done => serde_json::from_slice(&frame.unpacked()?).context("receiving: what differs"),
        _ => no_answer(frame, failure).map(|()| Vec::new()),
    }
}

/// See [`crate::compare`].
pub fn compare(
    top: &Path,
    from_receiver: impl Read + Send,
    to_receiver: impl Write + Send,
    options: &SendOptions,
    watch: Watch,
) -> Result<Vec<Difference>> {
    let dirs = Dirs::open(top)?;
    let counters = Counters::new(watch);
    let packer = Packer::new(Compression::Never);
    let mut link = Link::new(to_receiver, &packer, &counters);
    link.write(&hello(Wish::Compare, &options.exclude)?)?;
    link.flush()?;
    let mut from = FrameReader::new(from_receiver);
    welcome(&mut from)?;
    let exclude = Exclude::new(&options.exclude)?;
    let walk = Walk::new(&dirs, &exclude)?;
    let (out, files) = (Queue::new(64), Queue::new(WAITING));
    let comparer = Comparer {
        dirs: &dirs,
        out: &out,
        files: &files,
        walkers: AtomicUsize::new(THREADS),
        readers: AtomicUsize::new(THREADS),
        counters: &counters,
    };
    let end = || {
        out.abandon();
        files.abandon();
    };
    let failure = Failure::new(&end);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let listen = || listen(from, &failure).map(|differences| *lock(&found) = differences);
        scope.spawn(|| failure.watch(listen()));
        scope.spawn(|| {
            failure.watch(walk.start(&|batch| comparer.emit(batch)));
            for _ in 0..THREADS {
                scope.spawn(|| failure.watch(comparer.walk(&walk)));
                scope.spawn(|| failure.watch(comparer.read()));
            }
        });
        link.run(&out, &failure);
        drop(link);
    });
    match failure.take() {
        Some(error) => Err(error),
        None => Ok(std::mem::take(&mut *lock(&found))),
    }
}
