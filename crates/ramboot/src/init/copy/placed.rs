//! Copies data straight from the device, in large reads in the disk's order.
//!
//! The filesystem says where each file's data lies; many small files are then
//! one read, which goes past the page cache. Under emulation this takes half
//! of the processor time of reading file by file, and the memory that the
//! cache would take stays free. It is sound because nothing changes the
//! filesystem meanwhile: it and its device are read-only.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use nix::libc;
use p2v_sys::extents;

use super::Copier;
use super::attributes::Extended;
use crate::init::parallel::{self, Load};
use crate::init::tree::Entry;

/// How much is read at once, in bytes.
const WINDOW: u64 = 2 << 20;

/// What lies between two wanted pieces is read too if it is no longer than
/// this, in bytes: one long read is faster than two short ones.
const GAP: u64 = 64 << 10;

/// What memory and length of direct reads are multiples of: the largest
/// sector size there is.
const ALIGNMENT: usize = 4096;

/// How many files a thread takes at once when asking for their places.
const AT_ONCE: usize = 64;

/// Copies all of `files` that it can, and returns the others.
pub fn copy<'a>(copier: &Copier, device: &Path, files: Vec<&'a Entry>) -> Result<Vec<&'a Entry>> {
    let Ok(device) = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(device)
    else {
        return Ok(files);
    };
    let (found, others) = locate(copier, &files)?;
    for file in found.iter().filter(|file| file.pieces.is_empty()) {
        copier
            .make(file.entry)
            .and_then(|target| complete(copier, file, &target))
            .with_context(|| copier.doing(file.entry))?;
    }
    let pieces = pieces(&found);
    let windows = windows(&pieces);
    let work = |buffer: &mut Buffer, run: &[&[Piece]]| {
        for window in run {
            buffer.fill(&device, window)?;
            for piece in *window {
                let file = &found[piece.file];
                put(copier, file, piece, buffer).with_context(|| copier.doing(file.entry))?;
            }
        }
        Ok(())
    };
    parallel::each(Load::Processor, &windows, 1, Buffer::new, work)?;
    Ok(others)
}

/// Copies one piece of a file; the last one of them completes the file.
fn put(copier: &Copier, file: &Placed, piece: &Piece, buffer: &Buffer) -> Result<()> {
    let entry = file.entry;
    let target = copier.make(entry)?;
    // The device's last block is longer than the rest of the file.
    let most = entry.size() - piece.offset;
    let data = buffer.part(piece.place, piece.length.min(most));
    target
        .write_all_at(data, piece.offset)
        .context("writing into RAM")?;
    if file.left.fetch_sub(1, Ordering::AcqRel) == 1 {
        complete(copier, file, &target)?;
    }
    Ok(())
}

fn complete(copier: &Copier, file: &Placed, target: &File) -> Result<()> {
    let size = file.entry.size();
    if file.stored() < size {
        // It may end in a hole.
        target.set_len(size).context("setting the size")?;
    }
    copier.finish(target, file.entry, &file.extended)
}

/// A file whose data's places are known.
struct Placed<'a> {
    entry: &'a Entry,
    extended: Extended,
    pieces: Vec<extents::Piece>,
    /// How many reads are still to bring some of it.
    left: AtomicUsize,
}

impl Placed<'_> {
    /// How many of its bytes are on the device.
    fn stored(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.length).sum()
    }
}

/// A part of a file, in one window; all in bytes.
struct Piece {
    /// The file's place in the list.
    file: usize,
    /// Where it is in the file.
    offset: u64,
    /// Where it is on the device.
    place: u64,
    /// How much of the device it takes.
    length: u64,
}

impl Piece {
    fn end(&self) -> u64 {
        self.place + self.length
    }
}

/// Asks for the places of all files' data. Those without any are copied at
/// once; those whose places are not known are returned.
fn locate<'a>(copier: &Copier, files: &[&'a Entry]) -> Result<(Vec<Placed<'a>>, Vec<&'a Entry>)> {
    type Both<'a> = (Vec<Placed<'a>>, Vec<&'a Entry>);
    let work = |(found, others): &mut Both<'a>, run: &[&'a Entry]| {
        for entry in run {
            match locate_one(copier, entry).with_context(|| copier.doing(entry))? {
                Some(placed) => found.push(placed),
                None => others.push(entry),
            }
        }
        Ok(())
    };
    let parts = parallel::each(Load::Disk, files, AT_ONCE, Both::default, work)?;
    let (mut found, mut others) = Both::default();
    for part in parts {
        found.extend(part.0);
        others.extend(part.1);
    }
    Ok((found, others))
}

fn locate_one<'a>(copier: &Copier, entry: &'a Entry) -> Result<Option<Placed<'a>>> {
    let source = copier.open(entry)?;
    // An error only means that this filesystem cannot tell.
    let Some(mut pieces) = extents::of(&source).ok().flatten() else {
        return Ok(None);
    };
    // Space may be set aside past the end.
    pieces.retain(|piece| piece.offset < entry.size());
    let aligned = |n: u64| n % 512 == 0;
    if !pieces.iter().all(|p| aligned(p.place) && aligned(p.length)) {
        return Ok(None);
    }
    Ok(Some(Placed {
        entry,
        extended: Extended::of_open(&source)?,
        pieces,
        left: AtomicUsize::new(0),
    }))
}

/// What is to be read of all files, in the device's order, nothing longer than
/// a window.
fn pieces(found: &[Placed]) -> Vec<Piece> {
    let mut all = Vec::with_capacity(found.len());
    for (place, file) in found.iter().enumerate() {
        let before = all.len();
        for piece in &file.pieces {
            let blocks = (file.entry.size() - piece.offset).next_multiple_of(ALIGNMENT as u64);
            let length = piece.length.min(blocks);
            all.extend((0..length).step_by(WINDOW as usize).map(|done| Piece {
                file: place,
                offset: piece.offset + done,
                place: piece.place + done,
                length: (length - done).min(WINDOW),
            }));
        }
        file.left.store(all.len() - before, Ordering::Relaxed);
    }
    all.sort_unstable_by_key(|piece| piece.place);
    all
}

/// Cuts the ordered pieces into runs that are read at once.
fn windows(pieces: &[Piece]) -> Vec<&[Piece]> {
    let mut windows = Vec::new();
    let mut first = 0;
    let mut end = 0;
    for (next, piece) in pieces.iter().enumerate() {
        let fits = piece.end() <= pieces[first].place + WINDOW && piece.place <= end + GAP;
        if next > first && !fits {
            windows.push(&pieces[first..next]);
            first = next;
            end = 0;
        }
        end = piece.end().max(end);
    }
    windows.extend((first < pieces.len()).then(|| &pieces[first..]));
    windows
}

/// A thread's memory for one window.
struct Buffer {
    memory: Vec<u8>,
    /// Where in the memory the window starts: at a huge page, since then the
    /// device gets one address instead of 512.
    start: usize,
    /// Where on the device the window starts.
    place: u64,
}

impl Buffer {
    fn new() -> Self {
        let memory = vec![0; 2 * WINDOW as usize];
        let start = memory.as_ptr().align_offset(WINDOW as usize);
        Self {
            memory,
            start,
            place: 0,
        }
    }

    fn fill(&mut self, device: &File, window: &[Piece]) -> Result<()> {
        self.place = window.first().map_or(0, |piece| piece.place);
        let end = window.iter().map(Piece::end).max().unwrap_or(self.place);
        let length = (end - self.place) as usize;
        let memory = &mut self.memory[self.start..self.start + length];
        device
            .read_exact_at(memory, self.place)
            .with_context(|| format!("reading {length} bytes of the disk at {}", self.place))
    }

    /// The bytes from `place` on the device.
    fn part(&self, place: u64, length: u64) -> &[u8] {
        let start = self.start + (place - self.place) as usize;
        &self.memory[start..start + length as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(place: u64, length: u64) -> Piece {
        Piece {
            file: 0,
            offset: 0,
            place,
            length,
        }
    }

    #[test]
    fn neighbours_are_read_at_once() {
        /// Places and lengths, and how many pieces each window then has.
        type Case = (&'static [(u64, u64)], &'static [usize]);
        let table: [Case; 6] = [
            (&[], &[]),
            (&[(0, 4096)], &[1]),
            (&[(0, 4096), (4096, 8192), (12288 + GAP, 4096)], &[3]),
            (&[(0, 4096), (4097 + GAP, 4096)], &[1, 1]),
            (&[(0, WINDOW - 4096), (WINDOW - 4096, 8192)], &[1, 1]),
            // Two files may share data.
            (&[(0, 1 << 20), (0, 4096), (1 << 20, 4096)], &[3]),
        ];
        for (places, expected) in table {
            let pieces: Vec<Piece> = places.iter().map(|&(p, l)| piece(p, l)).collect();
            let lengths: Vec<usize> = windows(&pieces).iter().map(|w| w.len()).collect();
            assert_eq!(lengths, expected, "{places:?}");
        }
    }
}
