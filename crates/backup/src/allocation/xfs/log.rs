//! Whether the log has nothing left to write.
//!
//! The log is a ring of blocks of 512 bytes, and each starts with the number
//! of the round that wrote it. So the head, where the next record will go, is
//! where the number falls by one. The log is clean when the last record before
//! the head is that of an unmount. All of it is read: a log whose numbers are
//! in any other order was being written when the system ended.

use anyhow::{Result, bail, ensure};

use super::super::fields::BigEndian;
use super::superblock::Superblock;
use crate::window::Window;

const BLOCK: u64 = 512;
/// What a record's header starts with; no round has this number.
const HEADER: u32 = 0xfeed_babe;
/// More than this of a record's data needs more header blocks.
const DATA_OF_A_HEADER: u32 = 32 << 10;
/// The mark of an unmount, and who made it.
const UNMOUNT: u8 = 0x20;
const LOG_ITSELF: u8 = 0xaa;

const NOT_EMPTY: &str = "it is not empty: mount and unmount it once";

/// Refuses a log that is not clean.
pub fn check_clean(superblock: &Superblock, window: &Window) -> Result<()> {
    let log = Log {
        window,
        start: superblock.log,
        blocks: superblock.log_length / BLOCK,
    };
    // XFS's largest has 2 GiB, its smallest of any use a few blocks.
    ensure!(
        (16..=1 << 22).contains(&log.blocks),
        "it has {} blocks",
        log.blocks
    );
    let rounds = log.rounds()?;
    if rounds.never_written() {
        return Ok(());
    }
    let Some((head, record)) = rounds.last_record(log.blocks) else {
        bail!(NOT_EMPTY);
    };
    ensure!(log.is_unmount(record, head)?, NOT_EMPTY);
    Ok(())
}

struct Log<'a> {
    window: &'a Window<'a>,
    start: u64,
    blocks: u64,
}

/// What one pass over the log finds.
#[derive(Debug, Default)]
struct Rounds {
    first: u32,
    last: u32,
    /// The block at which the number changes, if it does.
    change: Option<u64>,
    /// Whether it changes in any other way than falling by one, once.
    disordered: bool,
    /// The last header before the change, and the last after it.
    headers: [Option<u64>; 2],
}

impl Rounds {
    fn add(&mut self, block: u64, start: &[u8]) -> Result<()> {
        let fields = BigEndian(start);
        let mut number = fields.u32(0)?;
        let header = number == HEADER;
        if header {
            number = fields.u32(4)?;
        }
        if block == 0 {
            (self.first, self.last) = (number, number);
        }
        if number != self.last {
            self.disordered |= self.change.is_some() || self.last.checked_sub(1) != Some(number);
            self.change = Some(block);
            self.last = number;
        }
        if header {
            self.headers[usize::from(self.change.is_some())] = Some(block);
        }
        Ok(())
    }

    fn never_written(&self) -> bool {
        self.first == 0 && self.change.is_none() && self.headers == [None; 2]
    }

    /// The head, and the header of the last record before it.
    fn last_record(&self, blocks: u64) -> Option<(u64, u64)> {
        if self.disordered || self.first == 0 {
            return None;
        }
        let head = self.change.unwrap_or(blocks) % blocks;
        // A record that goes round the end has its header there.
        let record = self.headers[0].or(self.headers[1])?;
        Some((head, record))
    }
}

impl Log<'_> {
    fn rounds(&self) -> Result<Rounds> {
        const PIECE: u64 = 2048;
        let mut rounds = Rounds::default();
        let mut bytes = vec![0; (PIECE * BLOCK) as usize];
        for first in (0..self.blocks).step_by(PIECE as usize) {
            let length = (PIECE.min(self.blocks - first) * BLOCK) as usize;
            let at = self.start + first * BLOCK;
            self.window.read_at(&mut bytes[..length], at)?;
            let blocks = bytes[..length].chunks_exact(BLOCK as usize);
            for (number, block) in (first..).zip(blocks) {
                rounds.add(number, block)?;
            }
        }
        Ok(rounds)
    }

    fn block(&self, number: u64) -> Result<Vec<u8>> {
        let at = self.start + number % self.blocks * BLOCK;
        Ok(self.window.read(at, BLOCK as usize)?)
    }

    /// Whether the record with that header is the one of an unmount, and ends
    /// at the head.
    fn is_unmount(&self, record: u64, head: u64) -> Result<bool> {
        let header = self.block(record)?;
        let fields = BigEndian(&header);
        let (version, length, size) = (fields.u32(8)?, fields.u32(12)?, fields.u32(320)?);
        let more = version & 2 != 0 && size > DATA_OF_A_HEADER;
        let headers = if more {
            u64::from(size.div_ceil(DATA_OF_A_HEADER))
        } else {
            1
        };
        let data = record + headers;
        let past = data + u64::from(length).div_ceil(BLOCK);
        let sequence = u64::from(fields.u32(4)?) << 32 | record;
        let operation = self.block(data)?;
        let operation = BigEndian(&operation);
        Ok(matches!(version, 1 | 2)
            && past % self.blocks == head
            && fields.u64(16)? == sequence
            && fields.u32(40)? == 1
            && operation.u8(8)? == LOG_ITSELF
            && operation.u8(9)? & UNMOUNT != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(numbers: &[u32], headers: &[usize]) -> Rounds {
        let mut rounds = Rounds::default();
        for (block, number) in numbers.iter().enumerate() {
            let mut start = [0; 8];
            if headers.contains(&block) {
                start[..4].copy_from_slice(&HEADER.to_be_bytes());
                start[4..].copy_from_slice(&number.to_be_bytes());
            } else {
                start[..4].copy_from_slice(&number.to_be_bytes());
            }
            rounds.add(block as u64, &start).unwrap();
        }
        rounds
    }

    #[test]
    fn the_head_is_where_the_round_falls_by_one() {
        let last = |numbers: &[u32], headers: &[usize]| {
            rounds(numbers, headers).last_record(numbers.len() as u64)
        };
        assert_eq!(last(&[1, 1, 0, 0], &[0]), Some((2, 0)));
        assert_eq!(last(&[7, 7, 7, 6, 6], &[0, 2, 4]), Some((3, 2)));
        // The last record goes round the end, or ends there.
        assert_eq!(last(&[7, 6, 6, 6], &[1, 3]), Some((1, 3)));
        assert_eq!(last(&[7, 7, 7, 7], &[0, 2]), Some((0, 2)));
        // Written out of order, or not by XFS.
        for numbers in [
            [7, 7, 6, 7, 6, 6],
            [7, 7, 5, 5, 5, 5],
            [6, 6, 7, 7, 7, 7],
            [7, 7, 6, 6, 5, 5],
        ] {
            assert_eq!(last(&numbers, &[0]), None, "{numbers:?}");
        }
        assert_eq!(last(&[7, 7, 6, 6], &[]), None);
        assert!(rounds(&[0; 4], &[]).never_written());
        assert!(!rounds(&[0; 4], &[1]).never_written());
        assert!(!rounds(&[0, 0, 1, 0], &[]).never_written());
    }
}
