//! Writes contents that come over the link, by several threads; those of one
//! file by one of them, in their order.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FallocateFlags, OFlag, fallocate, openat};
use nix::sys::stat::Mode;
use p2v_sys::inode;

use super::THREADS;
use super::metadata::{self, repair};
use super::state::{Pending, Receiver};
use crate::dirs::Worker;
use crate::entry::{Metadata, What};
use crate::flags;
use crate::frame::{Cursor, Frame, Unpacker};
use crate::queue::{Queue, lock};
use crate::send::contents::{ALLOCATED, COMPLETE, SEVERAL};
use crate::walk::segments;

/// Frames that wait for a thread.
const WAITING: usize = 16;
/// A file of this size gets its time only when its contents are on the disk:
/// after a power cut its size alone does not tell whether they are.
const LARGE: u64 = 4 << 20;
/// After so many bytes of one file the disk begins to write them, in parallel
/// with the link; else all of a large file would wait for its end.
const WRITE_OUT: u64 = 8 << 20;

/// The queues of the threads that write.
pub struct Writers {
    queues: [Queue<Frame>; THREADS],
    next: AtomicUsize,
}

impl Writers {
    /// Empty ones.
    pub fn new() -> Self {
        Self {
            queues: std::array::from_fn(|_| Queue::new(WAITING)),
            next: AtomicUsize::new(0),
        }
    }

    /// One for each thread.
    pub fn queues(&self) -> [&Queue<Frame>; THREADS] {
        self.queues.each_ref()
    }

    /// Gives a frame to the thread that has its file. False if all has ended.
    pub fn take(&self, frame: Frame) -> Result<bool> {
        let file = Cursor(&frame.payload).u64()?;
        let thread = match file {
            SEVERAL => self.next.fetch_add(1, Ordering::Relaxed),
            file => file as usize,
        };
        Ok(self.queues[thread % THREADS].push(frame))
    }

    /// No more come.
    pub fn end(&self) {
        self.queues.iter().for_each(Queue::end);
    }

    /// What has not been written is not to be.
    pub fn abandon(&self) {
        self.queues.iter().for_each(Queue::abandon);
    }
}

/// A file that is being written.
struct Open {
    file: File,
    pending: Pending,
    size: u64,
    /// Where the last piece ended.
    end: u64,
    /// Bytes that came.
    covered: u64,
    /// Up to here the disk has been asked to write.
    written_out: u64,
}

/// Writes what comes until the queue ends.
pub fn work(receiver: &Receiver, queue: &Queue<Frame>) -> Result<()> {
    let mut worker = Worker::new(receiver.dirs)?;
    let mut open = HashMap::new();
    let mut unpacker = Unpacker::new(&receiver.rooms)?;
    while let Some(frame) = queue.pop() {
        let payload = unpacker.unpacked(frame)?;
        let mut from = Cursor(&payload);
        from.u64()?;
        while !from.is_empty() {
            let id = from.u64()?;
            let (flags, offset) = (from.u8()?, from.u64()?);
            let bytes = from.long()?;
            let mut file = match open.remove(&id) {
                Some(file) => file,
                None => begin(receiver, &mut worker, id)?,
            };
            let result = piece(receiver, &mut worker, &mut file, (flags, offset, bytes));
            result.with_context(|| {
                let (directory, name) = (file.pending.directory, file.pending.entry.name());
                format!("writing {}", receiver.dirs.shown(directory, name))
            })?;
            if flags & COMPLETE == 0 {
                open.insert(id, file);
            }
        }
        receiver.rooms.give(payload);
    }
    Ok(())
}

fn begin(receiver: &Receiver, worker: &mut Worker, id: u64) -> Result<Open> {
    let pending = lock(&receiver.pending)
        .remove(&id)
        .context("receiving: contents that nobody asked for")?;
    let What::File { size, .. } = pending.entry.what else {
        bail!("receiving: contents of what is no file");
    };
    worker.enter(pending.directory)?;
    let name = pending.entry.name();
    let file = create(name, &pending.entry.metadata, pending.inherits)
        .with_context(|| format!("making {}", receiver.dirs.shown(pending.directory, name)))?;
    Ok(Open {
        file,
        pending,
        size,
        end: 0,
        covered: 0,
        written_out: 0,
    })
}

/// Makes an empty file in the working directory.
pub fn create(name: &OsStr, metadata: &Metadata, inherits: bool) -> Result<File> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(metadata.mode & 0o777);
    let file = File::from(openat(AT_FDCWD, name, flags, mode).context("creating it")?);
    if inherits || metadata.flags & flags::HIDDEN != 0 {
        // Only an empty file takes them, and not on every filesystem.
        let _ = flags::set(&file, metadata.flags, flags::HIDDEN);
    }
    Ok(file)
}

/// Gives a file in the working directory, whose contents are complete, all
/// but its time.
pub fn complete(file: &File, name: &OsStr, metadata: &Metadata, inherits: bool) -> Result<()> {
    metadata::of_new_file(file, metadata)?;
    if inherits || metadata.flags & flags::NO_DUMP != 0 {
        let found = inode::examine_open(file).context("examining it")?;
        repair(name, &found, metadata)?;
    }
    Ok(())
}

fn piece(
    receiver: &Receiver,
    worker: &mut Worker,
    open: &mut Open,
    (flags, offset, bytes): (u8, u64, &[u8]),
) -> Result<()> {
    let end = offset.checked_add(bytes.len() as u64);
    let Some(end) = end.filter(|&end| offset >= open.end && end <= open.size) else {
        bail!("receiving: contents at a wrong place");
    };
    open.file.write_all_at(bytes, offset)?;
    open.end = end;
    open.covered += bytes.len() as u64;
    receiver
        .bytes
        .fetch_add(bytes.len() as u64, Ordering::Relaxed);
    if open.end - open.written_out >= WRITE_OUT {
        // Not every filesystem can, and nothing depends on it.
        let _ = inode::begin_write_out(&open.file, open.written_out..open.end);
        open.written_out = open.end;
    }
    if flags & COMPLETE == 0 {
        return Ok(());
    }
    let has_gaps = open.covered < open.size;
    if has_gaps {
        fill(&open.file, open.size, flags & ALLOCATED != 0)?;
    }
    let entry = &open.pending.entry;
    worker.enter(open.pending.directory)?;
    if has_gaps || open.size >= LARGE {
        open.file.sync_data().context("waiting for the disk")?;
    }
    complete(
        &open.file,
        entry.name(),
        &entry.metadata,
        open.pending.inherits,
    )?;
    metadata::time_of_open(&open.file, &entry.metadata)?;
    if entry.metadata.flags & flags::LOCKS != 0 {
        let lock_later = (
            open.pending.directory,
            entry.name.clone(),
            entry.metadata.flags,
        );
        lock(&receiver.locks).push(lock_later);
    }
    Ok(())
}

/// What did not come is zeros: holes, or stored if it was so at the sender's,
/// since a swap file may have no holes.
fn fill(file: &File, size: u64, allocated: bool) -> Result<()> {
    file.set_len(size).context("setting its size")?;
    if allocated {
        let all = i64::try_from(size).context("an impossible size")?;
        match fallocate(file, FallocateFlags::empty(), 0, all) {
            // ext2 and ext3 cannot.
            Err(Errno::EOPNOTSUPP) => store_zeros(file, size)?,
            other => other.context("setting space aside for it")?,
        }
    }
    Ok(())
}

/// Writes zeros into what is not stored.
fn store_zeros(file: &File, size: u64) -> Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut at = 0;
    let data: Vec<(u64, u64)> = segments(file, size).collect();
    for (start, end) in data.into_iter().chain([(size, size)]) {
        while at < start {
            let length = (start - at).min(zeros.len() as u64);
            file.write_all_at(&zeros[..length as usize], at)?;
            at += length;
        }
        at = end;
    }
    Ok(())
}
