//! ext2, ext3 and ext4: the block bitmap of every group, and the blocks of the
//! filesystem's own structures wherever they lie.
//!
//! Where checksums are kept, those of the superblock, of each group's
//! descriptor and of each bitmap must be right; and each group must have as
//! many free blocks as its descriptor says. When the journal is not empty, all
//! that must hold for the blocks that it will be replayed to.
//! See <https://docs.kernel.org/filesystems/ext4/>.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

use self::blocks::Blocks;
use self::group::Group;
use self::superblock::Superblock;
use super::Used;
use super::kept::Kept;
use crate::window::Window;

mod bitmap;
mod blocks;
mod features;
mod group;
mod journal;
mod superblock;

/// The bytes in use.
pub fn used(window: &Window) -> Result<Used> {
    let bytes = window.read(1024, 1024).context("reading its superblock")?;
    let on_device = Superblock::new(&bytes, window)?;
    if !on_device.needs_recovery {
        let blocks = Blocks::new(&on_device, window, HashMap::new());
        return keep_groups(&on_device, &blocks);
    }
    let logged = journal::replayed(&on_device, window)
        .context("its journal is not empty: mount and unmount it once")?;
    let blocks = Blocks::new(&on_device, window, logged);
    let superblock = replayed_superblock(&on_device, &blocks, window)?;
    keep_groups(&superblock, &blocks)
        .context("its journal is not empty, and replayed does not fit: check it with fsck")
}

/// Of the same filesystem, one hopes: a resize while mounted changes it, and
/// then the device's blocks are counted anew.
fn replayed_superblock(
    on_device: &Superblock,
    blocks: &Blocks,
    window: &Window,
) -> Result<Superblock> {
    let block = blocks.read(1024 / on_device.block)?;
    let start = usize::try_from(1024 % on_device.block)?;
    let bytes = block.get(start..start + 1024);
    let superblock = Superblock::new(bytes.context("its superblock is cut off")?, window)?;
    ensure!(
        (superblock.block, superblock.blocks) == (on_device.block, on_device.blocks),
        "it was resized when it was not unmounted: mount and unmount it once"
    );
    Ok(superblock)
}

fn keep_groups(superblock: &Superblock, blocks: &Blocks) -> Result<Used> {
    let mut kept = Kept::default();
    // The boot sector, and the superblock with all that its block holds.
    kept.add(0..superblock.block.max(2048));
    let per_block = superblock.descriptors_per_block();
    for index in 0..superblock.groups().div_ceil(per_block) {
        let at = superblock.descriptors_at(index);
        let block = blocks
            .read(at)
            .with_context(|| format!("reading its group descriptors in block {at}"))?;
        let first = index * per_block;
        let numbers = first..superblock.groups().min(first + per_block);
        for (number, descriptor) in numbers.zip(block.chunks(superblock.descriptor)) {
            Group::new(superblock, number, descriptor)
                .and_then(|group| group.keep_used(blocks, &mut kept))
                .with_context(|| format!("reading its group {number}"))?;
        }
    }
    Ok(Used {
        ranges: kept.into_ranges(),
        end: superblock.blocks * superblock.block,
    })
}
