//! Chunks: which logical bytes lie where on the device.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};

use super::super::fields::LittleEndian;
use super::superblock::Superblock;
use super::tree::{Key, Reader};
use crate::window::Window;

const CHUNK_ITEM: u8 = 228;
/// Bytes of a key.
const KEY: usize = 17;
/// Bytes of a chunk's item before its first stripe, and of each stripe.
const HEAD: usize = 48;
const STRIPE: usize = 32;

/// Data, system and metadata; all other bits stand for a profile.
const CONTENT: u64 = 0x7;
const DUP: u64 = 0x20;

/// Far more than the chunks of 1 GiB of the largest disks.
const MOST: usize = 1 << 18;

#[derive(Debug, Clone)]
struct Chunk {
    logical: u64,
    length: u64,
    /// On the device, once or twice.
    places: Vec<u64>,
}

/// All chunks, by their logical start; none overlap.
#[derive(Debug, Default)]
pub struct Chunks(Vec<Chunk>);

impl Chunks {
    /// Those that the superblock lists lead to the tree that has all.
    pub fn read(superblock: &Superblock, window: &Window) -> Result<Self> {
        let system = Self::listed(superblock).context("reading its list of chunks")?;
        let mut all = Self::default();
        Reader::new(superblock, &system, window)
            .each_item(superblock.chunk_root, &mut |item| {
                if item.key.kind == CHUNK_ITEM {
                    all.push(chunk(item.key, item.data, superblock)?)?;
                }
                Ok(())
            })
            .context("reading its tree of chunks")?;
        Ok(all)
    }

    fn listed(superblock: &Superblock) -> Result<Self> {
        let (mut chunks, mut rest) = (Vec::new(), &superblock.system_chunks[..]);
        while !rest.is_empty() {
            let key = Key::read(rest)?;
            ensure!(key.kind == CHUNK_ITEM, "an item is not a chunk");
            let item = &rest[KEY..];
            let chunk = chunk(key, item, superblock)?;
            let length = HEAD + STRIPE * chunk.places.len();
            rest = item.get(length..).context("it ends too early")?;
            chunks.push(chunk);
        }
        chunks.sort_by_key(|chunk| chunk.logical);
        let mut listed = Self::default();
        for chunk in chunks {
            listed.push(chunk)?;
        }
        Ok(listed)
    }

    fn push(&mut self, chunk: Chunk) -> Result<()> {
        let end = self.0.last().map_or(0, |last| last.logical + last.length);
        ensure!(
            chunk.logical >= end,
            "two chunks overlap at {}",
            chunk.logical
        );
        ensure!(self.0.len() < MOST, "it has too many chunks");
        self.0.push(chunk);
        Ok(())
    }

    /// The places on the device of a logical range.
    pub fn places(&self, range: Range<u64>) -> Result<impl Iterator<Item = Range<u64>>> {
        let after = self.0.partition_point(|chunk| chunk.logical <= range.start);
        let chunk = after.checked_sub(1).map(|index| &self.0[index]);
        let chunk = chunk.filter(|chunk| range.end <= chunk.logical + chunk.length);
        let Some(chunk) = chunk else {
            bail!("{} to {} lie in no chunk", range.start, range.end);
        };
        let (offset, length) = (range.start - chunk.logical, range.end - range.start);
        Ok(chunk
            .places
            .iter()
            .map(move |place| place + offset..place + offset + length))
    }
}

/// From its key and item.
fn chunk(key: Key, item: &[u8], superblock: &Superblock) -> Result<Chunk> {
    let fields = LittleEndian(item);
    let (logical, length) = (key.offset, fields.u64(0)?);
    ensure!(
        length > 0 && length <= superblock.device_length && logical.checked_add(length).is_some(),
        "a chunk at {logical} has {length} bytes"
    );
    let profile = fields.u64(24)? & !CONTENT;
    let stripes = match profile {
        0 => 1,
        DUP => 2,
        _ => bail!("it has a chunk of profile {profile:#x}"),
    };
    ensure!(
        usize::from(fields.u16(44)?) == stripes,
        "the chunk at {logical} has {} stripes",
        fields.u16(44)?
    );
    let place = |stripe: usize| -> Result<u64> {
        let at = HEAD + STRIPE * stripe;
        let (device, offset) = (fields.u64(at)?, fields.u64(at + 8)?);
        let end = offset.checked_add(length);
        ensure!(
            device == superblock.device && end.is_some_and(|end| end <= superblock.device_length),
            "the chunk at {logical} lies on another device, or past its end"
        );
        Ok(offset)
    };
    Ok(Chunk {
        logical,
        length,
        places: (0..stripes).map(place).collect::<Result<_>>()?,
    })
}
