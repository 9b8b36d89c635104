//! The side that writes: makes its tree equal to the sender's.
//!
//! Threads: some compare entries with what is there and make all but contents,
//! some write contents, one answers; the calling thread reads the link. A
//! file's time is set last, so that one that is not complete differs.

mod contents;
mod finish;
pub mod metadata;
mod place;
mod remove;
pub mod state;

use std::io::{Read, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::{Result, anyhow, bail};
use nix::errno::Errno;

use crate::Progress;
use crate::dirs::Dirs;
use crate::entry::shown;
use crate::exclude::Exclude;
use crate::failure::Failure;
use crate::frame::{self, Cursor, Frame, FrameReader, FrameWriter, Kind};
use crate::queue::Queue;
use crate::send::{Wish, read_paths};
use state::Receiver;

/// Threads that compare, and as many that write contents.
const THREADS: usize = 2;

/// Reads the sender's first frame, which must want `wish`: what was prepared
/// for one thing shall not do another. Returns what is left out.
pub fn read_hello(from: &mut FrameReader<impl Read>, wish: Wish) -> Result<Vec<String>> {
    let frame = from.read(Vec::new())?;
    if frame.kind == Kind::Failed {
        bail!("the sending side: {}", shown(&frame.unpacked()?));
    }
    if frame.kind != Kind::Hello {
        bail!("receiving: the other side is no sender");
    }
    let payload = frame.unpacked()?;
    let mut from = Cursor(&payload);
    let version = from.u32()?;
    if version != frame::VERSION {
        bail!(
            "the other side copies by version {version}, this one by {}: use the same p2v on both",
            frame::VERSION
        );
    }
    let theirs = from.u8()?;
    if theirs != wish as u8 {
        bail!("the other side wants something else (kind {theirs}) than {wish}");
    }
    read_paths(&mut from)
}

/// See [`crate::receive_doubting`].
pub fn receive(
    top: &Path,
    doubt: Option<Range<i64>>,
    from_sender: impl Read + Send,
    to_sender: impl Write + Send,
) -> Result<Progress> {
    let mut from = FrameReader::new(from_sender);
    let mut to = FrameWriter::new(to_sender);
    let (dirs, exclude) = welcome(top, Wish::Copy, &mut from, &mut to)?;
    let receiver = Receiver::new(&dirs, &exclude, doubt)?;
    run(&receiver, &mut from, &mut to)
}

/// Takes the sender's first frame and answers it: that the tree at `top` is
/// there, or why nothing comes of it.
pub fn welcome(
    top: &Path,
    wish: Wish,
    from: &mut FrameReader<impl Read>,
    to: &mut FrameWriter<impl Write>,
) -> Result<(Dirs, Exclude)> {
    let opened = read_hello(from, wish)
        .and_then(|exclude| Ok((Dirs::open(top)?, Exclude::new(&exclude)?)))
        .and_then(|opened| say_welcome(to).map(|()| opened));
    opened.map_err(|error| refuse(to, error))
}

/// The receiver's first frame.
pub fn say_welcome(to: &mut FrameWriter<impl Write>) -> Result<()> {
    to.write(&Frame::new(Kind::Welcome, Vec::new()))?;
    to.flush()
}

/// Tells the sender why nothing comes of it.
pub fn refuse(to: &mut FrameWriter<impl Write>, error: anyhow::Error) -> anyhow::Error {
    // The link may be what has failed.
    let _ = to.write(&Frame::failed(&format!("{error:#}")));
    let _ = to.flush();
    error
}

fn run(
    receiver: &Receiver,
    from: &mut FrameReader<impl Read + Send>,
    to: &mut FrameWriter<impl Write + Send>,
) -> Result<Progress> {
    let answers = Queue::new(usize::MAX);
    let writers = contents::Writers::new();
    let end = || {
        receiver.abandon();
        answers.end();
        writers.abandon();
    };
    let failure = Failure::new(&end);
    std::thread::scope(|scope| {
        let answerer = scope.spawn(|| answer(to, &answers, &failure));
        let comparers = [(); THREADS]
            .map(|()| scope.spawn(|| failure.watch(explain(place::work(receiver, &answers)))));
        let writing = writers
            .queues()
            .map(|queue| scope.spawn(|| failure.watch(explain(contents::work(receiver, queue)))));
        failure.watch(read_all(from, receiver, &writers));
        receiver.end();
        comparers.into_iter().for_each(join);
        writers.end();
        writing.into_iter().for_each(join);
        if failure.message().is_none() {
            let finishing = scope.spawn(|| failure.watch(explain(finish::finish(receiver))));
            join(finishing);
        }
        answers.end();
        join(answerer);
    });
    match failure.take() {
        Some(error) => Err(error),
        None => Ok(Progress {
            entries: receiver.entries.load(Ordering::Relaxed),
            bytes_done: receiver.bytes.load(Ordering::Relaxed),
            bytes_sent: receiver.bytes.load(Ordering::Relaxed),
            bytes_wire: receiver.wire.load(Ordering::Relaxed),
        }),
    }
}

/// Says what to do where there is something to be done.
fn explain(result: Result<()>) -> Result<()> {
    result.map_err(|error| {
        let is_full = error.chain().any(|cause| {
            let number = cause
                .downcast_ref::<std::io::Error>()
                .and_then(std::io::Error::raw_os_error)
                .or_else(|| cause.downcast_ref::<Errno>().map(|errno| *errno as i32));
            number.is_some_and(|n| n == Errno::ENOSPC as i32 || n == Errno::EDQUOT as i32)
        });
        if is_full {
            error.context("the target volume is full: make it larger, or leave something out")
        } else {
            error
        }
    })
}

/// A thread that has panicked says so itself.
fn join(thread: std::thread::ScopedJoinHandle<()>) {
    let _ = thread.join();
}

/// Writes answers until the queue ends, then how it ended.
pub fn answer(to: &mut FrameWriter<impl Write>, answers: &Queue<Frame>, failure: &Failure) {
    let mut write = |frame: &Frame, is_last| {
        to.write(frame)?;
        if is_last { to.flush() } else { Ok(()) }
    };
    while let Some(frame) = answers.pop() {
        failure.watch(write(&frame, answers.len() == 0));
    }
    let last = match failure.message() {
        None => Frame::new(Kind::Done, Vec::new()),
        Some(message) => Frame::failed(&message),
    };
    failure.watch(write(&last, true));
}

/// Reads the link until the sender says that this was all.
fn read_all(
    from: &mut FrameReader<impl Read>,
    receiver: &Receiver,
    writers: &contents::Writers,
) -> Result<()> {
    loop {
        let frame = from.read(receiver.rooms.take())?;
        receiver.wire.fetch_add(frame.wire(), Ordering::Relaxed);
        let taken = match frame.kind {
            Kind::Entries => receiver.take_batch(frame.unpacked()?)?,
            Kind::Data => writers.take(frame)?,
            Kind::End => return Ok(()),
            Kind::Failed => {
                return Err(anyhow!("the sending side: {}", shown(&frame.unpacked()?)));
            }
            _ => bail!("receiving: the other side sent what only a receiver does"),
        };
        if !taken {
            return Ok(());
        }
    }
}
