//! The journal (jbd2): which blocks its committed transactions will write, and
//! where it has them.
//!
//! The rules are the kernel's own for recovery, but for what is wrong: where
//! the kernel would leave out a block or a transaction because of a checksum,
//! this reader gives up. It also gives up on fast commits, asynchronous ones,
//! and the checksums of version 1.
//! See <https://docs.kernel.org/filesystems/ext4/journal.html>.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

use self::place::Place;
use self::records::{Format, Tag};
use super::super::checksum::{agree, crc32c_raw};
use super::super::fields::BigEndian;
use super::blocks::{Logged, MARK};
use super::features::compatible;
use super::superblock::Superblock;
use crate::window::Window;

mod place;
mod records;

const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPERBLOCK_V2: u32 = 4;
const REVOKE: u32 = 5;

/// Bounds what is remembered of revoked blocks.
const MOST_REVOKED: usize = 1 << 22;

/// The blocks that the journal will write when it is replayed.
pub fn replayed(superblock: &Superblock, window: &Window) -> Result<HashMap<u64, Logged>> {
    ensure!(
        superblock.features.compatible & compatible::FAST_COMMIT == 0,
        "it may hold fast commits"
    );
    let place = Place::find(superblock, window).context("finding it")?;
    let journal = Journal::read(superblock, window, place)?;
    let mut recovery = Recovery::default();
    if journal.start != 0 {
        journal.recover(&mut recovery)?;
    }
    Ok(recovery.outcome())
}

/// The journal, from its own superblock.
struct Journal<'a> {
    window: &'a Window<'a>,
    place: Place,
    block: u64,
    /// Its first block of records, and how many blocks it has in all.
    first: u64,
    length: u64,
    /// Where the records start; 0 for an empty journal.
    start: u64,
    /// The number of the first transaction.
    sequence: u32,
    format: Format,
}

/// What the transactions write, numbered from 0.
#[derive(Default)]
struct Recovery {
    logged: HashMap<u64, (u32, Logged)>,
    revoked: HashMap<u64, u32>,
    /// Of the transaction whose commit is still to come.
    open: HashMap<u64, Logged>,
    open_revoked: Vec<u64>,
}

impl Recovery {
    fn commit(&mut self, transaction: u32) {
        for (block, logged) in self.open.drain() {
            self.logged.insert(block, (transaction, logged));
        }
        for block in self.open_revoked.drain(..) {
            self.revoked.insert(block, transaction);
        }
    }

    /// A revoked block is not written by that transaction nor by those before.
    fn outcome(self) -> HashMap<u64, Logged> {
        let Self {
            mut logged,
            revoked,
            ..
        } = self;
        logged.retain(|block, (number, _)| revoked.get(block).is_none_or(|last| last < number));
        logged
            .into_iter()
            .map(|(block, (_, logged))| (block, logged))
            .collect()
    }
}

impl<'a> Journal<'a> {
    fn read(superblock: &Superblock, window: &'a Window<'a>, place: Place) -> Result<Self> {
        let at = place.byte(0)?;
        let bytes = window.read(at, 1024).context("reading its superblock")?;
        let fields = BigEndian(&bytes);
        ensure!(
            fields.bytes(0)? == MARK && fields.u32(4)? == SUPERBLOCK_V2,
            "it has no superblock of version 2"
        );
        ensure!(
            u64::from(fields.u32(12)?) == superblock.block,
            "its blocks have another size"
        );
        ensure!(fields.u32(32)? == 0, "it has noted an error");
        let format = Format::new(fields)?;
        if format.checksums() {
            let crc = crc32c_raw(crc32c_raw(!0, &bytes[..0xfc]), &[0; 4]);
            ensure!(
                agree(crc32c_raw(crc, &bytes[0x100..]), fields.u32(0xfc)?),
                "the checksum of its superblock is wrong"
            );
        }
        let journal = Self {
            window,
            block: superblock.block,
            first: fields.u32(20)?.into(),
            length: fields.u32(16)?.into(),
            start: fields.u32(28)?.into(),
            sequence: fields.u32(24)?,
            format,
            place,
        };
        ensure!(
            journal.length <= journal.place.length()
                && (1..journal.length).contains(&journal.first)
                && (journal.start == 0 || (journal.first..journal.length).contains(&journal.start)),
            "its superblock is wrong"
        );
        Ok(journal)
    }

    /// Follows the records from the first transaction to the last that was
    /// committed. What a transaction of the future has is not looked at.
    fn recover(&self, recovery: &mut Recovery) -> Result<()> {
        let (mut at, mut transaction) = (self.start, 0_u32);
        let mut left = self.length;
        loop {
            let block = self.read_block(at)?;
            let fields = BigEndian(&block);
            let sequence = self.sequence.wrapping_add(transaction);
            if fields.bytes(0)? != MARK || fields.u32(8)? != sequence {
                return Ok(());
            }
            let mut used = 1;
            match fields.u32(4)? {
                DESCRIPTOR => {
                    self.format.check_end(&block)?;
                    let tags = self.format.tags(&block)?;
                    used += tags.len() as u64;
                    self.log(&tags, at, sequence, recovery)?;
                }
                COMMIT => {
                    self.format.check_commit(&block)?;
                    recovery.commit(transaction);
                    transaction += 1;
                }
                REVOKE => {
                    self.format.check_end(&block)?;
                    recovery.open_revoked.extend(self.format.revoked(&block)?);
                    let revoked = recovery.open_revoked.len() + recovery.revoked.len();
                    ensure!(revoked <= MOST_REVOKED, "it revokes too many blocks");
                }
                // The kernel's recovery ends there too.
                _ => return Ok(()),
            }
            left = left
                .checked_sub(used)
                .context("it goes round in a circle")?;
            at = self.after(at, used);
        }
    }

    /// The blocks of a descriptor follow it.
    fn log(&self, tags: &[Tag], at: u64, sequence: u32, recovery: &mut Recovery) -> Result<()> {
        ensure!((tags.len() as u64) < self.length, "a record is too long");
        for (number, tag) in (1..).zip(tags) {
            let at = self.after(at, number);
            if self.format.checksums() {
                let data = self.read_block(at)?;
                self.format.check_data(tag, sequence, &data)?;
            }
            let logged = Logged {
                place: self.place.byte(at * self.block)?,
                escaped: tag.escaped,
            };
            recovery.open.insert(tag.block, logged);
        }
        Ok(())
    }

    /// `count` blocks further, round the end.
    fn after(&self, at: u64, count: u64) -> u64 {
        let ring = self.length - self.first;
        self.first + (at - self.first + count) % ring
    }

    fn read_block(&self, at: u64) -> Result<Vec<u8>> {
        let place = self.place.byte(at * self.block)?;
        Ok(self.window.read(place, usize::try_from(self.block)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revoked_block_is_written_only_by_later_transactions() {
        let mut recovery = Recovery::default();
        let transactions: [(&[u64], &[u64]); 4] = [
            (&[1, 2, 3], &[]),
            (&[2], &[1, 4]),
            (&[4, 5], &[3, 5]),
            (&[3], &[]),
        ];
        for (number, (blocks, revoked)) in (0..).zip(transactions) {
            for block in blocks {
                let place = u64::from(number) * 100 + block;
                let escaped = false;
                recovery.open.insert(*block, Logged { place, escaped });
            }
            recovery.open_revoked.extend(revoked);
            recovery.commit(number);
        }
        let escaped = false;
        recovery.open.insert(6, Logged { place: 0, escaped });
        let outcome = recovery.outcome();
        let mut found: Vec<_> = outcome.iter().map(|(at, to)| (*at, to.place)).collect();
        found.sort_unstable();
        assert_eq!(found, [(2, 102), (3, 303), (4, 204)]);
    }
}
