//! Where the journal lies on the device: the blocks of its inode, mapped by
//! extents or, as in ext3, by blocks of block numbers.

use anyhow::{Context, Result, ensure};

use super::super::group::Group;
use super::super::superblock::Superblock;
use crate::allocation::fields::LittleEndian;
use crate::window::Window;

/// The inode that mkfs makes the journal of.
const INODE: u64 = 8;
const REGULAR: u16 = 0o100_000;
const HAS_EXTENTS: u32 = 0x8_0000;
const EXTENTS: u16 = 0xf30a;
/// Bounds what is read for a journal; mke2fs makes none of 8 GiB by itself.
const MOST_BLOCKS: u64 = 1 << 21;
const MOST_PIECES: usize = 1 << 16;
/// An extent with more blocks than this was never written.
const MOST_WRITTEN: u16 = 32768;

/// The journal's blocks, in pieces.
#[derive(Debug)]
pub struct Place {
    block: u64,
    pieces: Vec<Piece>,
}

/// Blocks that follow each other.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// The number of the first one in the journal, and on the device.
    number: u64,
    start: u64,
    count: u64,
}

/// Reads the map.
struct Mapper<'a> {
    superblock: &'a Superblock,
    window: &'a Window<'a>,
    place: Place,
    /// How many blocks the journal has.
    wanted: u64,
}

impl Place {
    /// From the journal's inode.
    pub fn find(superblock: &Superblock, window: &Window) -> Result<Self> {
        ensure!(
            u64::from(superblock.journal) == INODE,
            "it is in inode {}",
            superblock.journal
        );
        let block = superblock.block;
        let descriptor = superblock.descriptors_at(0) * block;
        let descriptor = window.read(descriptor, superblock.descriptor)?;
        let table = Group::new(superblock, 0, &descriptor)?.inode_table;
        ensure!(table < superblock.blocks, "its inode lies past the end");
        let inode = table * block + (INODE - 1) * superblock.inode;
        let inode = window.read(inode, 128)?;
        let fields = LittleEndian(&inode);
        ensure!(
            fields.u16(0)? & 0o170_000 == REGULAR && fields.u16(26)? > 0,
            "its inode is not a file's"
        );
        let size = u64::from(fields.u32(108)?) << 32 | u64::from(fields.u32(4)?);
        let mut mapper = Mapper {
            superblock,
            window,
            place: Self {
                block,
                pieces: Vec::new(),
            },
            wanted: size / block,
        };
        ensure!(mapper.wanted <= MOST_BLOCKS, "it is too long");
        let map: [u8; 60] = fields.bytes(40)?;
        if fields.u32(32)? & HAS_EXTENTS != 0 {
            mapper.extents(&map, None)?;
        } else {
            mapper.numbers(&map)?;
        }
        ensure!(mapper.place.length() == mapper.wanted, "it has holes");
        Ok(mapper.place)
    }

    /// In blocks.
    pub fn length(&self) -> u64 {
        self.pieces
            .last()
            .map_or(0, |last| last.number + last.count)
    }

    /// Where byte `at` of the journal lies on the device.
    pub fn byte(&self, at: u64) -> Result<u64> {
        let number = at / self.block;
        let after = self.pieces.partition_point(|piece| piece.number <= number);
        let piece = after.checked_sub(1).map(|index| self.pieces[index]);
        let piece = piece.filter(|piece| number - piece.number < piece.count);
        let piece = piece.with_context(|| format!("block {number} lies past its end"))?;
        Ok((piece.start + number - piece.number) * self.block + at % self.block)
    }

    fn push(&mut self, start: u64, count: u64) {
        let number = self.length();
        match self.pieces.last_mut() {
            Some(last) if last.start + last.count == start => last.count += count,
            _ => self.pieces.push(Piece {
                number,
                start,
                count,
            }),
        }
    }
}

impl Mapper<'_> {
    fn push(&mut self, start: u64, count: u64) -> Result<()> {
        let end = start.checked_add(count);
        ensure!(
            start > 0 && count > 0 && end.is_some_and(|end| end <= self.superblock.blocks),
            "{count} of its blocks are at {start}"
        );
        ensure!(
            self.place.length() + count <= self.wanted,
            "it has more blocks than its size"
        );
        self.place.push(start, count);
        ensure!(
            self.place.pieces.len() <= MOST_PIECES,
            "it is in too many pieces"
        );
        Ok(())
    }

    /// A node of the tree of extents, `depth` above its leaves if known.
    fn extents(&mut self, node: &[u8], depth: Option<u16>) -> Result<()> {
        let fields = LittleEndian(node);
        let (count, found) = (usize::from(fields.u16(2)?), fields.u16(6)?);
        ensure!(
            fields.u16(0)? == EXTENTS && found <= 5 && depth.is_none_or(|depth| depth == found),
            "its tree of extents is wrong"
        );
        // Each of them adds blocks, which bounds how many are read.
        ensure!(count > 0, "a block of its tree of extents is empty");
        for entry in 0..count {
            let at = 12 + entry * 12;
            ensure!(
                u64::from(fields.u32(at)?) == self.place.length(),
                "it has holes"
            );
            if found == 0 {
                let length = fields.u16(at + 4)?;
                ensure!(length <= MOST_WRITTEN, "not all of it was written");
                let high = u64::from(fields.u16(at + 6)?);
                self.push(high << 32 | u64::from(fields.u32(at + 8)?), length.into())?;
            } else {
                let high = u64::from(fields.u16(at + 8)?);
                let child = self.read(high << 32 | u64::from(fields.u32(at + 4)?))?;
                self.extents(&child, Some(found - 1))?;
            }
        }
        Ok(())
    }

    /// Twelve blocks, then blocks of numbers: of blocks, of such blocks, and so
    /// on once more.
    fn numbers(&mut self, map: &[u8]) -> Result<()> {
        let fields = LittleEndian(map);
        for entry in 0..15 {
            let depth = u32::saturating_sub(entry, 11);
            if self.place.length() < self.wanted {
                self.number(fields.u32(entry as usize * 4)?, depth)?;
            }
        }
        Ok(())
    }

    fn number(&mut self, block: u32, depth: u32) -> Result<()> {
        if depth == 0 {
            return self.push(block.into(), 1);
        }
        let numbers = self.read(block.into())?;
        for number in numbers.chunks_exact(4) {
            if self.place.length() < self.wanted {
                self.number(LittleEndian(number).u32(0)?, depth - 1)?;
            }
        }
        Ok(())
    }

    fn read(&self, block: u64) -> Result<Vec<u8>> {
        ensure!(
            (1..self.superblock.blocks).contains(&block),
            "a block of its map is {block}"
        );
        let length = usize::try_from(self.superblock.block)?;
        Ok(self.window.read(block * self.superblock.block, length)?)
    }
}
