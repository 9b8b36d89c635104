//! The superblock: where the trees start, and whether they tell all.

use anyhow::{Context, Result, ensure};

use super::super::checksum::{agree, crc32c};
use super::super::fields::LittleEndian;
use super::tree::Pointer;
use crate::window::Window;

/// Where superblocks are, if the device is that long.
pub const COPIES: [u64; 3] = [64 << 10, 64 << 20, 256 << 30];
/// Bytes of a superblock.
pub const LENGTH: u64 = 4096;

/// mixed backrefs, default subvolume, mixed groups, lzo, zstd, big metadata,
/// many hard links, raid56, skinny metadata, no holes, metadata uuid, raid1c34;
/// of the profiles, the chunks tell.
const KNOWN_INCOMPATIBLE: u64 = 0xfff;
/// free space tree, the same valid, verity, block group tree
const KNOWN_READ_ONLY: u64 = 0xf;
const METADATA_UUID: u64 = 0x400;

/// The flag of a superblock that was written; others stand for a change that
/// was not finished, or for errors.
const WRITTEN: u64 = 1;

const ROOT_TREE: u64 = 1;
const CHUNK_TREE: u64 = 3;

/// What the superblock says, checked.
#[derive(Debug)]
pub struct Superblock {
    /// Bytes in a block of a tree.
    pub node: u64,
    /// Bytes in all extents.
    pub bytes_used: u64,
    /// The device's number.
    pub device: u64,
    /// The device's length.
    pub device_length: u64,
    /// No block of a tree is younger.
    pub generation: u64,
    /// What blocks of trees name the filesystem by.
    pub uuid: [u8; 16],
    /// The tree of roots.
    pub root: Pointer,
    /// The tree of chunks.
    pub chunk_root: Pointer,
    /// The chunks that the tree of chunks lies in, as items.
    pub system_chunks: Vec<u8>,
}

impl Superblock {
    /// Reads the first one, and refuses what this reader does not know.
    pub fn read(window: &Window) -> Result<Self> {
        let bytes = window
            .read(COPIES[0], LENGTH as usize)
            .context("reading its superblock")?;
        let fields = LittleEndian(&bytes);
        ensure!(
            fields.bytes(64)? == *b"_BHRfS_M" && fields.u64(48)? == COPIES[0],
            "it has no superblock"
        );
        ensure!(
            fields.u16(196)? == 0,
            "its checksums are not of the kind that is known, crc32c"
        );
        ensure!(
            agree(crc32c(&bytes[32..]), fields.u32(0)?),
            "the checksum of its superblock is wrong"
        );
        check_features(fields)?;
        let superblock = Self::measures(fields)?;
        superblock.check_measures(fields, window)?;
        Ok(superblock)
    }

    fn measures(fields: LittleEndian) -> Result<Self> {
        let listed = fields.u32(160)? as usize;
        let chunks: [u8; 2048] = fields.bytes(811)?;
        let chunks = chunks.get(..listed);
        let named = fields.u64(188)? & METADATA_UUID != 0;
        Ok(Self {
            node: fields.u32(148)?.into(),
            bytes_used: fields.u64(120)?,
            device: fields.u64(201)?,
            device_length: fields.u64(209)?,
            generation: fields.u64(72)?,
            uuid: fields.bytes(if named { 571 } else { 32 })?,
            root: Pointer {
                tree: ROOT_TREE,
                logical: fields.u64(80)?,
                generation: fields.u64(72)?,
                level: fields.u8(198)?,
            },
            chunk_root: Pointer {
                tree: CHUNK_TREE,
                logical: fields.u64(88)?,
                generation: fields.u64(164)?,
                level: fields.u8(199)?,
            },
            system_chunks: chunks.context("its list of chunks is too long")?.to_vec(),
        })
    }

    fn check_measures(&self, fields: LittleEndian, window: &Window) -> Result<()> {
        ensure!(
            self.node.is_power_of_two() && (4096..=65536).contains(&self.node),
            "its node size is wrong"
        );
        ensure!(fields.u64(136)? == 1, "it has {} devices", fields.u64(136)?);
        ensure!(
            fields.u64(112)? <= window.length() && self.device_length <= window.length(),
            "it is larger than its partition"
        );
        Ok(())
    }
}

fn check_features(fields: LittleEndian) -> Result<()> {
    let incompatible = fields.u64(188)? & !KNOWN_INCOMPATIBLE;
    let read_only = fields.u64(180)? & !KNOWN_READ_ONLY;
    ensure!(
        incompatible | read_only == 0,
        "it has features that are not known (incompat {incompatible:#x}, \
         compat_ro {read_only:#x})"
    );
    let flags = fields.u64(56)?;
    ensure!(
        flags == WRITTEN,
        "it has errors, or a change was not finished (flags {flags:#x})"
    );
    ensure!(
        fields.u64(96)? == 0,
        "its log is not empty: mount and unmount it once"
    );
    Ok(())
}
