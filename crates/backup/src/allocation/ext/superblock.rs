//! The superblock: the filesystem's measures, and whether its bitmaps hold all.

use anyhow::{Result, bail, ensure};

use super::super::checksum::{agree, crc16, crc32c_raw};
use super::super::fields::LittleEndian;
use super::features::{Features, compatible, incompatible, read_only};
use crate::window::Window;

const VALID: u16 = 1;
const ERRORS: u16 = 2;
const ORPHANS: u16 = 4;

/// What a descriptor's checksum goes on from.
#[derive(Debug, Clone, Copy)]
pub enum Checksums {
    /// Older filesystems have none.
    None,
    /// CRC-16 after this, of descriptors alone.
    Crc16(u16),
    /// CRC-32C after this, of descriptors and bitmaps.
    Crc32c(u32),
}

/// What the superblock says, checked.
#[derive(Debug)]
pub struct Superblock {
    /// Bytes in a block.
    pub block: u64,
    /// Blocks in a cluster, which one bit of a bitmap stands for.
    pub ratio: u64,
    /// Blocks of the filesystem.
    pub blocks: u64,
    /// The block with which group 0 starts.
    pub first_block: u64,
    /// Blocks in each group but the last.
    pub group_blocks: u64,
    /// Blocks of a group's inode table.
    pub inode_table: u64,
    /// Bytes of a group descriptor.
    pub descriptor: usize,
    /// How checksums are made.
    pub checksums: Checksums,
    /// What it has.
    pub features: Features,
    /// Whether its journal is not empty.
    pub needs_recovery: bool,
    /// Bytes of an inode.
    pub inode: u64,
    /// The journal's inode.
    pub journal: u32,
    first_meta_bg: u64,
    reserved: u64,
    backups: [u32; 2],
}

impl Superblock {
    /// From its 1024 bytes. Refuses a filesystem whose bitmaps, once a journal
    /// has been replayed, may not hold all.
    pub fn new(bytes: &[u8], window: &Window) -> Result<Self> {
        let fields = LittleEndian(bytes);
        ensure!(fields.u16(0x38)? == 0xef53, "it has no superblock");
        let features = Features {
            compatible: fields.u32(0x5c)?,
            incompatible: fields.u32(0x60)?,
            read_only: fields.u32(0x64)?,
        };
        features.check_known()?;
        let checksums = checksums(bytes, &features)?;
        check_state(fields, &features)?;
        let superblock = Self::measures(fields, features, checksums)?;
        superblock.check_measures(window)?;
        Ok(superblock)
    }

    fn measures(fields: LittleEndian, features: Features, checksums: Checksums) -> Result<Self> {
        let (log_block, log_cluster) = (fields.u32(0x18)?, fields.u32(0x1c)?);
        ensure!(log_block <= 6, "its block size is wrong");
        let block = 1024 << log_block;
        let ratio = if features.read_only & read_only::BIGALLOC == 0 {
            1
        } else {
            ensure!(
                (log_block..=19).contains(&log_cluster),
                "its cluster size is wrong"
            );
            1 << (log_cluster - log_block)
        };
        let wide = features.incompatible & incompatible::SIXTY_FOUR_BIT != 0;
        let high = if wide { fields.u32(0x150)? } else { 0 };
        let inode = match fields.u32(0x4c)? {
            0 => 128,
            1 => fields.u16(0x58)?,
            other => bail!("it is of revision {other}"),
        };
        ensure!(
            inode.is_power_of_two() && inode >= 128,
            "its inode size is wrong"
        );
        Ok(Self {
            block,
            ratio,
            blocks: u64::from(high) << 32 | u64::from(fields.u32(0x4)?),
            first_block: fields.u32(0x14)?.into(),
            group_blocks: fields.u32(0x20)?.into(),
            inode_table: (u64::from(fields.u32(0x28)?) * u64::from(inode)).div_ceil(block),
            descriptor: if wide { fields.u16(0xfe)?.into() } else { 32 },
            checksums,
            features,
            needs_recovery: features.incompatible & incompatible::RECOVER != 0,
            inode: inode.into(),
            journal: fields.u32(0xe0)?,
            first_meta_bg: fields.u32(0x104)?.into(),
            reserved: fields.u16(0xce)?.into(),
            backups: [fields.u32(0x24c)?, fields.u32(0x250)?],
        })
    }

    /// What the reader relies on, and what bounds its work.
    fn check_measures(&self, window: &Window) -> Result<()> {
        let end = self.blocks.checked_mul(self.block);
        ensure!(
            end.is_some_and(|end| end <= window.length()),
            "it is larger than its partition"
        );
        let clusters = self.group_blocks / self.ratio;
        ensure!(
            self.group_blocks % (8 * self.ratio) == 0
                && (256..=8 * self.block).contains(&clusters)
                && self.group_blocks >= 256,
            "its groups have {} blocks",
            self.group_blocks
        );
        let first = if self.block == 1024 && self.ratio == 1 {
            1
        } else {
            0
        };
        ensure!(
            self.first_block == first && first < self.blocks,
            "its first block is wrong"
        );
        ensure!(
            self.descriptor.is_power_of_two() && (32..=1024).contains(&self.descriptor),
            "its descriptor size is wrong"
        );
        ensure!(
            (1..=self.group_blocks).contains(&self.inode_table),
            "its inode tables have {} blocks",
            self.inode_table
        );
        ensure!(
            self.reserved <= self.block / 4,
            "its reserved blocks are too many"
        );
        Ok(())
    }

    /// Number of groups.
    pub fn groups(&self) -> u64 {
        (self.blocks - self.first_block).div_ceil(self.group_blocks)
    }

    /// The first block of a group.
    pub fn group_start(&self, group: u64) -> u64 {
        self.first_block + group * self.group_blocks
    }

    /// The blocks of a group.
    pub fn group_length(&self, group: u64) -> u64 {
        self.group_blocks.min(self.blocks - self.group_start(group))
    }

    /// Group descriptors in a block.
    pub fn descriptors_per_block(&self) -> u64 {
        self.block / self.descriptor as u64
    }

    /// The block that holds the `index`th block of descriptors.
    pub fn descriptors_at(&self, index: u64) -> u64 {
        if !self.in_meta_group(index) {
            return 1024 / self.block + 1 + index;
        }
        let group = index * self.descriptors_per_block();
        // Blocks of 1 KiB in clusters: group 0 starts with the boot block.
        let boot = u64::from(group == 0 && self.block == 1024 && self.first_block == 0);
        self.group_start(group) + u64::from(self.has_superblock(group)) + boot
    }

    /// Whether that block of descriptors lies in the groups it describes.
    fn in_meta_group(&self, index: u64) -> bool {
        self.has_meta_groups() && index >= self.first_meta_bg
    }

    fn has_meta_groups(&self) -> bool {
        self.features.incompatible & incompatible::META_BG != 0
    }

    /// How many blocks at the start of a group may hold a superblock and
    /// descriptors: what marks as taken a group whose bitmap was not written.
    pub fn head(&self, group: u64) -> u64 {
        let descriptors = self.groups().div_ceil(self.descriptors_per_block());
        let backup = if self.has_superblock(group) {
            // One more for the boot block.
            2 + descriptors + self.reserved
        } else {
            0
        };
        backup + u64::from(self.has_meta_groups())
    }

    fn has_superblock(&self, group: u64) -> bool {
        if group == 0 {
            return true;
        }
        if self.features.compatible & compatible::SPARSE_SUPER2 != 0 {
            return self.backups.iter().any(|at| u64::from(*at) == group);
        }
        let sparse = self.features.read_only & read_only::SPARSE_SUPER != 0;
        !sparse || group == 1 || [3, 5, 7].iter().any(|base| is_power(group, *base))
    }
}

fn is_power(number: u64, base: u64) -> bool {
    let mut number = number;
    while number > 1 && number % base == 0 {
        number /= base;
    }
    number == 1
}

/// How checksums are made; the superblock's own must be right.
fn checksums(bytes: &[u8], features: &Features) -> Result<Checksums> {
    let fields = LittleEndian(bytes);
    let uuid: [u8; 16] = fields.bytes(0x68)?;
    if features.read_only & read_only::METADATA_CHECKSUMS != 0 {
        ensure!(fields.u8(0x175)? == 1, "its checksums are of another kind");
        ensure!(
            agree(crc32c_raw(!0, &bytes[..0x3fc]), fields.u32(0x3fc)?),
            "the checksum of its superblock is wrong"
        );
        let seeded = features.incompatible & incompatible::CHECKSUM_SEED != 0;
        return Ok(Checksums::Crc32c(if seeded {
            fields.u32(0x270)?
        } else {
            crc32c_raw(!0, &uuid)
        }));
    }
    if features.read_only & read_only::DESCRIPTOR_CRC16 != 0 {
        return Ok(Checksums::Crc16(crc16(!0, &uuid)));
    }
    Ok(Checksums::None)
}

fn check_state(fields: LittleEndian, features: &Features) -> Result<()> {
    let journal = features.compatible & compatible::HAS_JOURNAL != 0;
    let dirty = features.incompatible & incompatible::RECOVER != 0;
    ensure!(
        !journal || fields.u32(0xe0)? != 0,
        "its journal is on another device"
    );
    let state = fields.u16(0x3a)?;
    // Files that were removed while open still have their blocks.
    let orphans = features.read_only & read_only::ORPHANS_PRESENT != 0;
    ensure!(
        state & VALID != 0 && state & ORPHANS == 0 && orphans <= dirty && dirty <= journal,
        "it was not unmounted: check it with fsck"
    );
    ensure!(
        state & ERRORS == 0,
        "errors were found in it: check it with fsck"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers() {
        for (number, base, is) in [(3, 3, true), (25, 5, true), (15, 3, false), (343, 7, true)] {
            assert_eq!(is_power(number, base), is, "{number} {base}");
        }
        assert!(!is_power(0, 3));
    }
}
