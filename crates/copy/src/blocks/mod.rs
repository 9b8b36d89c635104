//! The used bytes of a disk or of a part of one. The receiver digests what it
//! has, the sender sends what differs. What is not used is left as it is.
//!
//! The sender says its ranges in [`Kind::Entries`], 16 bytes each, the last
//! frame being shorter than [`RANGES`]. The receiver answers with a digest of each
//! piece of them, in their order.

mod answer;

use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::compress::Packer;
use crate::failure::Failure;
use crate::frame::{Append, Cursor, Frame, FrameReader, Kind};
use crate::queue::Queue;
use crate::send::{Counters, Link, Wish, hello, is_zero, no_answer, outcome, welcome};
use crate::{Compression, Difference, Progress, Watch};

pub use answer::{answer, receive};

/// What is digested, and sent if it differs, in bytes; each begins at a
/// multiple of it or where its range does.
const PIECE: u64 = 256 << 10;
/// Ranges in a frame that is not the last.
const RANGES: usize = 1 << 16;
/// So many digests wait for the sender.
const AHEAD: usize = 1 << 16;
/// So many frames wait for the link.
const WAITING: usize = 16;

type Digest = [u8; 32];

/// The pieces of ranges.
fn pieces(used: &[Range<u64>]) -> impl Iterator<Item = Range<u64>> {
    used.iter().flat_map(|range| {
        let mut at = range.start;
        std::iter::from_fn(move || {
            let piece = at..range.end.min((at / PIECE + 1) * PIECE);
            at = piece.end;
            (piece.start < piece.end).then_some(piece)
        })
    })
}

/// What is done with pieces that differ.
enum Then<'a> {
    Send,
    Note(&'a mut Vec<Range<u64>>),
}

struct Sender<'a> {
    disk: &'a File,
    start: u64,
    out: &'a Queue<Frame>,
    theirs: &'a Queue<Digest>,
    done: AtomicBool,
    counters: &'a Counters<'a>,
    packer: &'a Packer,
}

impl Sender<'_> {
    fn listen(&self, mut from: FrameReader<impl Read>, failure: &Failure) -> Result<()> {
        loop {
            let frame = from.read(Vec::new())?;
            match frame.kind {
                Kind::Digests => {
                    for digest in frame.unpacked()?.chunks(size_of::<Digest>()) {
                        let digest = digest.try_into().context("receiving: half a digest")?;
                        self.theirs.push(digest);
                    }
                }
                Kind::Done => {
                    self.done.store(true, Ordering::SeqCst);
                    return Ok(());
                }
                _ => return no_answer(frame, failure),
            }
        }
    }

    fn announce(&self, used: &[Range<u64>]) -> Result<()> {
        let mut frames: Vec<&[Range<u64>]> = used.chunks(RANGES).collect();
        if used.len() % RANGES == 0 {
            frames.push(&[]);
        }
        for ranges in frames {
            let mut payload = Vec::with_capacity(ranges.len() * 16);
            for range in ranges {
                payload.put_u64(range.start);
                payload.put_u64(range.end);
            }
            self.out.push(Frame::new(Kind::Entries, payload));
        }
        Ok(())
    }

    fn work(&self, used: &[Range<u64>], mut then: Then) -> Result<()> {
        self.announce(used)?;
        let mut bytes = Vec::new();
        for piece in pieces(used) {
            bytes.resize((piece.end - piece.start) as usize, 0);
            let place = self.start + piece.start;
            self.disk
                .read_exact_at(&mut bytes, place)
                .with_context(|| format!("reading the disk at byte {place}"))?;
            let ours = *blake3::hash(&bytes).as_bytes();
            // None: something has failed.
            let Some(theirs) = self.theirs.pop() else {
                return Ok(());
            };
            if ours != theirs {
                match &mut then {
                    Then::Send => self.send(piece.start, &bytes)?,
                    Then::Note(places) => note(places, piece),
                }
            }
            self.counters.done(bytes.len() as u64);
        }
        self.out.push(Frame::new(Kind::End, Vec::new()));
        self.out.end();
        Ok(())
    }

    fn send(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut payload = self.packer.rooms.take_empty();
        payload.put_u64(offset);
        payload.put_u32(bytes.len() as u32);
        payload.put_long(if is_zero(bytes) { &[] } else { bytes })?;
        self.counters.sent(bytes.len() as u64);
        let frame = Frame::new(Kind::Data, payload);
        self.packer.push(self.out, frame);
        Ok(())
    }
}

fn note(places: &mut Vec<Range<u64>>, piece: Range<u64>) {
    match places.last_mut() {
        Some(last) if last.end == piece.start => last.end = piece.end,
        _ => places.push(piece),
    }
}

/// See [`crate::send_blocks`].
pub fn send(
    (disk, start): (&File, u64),
    used: &[Range<u64>],
    from: impl Read + Send,
    to: impl Write + Send,
    watch: Watch,
) -> Result<Progress> {
    run(
        (disk, start),
        used,
        (from, to),
        watch,
        Wish::Blocks,
        Then::Send,
    )
}

/// See [`crate::compare_blocks`].
pub fn compare(
    (disk, start): (&File, u64),
    used: &[Range<u64>],
    from: impl Read + Send,
    to: impl Write + Send,
    watch: Watch,
) -> Result<Vec<Difference>> {
    let mut places = Vec::new();
    let then = Then::Note(&mut places);
    run(
        (disk, start),
        used,
        (from, to),
        watch,
        Wish::CompareBlocks,
        then,
    )?;
    let differences = crate::compare::Differences::default();
    for place in places {
        let path = format!("bytes {:>15} to {:>15}", place.start, place.end);
        differences.add(path, "content".to_owned());
    }
    Ok(differences.take())
}

fn run(
    (disk, start): (&File, u64),
    used: &[Range<u64>],
    (from, to): (impl Read + Send, impl Write + Send),
    watch: Watch,
    wish: Wish,
    then: Then,
) -> Result<Progress> {
    let counters = Counters::new(watch);
    let packer = Packer::new(Compression::Adaptive);
    let mut link = Link::new(to, &packer, &counters);
    link.write(&hello(wish, &[])?)?;
    link.flush()?;
    let mut from = FrameReader::new(from);
    welcome(&mut from)?;
    let (out, theirs) = (Queue::new(WAITING), Queue::new(AHEAD));
    let sender = Sender {
        disk,
        start,
        out: &out,
        theirs: &theirs,
        done: AtomicBool::new(false),
        counters: &counters,
        packer: &packer,
    };
    let end = || {
        out.abandon();
        theirs.abandon();
    };
    let failure = Failure::new(&end);
    std::thread::scope(|scope| {
        scope.spawn(|| failure.watch(sender.listen(from, &failure)));
        scope.spawn(|| failure.watch(sender.work(used, then)));
        link.run(&out, &failure);
        drop(link);
    });
    outcome(&failure, &sender.done, &counters)
}

/// Takes a frame of ranges, which must be in order and inside the device.
pub fn read_ranges(payload: &[u8], size: u64) -> Result<Vec<Range<u64>>> {
    let mut from = Cursor(payload);
    let mut ranges = Vec::new();
    while !from.is_empty() {
        let range = from.u64()?..from.u64()?;
        if range.start >= range.end || range.end > size {
            bail!(
                "the bytes {} to {} do not fit into the volume of {size} bytes: \
                 make it as large as the source's",
                range.start,
                range.end
            );
        }
        ranges.push(range);
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_ranges_and_no_more() {
        let used = [0..10, 100..(PIECE + 1), (3 * PIECE)..(5 * PIECE)];
        let expected = [
            0..10,
            100..PIECE,
            PIECE..(PIECE + 1),
            (3 * PIECE)..(4 * PIECE),
            (4 * PIECE)..(5 * PIECE),
        ];
        assert_eq!(pieces(&used).collect::<Vec<_>>(), expected);
        assert_eq!(pieces(&[]).count(), 0);
    }
}
