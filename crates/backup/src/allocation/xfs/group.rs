//! One allocation group: its header, and its tree of free extents by block.

use anyhow::{Context, Result, ensure};

use super::super::fields::BigEndian;
use super::super::kept::Kept;
use super::checksum_is_right;
use super::superblock::Superblock;
use crate::window::Window;

/// More levels than any tree of free extents has.
const MOST_LEVELS: u32 = 16;

/// "No sibling".
const NONE: u32 = u32::MAX;

/// The group that is read.
struct Group<'a> {
    superblock: &'a Superblock,
    window: &'a Window<'a>,
    number: u64,
    length: u64,
}

/// A block of the tree, its header checked.
struct Node {
    bytes: Vec<u8>,
    /// Where its records or keys start.
    start: usize,
    records: usize,
    next: u32,
}

/// Keeps all of the group that is not free.
pub fn keep_used(
    superblock: &Superblock,
    number: u64,
    window: &Window,
    kept: &mut Kept,
) -> Result<()> {
    let group = Group {
        superblock,
        window,
        number,
        length: superblock.group_length(number),
    };
    let (root, levels, free) = group.header()?;
    let mut leaf = group.first_leaf(root, levels)?;
    // Blocks up to `end` have been told; `found` of them are free.
    let (mut end, mut found) = (0, 0);
    loop {
        for record in 0..leaf.records {
            let (start, count) = group.free_extent(&leaf, record, end)?;
            group.keep(end, start, kept);
            end = start + count;
            found += count;
        }
        if leaf.next == NONE {
            break;
        }
        leaf = group.node(leaf.next, 0)?;
        // Else siblings could go round in a circle.
        ensure!(leaf.records > 0, "a block of its tree is empty");
    }
    group.keep(end, group.length, kept);
    ensure!(
        found == free,
        "{found} blocks are free by its tree, {free} by its header"
    );
    Ok(())
}

impl Group<'_> {
    /// From the group's header: the tree's root and levels, and how many blocks
    /// are free.
    fn header(&self) -> Result<(u32, u32, u64)> {
        let start = self.superblock.group_start(self.number) * self.superblock.block;
        let sector = usize::try_from(self.superblock.sector)?;
        let header = self
            .window
            .read(start + self.superblock.sector, sector)
            .context("reading its header")?;
        let fields = BigEndian(&header);
        ensure!(
            fields.bytes(0)? == *b"XAGF" && fields.u32(4)? == 1,
            "it has no header"
        );
        ensure!(
            u64::from(fields.u32(8)?) == self.number && u64::from(fields.u32(12)?) == self.length,
            "its header is another's"
        );
        if let Some(uuid) = self.superblock.uuid {
            ensure!(
                checksum_is_right(&header, 216)? && fields.bytes(64)? == uuid,
                "the checksum of its header is wrong"
            );
        }
        let levels = fields.u32(28)?;
        ensure!(
            (1..=MOST_LEVELS).contains(&levels),
            "its tree has {levels} levels"
        );
        Ok((fields.u32(16)?, levels, fields.u32(52)?.into()))
    }

    /// The leaf with the lowest blocks.
    fn first_leaf(&self, root: u32, levels: u32) -> Result<Node> {
        let mut node = self.node(root, levels - 1)?;
        for level in (0..levels - 1).rev() {
            ensure!(node.records > 0, "a block of its tree is empty");
            // Keys of 8 bytes for as many as have room, then the blocks.
            let room = (node.bytes.len() - node.start) / 12;
            let first = BigEndian(&node.bytes).u32(node.start + room * 8)?;
            node = self.node(first, level)?;
        }
        Ok(node)
    }

    fn node(&self, block: u32, level: u32) -> Result<Node> {
        let bytes = self
            .read_block(block)
            .with_context(|| format!("reading block {block} of its tree"))?;
        let fields = BigEndian(&bytes);
        let checked = self.superblock.uuid.is_some();
        let (magic, start) = if checked {
            (b"AB3B", 56)
        } else {
            (b"ABTB", 16)
        };
        let records = usize::from(fields.u16(6)?);
        ensure!(
            fields.bytes(0)? == *magic && u32::from(fields.u16(4)?) == level,
            "block {block} is not of its tree"
        );
        ensure!(
            records <= (bytes.len() - start) / if level == 0 { 8 } else { 12 },
            "block {block} of its tree has {records} records"
        );
        let next = fields.u32(12)?;
        if checked {
            self.check_node(&bytes, block)?;
        }
        Ok(Node {
            bytes,
            start,
            records,
            next,
        })
    }

    /// Blocks with checksums also say where they belong.
    fn check_node(&self, bytes: &[u8], block: u32) -> Result<()> {
        let fields = BigEndian(bytes);
        let at = self.superblock.group_start(self.number) + u64::from(block);
        let place = at * (self.superblock.block / 512);
        ensure!(
            checksum_is_right(bytes, 52)?
                && fields.u64(16)? == place
                && Some(fields.bytes(32)?) == self.superblock.uuid
                && u64::from(fields.u32(48)?) == self.number,
            "the checksum of block {block} of its tree is wrong"
        );
        Ok(())
    }

    fn read_block(&self, block: u32) -> Result<Vec<u8>> {
        ensure!(u64::from(block) < self.length, "it lies past the group");
        let at = self.superblock.group_start(self.number) + u64::from(block);
        let length = usize::try_from(self.superblock.block)?;
        Ok(self.window.read(at * self.superblock.block, length)?)
    }

    /// The first block and the length of a free extent, which must not lie
    /// before `end`, nor on the headers.
    fn free_extent(&self, leaf: &Node, record: usize, end: u64) -> Result<(u64, u64)> {
        let fields = BigEndian(&leaf.bytes);
        let at = leaf.start + record * 8;
        let (start, count) = (u64::from(fields.u32(at)?), u64::from(fields.u32(at + 4)?));
        ensure!(
            start >= end && start > 0 && count > 0 && start + count <= self.length,
            "its tree has {count} free blocks at {start} after {end}"
        );
        Ok((start, count))
    }

    fn keep(&self, start: u64, end: u64, kept: &mut Kept) {
        let first = self.superblock.group_start(self.number);
        let block = self.superblock.block;
        kept.add((first + start) * block..(first + end) * block);
    }
}
