//! The side whose device is written, or compared.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, anyhow, bail};

use super::{RANGES, pieces, read_ranges};
use crate::Progress;
use crate::entry::shown;
use crate::failure::Failure;
use crate::frame::{Cursor, Frame, FrameReader, FrameWriter, Kind};
use crate::queue::Queue;
use crate::receive::{self, read_hello, refuse, say_welcome};
use crate::send::Wish;

/// Digests in a frame.
const DIGESTS: usize = 64;

/// See [`crate::receive_blocks`].
pub fn receive(
    device: &File,
    size: u64,
    from: impl Read + Send,
    to: impl Write + Send,
) -> Result<Progress> {
    serve((device, size), Wish::Blocks, from, to)
}

/// See [`crate::answer_blocks`].
pub fn answer(
    device: &File,
    size: u64,
    from: impl Read + Send,
    to: impl Write + Send,
) -> Result<()> {
    serve((device, size), Wish::CompareBlocks, from, to).map(drop)
}

fn serve(
    (device, size): (&File, u64),
    wish: Wish,
    from: impl Read + Send,
    to: impl Write + Send,
) -> Result<Progress> {
    let mut from = FrameReader::new(from);
    let mut to = FrameWriter::new(to);
    let writes = wish == Wish::Blocks;
    let begun = read_hello(&mut from, wish).and_then(|_| say_welcome(&mut to));
    if let Err(error) = begun {
        return Err(refuse(&mut to, error));
    }
    let (ranges, answers) = (Queue::new(usize::MAX), Queue::new(64));
    let end = || {
        ranges.abandon();
        answers.end();
    };
    let failure = Failure::new(&end);
    let mut progress = Progress::default();
    std::thread::scope(|scope| {
        let answerer = scope.spawn(|| receive::answer(&mut to, &answers, &failure));
        let digester = scope.spawn(|| failure.watch(digest(device, &ranges, &answers)));
        let device = Device {
            file: device,
            size,
            writes,
        };
        failure.watch(device.read_all(&mut from, &ranges, &mut progress));
        ranges.end();
        let _ = digester.join();
        if writes && failure.message().is_none() {
            failure.watch(device.file.sync_all().context("waiting for the disk"));
        }
        answers.end();
        let _ = answerer.join();
    });
    failure.take().map_or(Ok(progress), Err)
}

/// Digests what is there, in the order of the ranges.
fn digest(file: &File, ranges: &Queue<Vec<Range<u64>>>, answers: &Queue<Frame>) -> Result<()> {
    let (mut bytes, mut payload) = (Vec::new(), Vec::new());
    while let Some(some) = ranges.pop() {
        for piece in pieces(&some) {
            bytes.resize((piece.end - piece.start) as usize, 0);
            file.read_exact_at(&mut bytes, piece.start)
                .with_context(|| format!("reading the volume at byte {}", piece.start))?;
            payload.extend_from_slice(blake3::hash(&bytes).as_bytes());
            if payload.len() >= DIGESTS * 32 {
                let frame = Frame::new(Kind::Digests, std::mem::take(&mut payload));
                if !answers.push(frame) {
                    return Ok(());
                }
            }
        }
    }
    answers.push(Frame::new(Kind::Digests, payload));
    Ok(())
}

struct Device<'a> {
    file: &'a File,
    size: u64,
    writes: bool,
}

impl Device<'_> {
    fn read_all(
        &self,
        from: &mut FrameReader<impl Read>,
        ranges: &Queue<Vec<Range<u64>>>,
        progress: &mut Progress,
    ) -> Result<()> {
        let mut last = 0;
        loop {
            let frame = from.read(Vec::new())?;
            progress.bytes_wire += frame.wire();
            match frame.kind {
                Kind::Entries => {
                    let some = read_ranges(&frame.unpacked()?, self.size)?;
                    for range in &some {
                        if range.start < last {
                            bail!("receiving: ranges of bytes that overlap");
                        }
                        last = range.end;
                    }
                    let is_last = some.len() < RANGES;
                    ranges.push(some);
                    if is_last {
                        // What is left is digested while the answers go out.
                        ranges.end();
                    }
                }
                Kind::Data if self.writes => {
                    let written = self.write(&frame.unpacked()?)?;
                    progress.bytes_sent += written;
                    progress.bytes_done += written;
                }
                Kind::End => return Ok(()),
                Kind::Failed => {
                    return Err(anyhow!("the sending side: {}", shown(&frame.unpacked()?)));
                }
                _ => bail!("receiving: the other side sent what only a receiver does"),
            }
        }
    }

    fn write(&self, payload: &[u8]) -> Result<u64> {
        let mut from = Cursor(payload);
        let offset = from.u64()?;
        let length = u64::from(from.u32()?);
        let bytes = from.long()?;
        let fits = offset
            .checked_add(length)
            .is_some_and(|end| end <= self.size);
        if !fits || !bytes.is_empty() && bytes.len() as u64 != length || length > super::PIECE {
            bail!("receiving: bytes for a wrong place");
        }
        let doing = || format!("writing the volume at byte {offset}");
        if bytes.is_empty() {
            let zeros = vec![0; length as usize];
            self.file.write_all_at(&zeros, offset).with_context(doing)?;
        } else {
            self.file.write_all_at(bytes, offset).with_context(doing)?;
        }
        Ok(length)
    }
}
