//! One group: its descriptor, and what its bitmap calls taken.

use anyhow::{Result, ensure};

use super::super::checksum::{agree, crc16, crc32c_raw};
use super::super::fields::LittleEndian;
use super::super::kept::Kept;
use super::bitmap;
use super::blocks::Blocks;
use super::superblock::{Checksums, Superblock};

/// The flag of a group whose block bitmap was never written.
const BLOCKS_UNWRITTEN: u16 = 2;

/// Where the checksum lies in a descriptor.
const CHECKSUM: usize = 0x1e;

/// A group's descriptor, checked.
#[derive(Debug)]
pub struct Group<'a> {
    superblock: &'a Superblock,
    number: u64,
    flags: u16,
    block_bitmap: u64,
    inode_bitmap: u64,
    /// The first block of its inode table.
    pub inode_table: u64,
    free: u32,
    checksum: u32,
}

impl<'a> Group<'a> {
    /// From its descriptor.
    pub fn new(superblock: &'a Superblock, number: u64, descriptor: &[u8]) -> Result<Self> {
        check_descriptor(superblock, number, descriptor)?;
        let fields = LittleEndian(descriptor);
        let wide = descriptor.len() >= 64;
        let block = |low: usize, high: usize| -> Result<u64> {
            let high = if wide { fields.u32(high)? } else { 0 };
            Ok(u64::from(high) << 32 | u64::from(fields.u32(low)?))
        };
        let count = |low: usize, high: usize| -> Result<u32> {
            let high = if wide { fields.u16(high)? } else { 0 };
            Ok(u32::from(high) << 16 | u32::from(fields.u16(low)?))
        };
        Ok(Self {
            superblock,
            number,
            flags: fields.u16(0x12)?,
            block_bitmap: block(0x0, 0x20)?,
            inode_bitmap: block(0x4, 0x24)?,
            inode_table: block(0x8, 0x28)?,
            free: count(0xc, 0x2c)?,
            checksum: count(0x18, 0x38)?,
        })
    }

    /// Keeps the blocks it has taken, and those of its own structures, which
    /// may lie in other groups.
    pub fn keep_used(&self, blocks: &Blocks, kept: &mut Kept) -> Result<()> {
        let (superblock, start) = (self.superblock, self.start());
        let length = superblock.group_length(self.number);
        let head = superblock.head(self.number).min(length);
        self.keep(start, head, kept)?;
        self.keep(self.block_bitmap, 1, kept)?;
        self.keep(self.inode_bitmap, 1, kept)?;
        self.keep(self.inode_table, superblock.inode_table, kept)?;
        let unwritten = self.flags & BLOCKS_UNWRITTEN != 0;
        if unwritten && superblock.features.descriptor_checksums() {
            return Ok(());
        }
        let bitmap = blocks.read(self.block_bitmap)?;
        self.check_bitmap(&bitmap)?;
        let clusters = length.div_ceil(superblock.ratio);
        let mut outcome = Ok(());
        let taken = bitmap::runs(&bitmap, clusters, |run| {
            let first = run.start * superblock.ratio;
            let past = (run.end * superblock.ratio).min(length);
            if outcome.is_ok() {
                outcome = self.keep(start + first, past - first, kept);
            }
        });
        outcome?;
        self.check_free(clusters - taken)
    }

    fn start(&self) -> u64 {
        self.superblock.group_start(self.number)
    }

    fn keep(&self, block: u64, count: u64, kept: &mut Kept) -> Result<()> {
        let past = block.checked_add(count);
        let past = past.filter(|past| *past <= self.superblock.blocks);
        let Some(past) = past else {
            anyhow::bail!("{count} blocks at {block} lie past its end");
        };
        let bytes = self.superblock.block;
        kept.add(block * bytes..past * bytes);
        Ok(())
    }

    fn check_bitmap(&self, bitmap: &[u8]) -> Result<()> {
        let Checksums::Crc32c(seed) = self.superblock.checksums else {
            return Ok(());
        };
        let bits = self.superblock.group_blocks / self.superblock.ratio;
        let found = crc32c_raw(seed, &bitmap[..(bits / 8) as usize]);
        ensure!(
            agree(found & self.mask(), self.checksum & self.mask()),
            "the checksum of its block bitmap is wrong"
        );
        Ok(())
    }

    /// Small descriptors hold only the lower half of some numbers.
    fn mask(&self) -> u32 {
        if self.superblock.descriptor >= 64 {
            !0
        } else {
            0xffff
        }
    }

    fn check_free(&self, free: u64) -> Result<()> {
        let found = u32::try_from(free)? & self.mask();
        ensure!(
            found == self.free,
            "{found} clusters are free by its bitmap, {} by its descriptor",
            self.free
        );
        Ok(())
    }
}

fn check_descriptor(superblock: &Superblock, number: u64, descriptor: &[u8]) -> Result<()> {
    let number = u32::try_from(number)?.to_le_bytes();
    let (before, after) = (&descriptor[..CHECKSUM], &descriptor[CHECKSUM + 2..]);
    let found = match superblock.checksums {
        Checksums::None => return Ok(()),
        Checksums::Crc16(seed) => crc16(crc16(crc16(seed, &number), before), after),
        Checksums::Crc32c(seed) => {
            let crc = crc32c_raw(crc32c_raw(seed, &number), before);
            crc32c_raw(crc32c_raw(crc, &[0; 2]), after) as u16
        }
    };
    ensure!(
        agree(found.into(), LittleEndian(descriptor).u16(CHECKSUM)?.into()),
        "the checksum of its descriptor is wrong"
    );
    Ok(())
}
