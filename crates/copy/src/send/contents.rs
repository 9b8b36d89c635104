//! Reads the contents that the receiver wants: small files together in a
//! frame, large ones in pieces, holes and zeros left out.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail};

use super::Sender;
use crate::batch::FileRef;
use crate::dirs::{Worker, open_to_read};
use crate::frame::{Append, Frame, Kind, USUAL};
use crate::walk::segments;

/// The file is complete.
pub const COMPLETE: u8 = 1;
/// All of it is stored, also what is not sent, since it is zeros.
pub const ALLOCATED: u8 = 2;
/// In place of a file's number, for a frame with several complete files.
pub const SEVERAL: u64 = u64::MAX;

/// Files up to this size are sent whole, several in a frame, if they have no
/// holes.
pub const SMALL: u64 = 128 << 10;
/// Zeros of this length and place are left out, in bytes.
const ZEROS: usize = 64 << 10;

/// Sends what is wanted until nothing more can be.
pub fn send(sender: &Sender) -> Result<()> {
    let mut worker = Worker::new(sender.dirs)?;
    let mut small = Small::new();
    loop {
        let next = match sender.wanted.try_pop() {
            Some(file) => Some(file),
            None => {
                small.send(sender);
                sender.wanted.pop()
            }
        };
        let Some(file) = next else { return Ok(()) };
        let name = OsStr::from_bytes(&file.name);
        let doing = || format!("reading {}", sender.dirs.shown(file.directory, name));
        worker.enter(file.directory)?;
        let open = open_to_read(name).with_context(doing)?;
        if file.size <= SMALL && !has_holes(&file, &open) {
            small.add(sender, &file, &open).with_context(doing)?;
        } else {
            large(sender, &file, &open).with_context(doing)?;
        }
    }
}

/// What is stored tells of many files that they may have some, such as those
/// that a filesystem has packed; only such are looked at.
fn has_holes(file: &FileRef, open: &File) -> bool {
    file.stored < file.size && !segments(open, file.size).eq([(0, file.size)])
}

fn record(to: &mut Vec<u8>, id: u64, flags: u8, offset: u64, length: usize) {
    to.put_u64(id);
    to.put_u8(flags);
    to.put_u64(offset);
    to.put_u32(length as u32);
}

/// Reads exactly so many bytes to the end of `to`.
fn append(to: &mut Vec<u8>, file: &File, offset: u64, length: usize) -> Result<()> {
    let start = to.len();
    to.resize(start + length, 0);
    let mut read = 0;
    while read < length {
        let count = file.read_at(&mut to[start + read..], offset + read as u64)?;
        if count == 0 {
            bail!("it became shorter; is the system that it belongs to running?");
        }
        read += count;
    }
    Ok(())
}

/// A frame of small files that is being filled.
struct Small {
    payload: Vec<u8>,
    contents: u64,
}

impl Small {
    fn new() -> Self {
        Self {
            payload: Vec::new(),
            contents: 0,
        }
    }

    fn add(&mut self, sender: &Sender, file: &FileRef, open: &File) -> Result<()> {
        if self.payload.is_empty() {
            self.payload = sender.packer.rooms.take_empty();
            self.payload.reserve(USUAL + SMALL as usize);
            self.payload.put_u64(SEVERAL);
        }
        let length = file.size as usize;
        record(&mut self.payload, file.id, COMPLETE, 0, length);
        append(&mut self.payload, open, 0, length)?;
        self.contents += file.data();
        if self.payload.len() >= USUAL {
            self.send(sender);
        }
        Ok(())
    }

    fn send(&mut self, sender: &Sender) {
        if !self.payload.is_empty() {
            let payload = std::mem::take(&mut self.payload);
            let frame = Frame::new(Kind::Data, payload);
            sender.packer.push(sender.out, frame);
            sender.counters.sent(self.contents);
            sender.counters.done(std::mem::take(&mut self.contents));
        }
    }
}

fn large(sender: &Sender, file: &FileRef, open: &File) -> Result<()> {
    let allocated = if file.stored >= file.size {
        ALLOCATED
    } else {
        0
    };
    // Stored bytes that are not counted yet.
    let mut left = file.data();
    for (start, end) in segments(open, file.size) {
        let mut at = start;
        while at < end {
            // Pieces begin where zeros are looked for.
            let aligned = (at / USUAL as u64 + 1) * USUAL as u64;
            let length = (aligned.min(end) - at) as usize;
            let mut payload = sender.packer.rooms.take_empty();
            payload.reserve(USUAL + 64);
            payload.put_u64(file.id);
            record(&mut payload, file.id, allocated, at, length);
            append(&mut payload, open, at, length)?;
            let contents = payload.len() - length;
            let has_content = length < ZEROS || !is_zero(&payload[contents..]);
            if has_content {
                let frame = Frame::new(Kind::Data, payload);
                if !sender.packer.push(sender.out, frame) {
                    return Ok(());
                }
                sender.counters.sent(length as u64);
            }
            at += length as u64;
            let counted = left.min(length as u64);
            left -= counted;
            sender.counters.done(counted);
        }
    }
    sender.counters.done(left);
    let mut payload = Vec::new();
    payload.put_u64(file.id);
    record(&mut payload, file.id, COMPLETE | allocated, file.size, 0);
    sender.out.push(Frame::new(Kind::Data, payload));
    Ok(())
}

/// Whether all are zeros.
pub fn is_zero(bytes: &[u8]) -> bool {
    const SOME: [u8; 4096] = [0; 4096];
    bytes.len() >= ZEROS
        && bytes
            .chunks(SOME.len())
            .all(|chunk| *chunk == SOME[..chunk.len()])
}
