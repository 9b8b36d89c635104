//! The superblock: the filesystem's measures.

use anyhow::{Context, Result, ensure};

use super::super::fields::BigEndian;
use super::checksum_is_right;
use crate::window::Window;

/// finobt, rmapbt, reflink, inobtcount
const KNOWN_READ_ONLY: u32 = 0xf;
/// ftype, sparse inodes, meta_uuid, bigtime, large extent counts, exchange,
/// parent pointers
const KNOWN_INCOMPATIBLE: u32 = 0xef;
const META_UUID: u32 = 0x4;
const NEEDS_REPAIR: u32 = 0x10;

/// What the superblock says, checked.
#[derive(Debug)]
pub struct Superblock {
    /// Bytes in a block.
    pub block: u64,
    /// Bytes in a sector: each group's headers have one each.
    pub sector: u64,
    /// Blocks of the filesystem.
    pub blocks: u64,
    /// Blocks in each group but the last.
    pub group_blocks: u64,
    /// Number of groups.
    pub groups: u64,
    /// Byte at which the log starts.
    pub log: u64,
    /// Its length in bytes.
    pub log_length: u64,
    /// What structures name it by, where they have checksums (version 5).
    pub uuid: Option<[u8; 16]>,
}

impl Superblock {
    /// Reads it, and refuses what this reader does not know.
    pub fn read(window: &Window) -> Result<Self> {
        let bytes = window.read(0, 512).context("reading its superblock")?;
        let fields = BigEndian(&bytes);
        ensure!(fields.bytes(0)? == *b"XFSB", "it has no superblock");
        let sector = u64::from(fields.u16(102)?);
        ensure!(
            sector.is_power_of_two() && (512..=32768).contains(&sector),
            "its sector size is wrong"
        );
        let version = fields.u16(100)? & 0xf;
        ensure!(matches!(version, 4 | 5), "it is of version {version}");
        let uuid = if version == 5 {
            let whole = window.read(0, usize::try_from(sector)?)?;
            ensure!(
                checksum_is_right(&whole, 224)?,
                "the checksum of its superblock is wrong"
            );
            Some(version_five(fields)?)
        } else {
            None
        };
        ensure!(fields.u8(126)? == 0, "its making was not finished");
        ensure!(fields.u64(16)? == 0, "it has a realtime section");
        let superblock = Self::measures(fields, sector, uuid)?;
        superblock.check_measures(window)?;
        Ok(superblock)
    }

    fn measures(fields: BigEndian, sector: u64, uuid: Option<[u8; 16]>) -> Result<Self> {
        let block = u64::from(fields.u32(4)?);
        ensure!(
            block.is_power_of_two() && (512..=65536).contains(&block) && block >= sector,
            "its block size is wrong"
        );
        let group_blocks = u64::from(fields.u32(84)?);
        let log = fields.u64(48)?;
        ensure!(log != 0, "its log is on another device");
        // A block's number has its group in the upper bits.
        let bits = u32::from(fields.u8(124)?);
        ensure!(bits < 32, "its group size is wrong");
        let log_block = (log >> bits)
            .checked_mul(group_blocks)
            .and_then(|start| start.checked_add(log & ((1 << bits) - 1)))
            .and_then(|at| at.checked_mul(block));
        Ok(Self {
            block,
            sector,
            blocks: fields.u64(8)?,
            group_blocks,
            groups: fields.u32(88)?.into(),
            log: log_block.context("its log lies past its end")?,
            log_length: u64::from(fields.u32(96)?) * block,
            uuid,
        })
    }

    /// What the reader relies on, and what bounds its work.
    fn check_measures(&self, window: &Window) -> Result<()> {
        let end = self.blocks.checked_mul(self.block);
        ensure!(
            end.is_some_and(|end| end <= window.length()),
            "it is larger than its partition"
        );
        ensure!(
            self.group_blocks > 0 && self.groups == self.blocks.div_ceil(self.group_blocks),
            "its groups are not as many as they should be"
        );
        // mkfs.xfs makes none smaller.
        ensure!(
            self.groups == 1 || self.group_blocks * self.block >= 16 << 20,
            "its groups are too small"
        );
        Ok(())
    }

    /// The first block of a group.
    pub fn group_start(&self, group: u64) -> u64 {
        group * self.group_blocks
    }

    /// The blocks of a group.
    pub fn group_length(&self, group: u64) -> u64 {
        self.group_blocks.min(self.blocks - self.group_start(group))
    }
}

/// Checks the features, and returns the name that structures have.
fn version_five(fields: BigEndian) -> Result<[u8; 16]> {
    let (_, incompatible) = features(fields)?;
    fields.bytes(if incompatible & META_UUID == 0 {
        32
    } else {
        248
    })
}

/// The features of a superblock of version 5: those that a reader may ignore, and
/// those that it must know.
///
/// # Errors
/// One is unknown here, or the filesystem needs repair.
pub fn features(superblock: BigEndian) -> Result<(u32, u32)> {
    let (read_only, incompatible) = (superblock.u32(212)?, superblock.u32(216)?);
    ensure!(
        incompatible & NEEDS_REPAIR == 0,
        "it needs repair: run xfs_repair on it"
    );
    let unknown = (
        read_only & !KNOWN_READ_ONLY,
        incompatible & !KNOWN_INCOMPATIBLE,
    );
    ensure!(
        unknown == (0, 0),
        "it has features that are not known (ro_compat {:#x}, incompat {:#x})",
        unknown.0,
        unknown.1
    );
    Ok((read_only, incompatible))
}
