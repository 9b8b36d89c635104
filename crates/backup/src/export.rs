//! A disk becomes a stream.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, Result};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use p2v_sys::interrupt;
use p2v_sys::source_disk::SourceDisk;

use crate::ranges::Ranges;
use crate::stream::{self, MOST_DATA, StreamWriter};
use crate::survey::{self, Survey};

/// Zeros are looked for in blocks of this size; shorter runs stay data.
const BLOCK: usize = 16 << 10;

/// How many pieces are read ahead of the writer.
const AHEAD: usize = 4;

/// What an export did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Bytes of data in the stream.
    pub data: u64,
}

/// Streams the disk to `out`, after the expected length of the stream in bytes
/// went to `expected`. It becomes shorter by the zeros within data, which are
/// only found while that is read.
///
/// # Errors
/// The disk cannot be read, `out` takes no more, or `expected` failed.
pub fn export(
    disk: &SourceDisk,
    out: impl Write,
    expected: impl FnOnce(u64) -> Result<()>,
) -> Result<Exported> {
    let survey = survey::survey(disk)?;
    let areas = areas(disk, &survey)?;
    let data: u64 = areas.iter().map(|area| area.data.bytes()).sum();
    let ranges: u64 = areas.iter().map(Area::most_records).sum();
    expected(stream::length(&survey.manifest, ranges, data)?)?;
    let mut writer = StreamWriter::start(out, &survey.manifest)?;
    std::thread::scope(|scope| {
        let (filled, received) = sync_channel(AHEAD);
        let (returned, empty) = sync_channel(AHEAD + 2);
        let areas = &areas;
        scope.spawn(move || read(disk, areas, &filled, &empty));
        write(&mut writer, areas, &received, &returned)
    })?;
    let data = writer.data_bytes();
    writer.finish()?;
    Ok(Exported { data })
}

/// An area's bytes in use: those that may hold data, and the holes.
struct Area {
    number: u32,
    offset: u64,
    data: Ranges,
    holes: Ranges,
}

impl Area {
    fn most_records(&self) -> u64 {
        // A piece that is cut by zeros has more, but less data.
        let pieces = |range: &Range<u64>| (range.end - range.start).div_ceil(MOST_DATA as u64);
        self.data.iter().map(pieces).sum::<u64>() + self.holes.iter().count() as u64
    }
}

fn areas(disk: &SourceDisk, survey: &Survey) -> Result<Vec<Area>> {
    let areas = survey.manifest.areas.iter().zip(&survey.used).enumerate();
    areas
        .map(|(number, (area, used))| {
            let mut data = Ranges::default();
            let mut holes = Ranges::default();
            for range in used.iter() {
                let start = area.offset + range.start;
                let mut at = range.start;
                for found in disk.data(start..area.offset + range.end)? {
                    let found = found.start - area.offset..found.end - area.offset;
                    holes.add(at..found.start);
                    at = found.end;
                    data.add(found);
                }
                holes.add(at..range.end);
            }
            Ok(Area {
                number: u32::try_from(number)?,
                offset: area.offset,
                data,
                holes,
            })
        })
        .collect()
}

/// A piece of an area, on its way from the disk to the stream.
struct Piece {
    area: usize,
    offset: u64,
    bytes: Result<Vec<u8>>,
}

/// Reads all data, piece by piece, until the end or until nobody listens.
fn read(disk: &SourceDisk, areas: &[Area], filled: &SyncSender<Piece>, empty: &Receiver<Vec<u8>>) {
    advise(disk.file());
    for (number, area) in areas.iter().enumerate() {
        for range in area.data.iter() {
            let mut at = range.start;
            while at < range.end {
                let length = (range.end - at).min(MOST_DATA as u64);
                let mut bytes = empty.try_recv().unwrap_or_default();
                bytes.resize(length as usize, 0);
                let piece = Piece {
                    area: number,
                    offset: at,
                    bytes: read_piece(disk, area.offset + at, bytes),
                };
                let failed = piece.bytes.is_err();
                if filled.send(piece).is_err() || failed {
                    return;
                }
                at += length;
            }
        }
    }
}

/// The kernel's own reading ahead is worth more for what is read in order.
fn advise(file: &File) {
    let sequential = PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL;
    if let Err(error) = posix_fadvise(file, 0, 0, sequential) {
        tracing::debug!("advising the kernel of reads: {error}");
    }
}

fn read_piece(disk: &SourceDisk, offset: u64, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    let read = disk.file().read_exact_at(&mut bytes, offset);
    read.with_context(|| format!("reading {} at byte {offset}", disk.path().display()))?;
    Ok(bytes)
}

fn write(
    writer: &mut StreamWriter<impl Write>,
    areas: &[Area],
    received: &Receiver<Piece>,
    returned: &SyncSender<Vec<u8>>,
) -> Result<()> {
    for area in areas {
        for hole in area.holes.iter() {
            writer.zeros(area.number, hole.start, hole.end - hole.start)?;
        }
    }
    for piece in received {
        interrupt::check().context("exporting")?;
        let bytes = piece.bytes?;
        write_piece(writer, areas[piece.area].number, piece.offset, &bytes)?;
        // Full when the reader is done with fewer buffers.
        let _ = returned.try_send(bytes);
    }
    Ok(())
}

/// Writes a piece in runs of data and of zeros.
fn write_piece(
    writer: &mut StreamWriter<impl Write>,
    area: u32,
    offset: u64,
    bytes: &[u8],
) -> Result<()> {
    let mut at = 0;
    for (zeros, length) in runs(bytes) {
        let place = offset + at as u64;
        match zeros {
            true => writer.zeros(area, place, length as u64)?,
            false => writer.data(area, place, &bytes[at..at + length])?,
        }
        at += length;
    }
    Ok(())
}

/// The runs of blocks that are all zeros, or not, with their lengths.
fn runs(bytes: &[u8]) -> Vec<(bool, usize)> {
    let mut runs: Vec<(bool, usize)> = Vec::new();
    for block in bytes.chunks(BLOCK) {
        let zeros = is_zero(block);
        match runs.last_mut() {
            Some((last, length)) if *last == zeros => *length += block.len(),
            _ => runs.push((zeros, block.len())),
        }
    }
    runs
}

/// Most data shows at its first bytes that it is not.
fn is_zero(block: &[u8]) -> bool {
    let zero = |chunk: &[u8]| chunk.iter().fold(0, |all, byte| all | byte) == 0;
    block.chunks(64).all(zero)
}
