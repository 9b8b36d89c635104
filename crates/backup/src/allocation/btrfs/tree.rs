//! Trees: every item of one, in the order of the keys.
//!
//! Each block must have its checksum, its own address, and the level and
//! generation that its parent says. Keys must ascend over the whole tree, so
//! that no block is read twice.

use anyhow::{Context, Result, ensure};

use super::super::checksum::{agree, crc32c};
use super::super::fields::LittleEndian;
use super::chunks::Chunks;
use super::superblock::Superblock;
use crate::window::Window;

/// Bytes before a block's items.
const HEADER: usize = 101;
/// Bytes of a key with what follows it: in leaves, where its data is; above,
/// a block and its generation.
const LEAF_ENTRY: usize = 25;
const INNER_ENTRY: usize = 33;
/// Trees have at most eight levels.
const HIGHEST: u8 = 7;

/// An item's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What it is about: of an extent, its start.
    pub object: u64,
    /// The kind of item.
    pub kind: u8,
    /// More about it: of an extent, its length.
    pub offset: u64,
}

impl Key {
    /// From its 17 bytes.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let fields = LittleEndian(bytes);
        Ok(Self {
            object: fields.u64(0)?,
            kind: fields.u8(8)?,
            offset: fields.u64(9)?,
        })
    }
}

/// An item of a leaf.
pub struct Item<'a> {
    /// Its key.
    pub key: Key,
    /// Its data.
    pub data: &'a [u8],
}

/// Where a block of a tree is, and what it must be.
#[derive(Debug, Clone, Copy)]
pub struct Pointer {
    /// The tree that it belongs to.
    pub tree: u64,
    /// Logical address.
    pub logical: u64,
    /// Generation that wrote it.
    pub generation: u64,
    /// 0 for a leaf.
    pub level: u8,
}

/// What to do with each item.
type Each<'a> = dyn FnMut(&Item) -> Result<()> + 'a;

/// Reads trees.
pub struct Reader<'a> {
    superblock: &'a Superblock,
    chunks: &'a Chunks,
    window: &'a Window<'a>,
}

impl<'a> Reader<'a> {
    /// With the chunks that its trees lie in.
    pub fn new(superblock: &'a Superblock, chunks: &'a Chunks, window: &'a Window<'a>) -> Self {
        Self {
            superblock,
            chunks,
            window,
        }
    }

    /// Calls `each` with every item of the tree, in ascending order.
    pub fn each_item(&self, root: Pointer, each: &mut Each) -> Result<()> {
        ensure!(root.level <= HIGHEST, "it has {} levels", root.level);
        self.descend(root, None, &mut None, each)
    }

    /// `first` is the key that the parent gives for the block's first one.
    fn descend(
        &self,
        at: Pointer,
        first: Option<Key>,
        last: &mut Option<Key>,
        each: &mut Each,
    ) -> Result<()> {
        let block = self
            .block(at)
            .with_context(|| format!("reading its block at {}", at.logical))?;
        let body = &block[HEADER..];
        let entries = entries(&block, at.level, first)?;
        for entry in entries {
            let key = Key::read(entry)?;
            ensure!(last.is_none_or(|last| last < key), "its keys do not ascend");
            if at.level == 0 {
                *last = Some(key);
                each(&leaf_item(key, entry, body)?)?;
            } else {
                self.descend(child(at, entry)?, Some(key), last, each)?;
            }
        }
        Ok(())
    }

    /// A block of a tree, checked. A copy that is wrong is not made up for by
    /// a second one: the disk is not well.
    fn block(&self, at: Pointer) -> Result<Vec<u8>> {
        let node = self.superblock.node;
        let end = at.logical.checked_add(node).context("it is no address")?;
        let place = self.chunks.places(at.logical..end)?.next();
        let place = place.context("it lies nowhere")?;
        let block = self.window.read(place.start, usize::try_from(node)?)?;
        let fields = LittleEndian(&block);
        ensure!(
            agree(crc32c(&block[32..]), fields.u32(0)?),
            "its checksum is wrong"
        );
        ensure!(
            fields.bytes(32)? == self.superblock.uuid
                && fields.u64(48)? == at.logical
                && fields.u64(80)? == at.generation
                && at.generation <= self.superblock.generation
                && fields.u64(88)? == at.tree
                && fields.u8(100)? == at.level,
            "it is another block than the tree says"
        );
        Ok(block)
    }
}

/// The entries of a block; only a root may have none.
fn entries(block: &[u8], level: u8, first: Option<Key>) -> Result<impl Iterator<Item = &[u8]>> {
    let items = LittleEndian(block).u32(96)? as usize;
    let body = &block[HEADER..];
    let size = if level == 0 { LEAF_ENTRY } else { INNER_ENTRY };
    ensure!(items <= body.len() / size, "a block has {items} items");
    if let Some(first) = first {
        ensure!(
            items > 0 && Key::read(body)? == first,
            "a block starts with another key than its parent says"
        );
    }
    Ok(body.chunks_exact(size).take(items))
}

/// The child that an entry of an inner block names.
fn child(parent: Pointer, entry: &[u8]) -> Result<Pointer> {
    let fields = LittleEndian(entry);
    Ok(Pointer {
        tree: parent.tree,
        logical: fields.u64(17)?,
        generation: fields.u64(25)?,
        level: parent.level - 1,
    })
}

fn leaf_item<'a>(key: Key, entry: &[u8], body: &'a [u8]) -> Result<Item<'a>> {
    let fields = LittleEndian(entry);
    let (start, length) = (fields.u32(17)? as usize, fields.u32(21)? as usize);
    let data = body.get(start..).and_then(|rest| rest.get(..length));
    Ok(Item {
        key,
        data: data.context("an item lies outside its block")?,
    })
}
