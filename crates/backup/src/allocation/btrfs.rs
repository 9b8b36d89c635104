//! btrfs on one device: the extents that its extent tree names, data and trees
//! alike, at the places where its chunks put them.
//!
//! What is on the device is whole after a crash too, since nothing in use is
//! ever overwritten; but not what a log tree has, which the extent tree does
//! not know: then it gives up. Not here: several devices, and profiles other
//! than single and DUP. Superblocks' copies are kept; the older roots that they
//! name for rescue may not be whole afterwards.
//! See <https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html>.

use std::ops::Range;

use anyhow::{Context, Result, ensure};

use self::chunks::Chunks;
use self::superblock::{COPIES, LENGTH, Superblock};
use self::tree::{Item, Pointer, Reader};
use super::Used;
use super::fields::LittleEndian;
use super::kept::Kept;
use crate::window::Window;

mod chunks;
mod superblock;
mod tree;

/// Nothing is allocated there: boot loaders live in it.
const BOOT_AREA: u64 = 1 << 20;

const EXTENT_TREE: u64 = 2;
const ROOT_ITEM: u8 = 132;
const EXTENT_ITEM: u8 = 168;
const METADATA_ITEM: u8 = 169;

/// The bytes in use.
pub fn used(window: &Window) -> Result<Used> {
    let superblock = Superblock::read(window)?;
    let chunks = Chunks::read(&superblock, window)?;
    let reader = Reader::new(&superblock, &chunks, window);
    let extents = extent_tree(&superblock, &reader).context("reading its tree of roots")?;
    let mut kept = Kept::default();
    kept.add(0..BOOT_AREA);
    for copy in COPIES {
        kept.add(copy..copy + LENGTH);
    }
    keep_extents(&superblock, &chunks, &reader, extents, &mut kept)
        .context("reading its tree of extents")?;
    Ok(Used {
        ranges: kept.into_ranges(),
        end: superblock.device_length,
    })
}

/// The root of the tree of extents, from the tree of roots.
fn extent_tree(superblock: &Superblock, reader: &Reader) -> Result<Pointer> {
    let mut found = None;
    reader.each_item(superblock.root, &mut |item| {
        if (item.key.object, item.key.kind, item.key.offset) == (EXTENT_TREE, ROOT_ITEM, 0) {
            let fields = LittleEndian(item.data);
            found = Some(Pointer {
                tree: EXTENT_TREE,
                logical: fields.u64(176)?,
                generation: fields.u64(160)?,
                level: fields.u8(238)?,
            });
        }
        Ok(())
    })?;
    found.context("it has no tree of extents")
}

fn keep_extents(
    superblock: &Superblock,
    chunks: &Chunks,
    reader: &Reader,
    root: Pointer,
    kept: &mut Kept,
) -> Result<()> {
    let (mut end, mut bytes) = (0, 0);
    reader.each_item(root, &mut |item| {
        let Some(extent) = extent_of(item, superblock.node)? else {
            return Ok(());
        };
        ensure!(
            extent.start >= end,
            "two extents overlap at {}",
            extent.start
        );
        end = extent.end;
        bytes += extent.end - extent.start;
        for place in chunks.places(extent)? {
            kept.add(place);
        }
        Ok(())
    })?;
    ensure!(
        bytes == superblock.bytes_used,
        "it has {bytes} bytes of extents, {} by its superblock",
        superblock.bytes_used
    );
    Ok(())
}

/// The logical range of an item that stands for an extent.
fn extent_of(item: &Item, node: u64) -> Result<Option<Range<u64>>> {
    let start = item.key.object;
    let length = match item.key.kind {
        EXTENT_ITEM => item.key.offset,
        METADATA_ITEM => node,
        _ => return Ok(None),
    };
    let end = start.checked_add(length);
    let end = end.filter(|end| *end > start);
    let end = end.with_context(|| format!("an extent at {start} has {length} bytes"))?;
    Ok(Some(start..end))
}
