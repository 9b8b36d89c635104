//! The journal's records, in the four forms that its features give them.

use anyhow::{Context, Result, ensure};

use crate::allocation::checksum::{agree, crc32c_raw};
use crate::allocation::fields::BigEndian;

const CHECKSUMS_V1: u32 = 0x1;

const WIDE: u32 = 0x2;
const CHECKSUMS_V2: u32 = 0x8;
const CHECKSUMS_V3: u32 = 0x10;
/// Revocations and the three above; neither asynchronous nor fast commits.
const KNOWN: u32 = 0x1 | WIDE | CHECKSUMS_V2 | CHECKSUMS_V3;

/// Bytes before a record's content.
const HEADER: usize = 12;
/// Bytes of the checksum at the end of descriptors and revocations.
const END: usize = 4;

const ESCAPED: u16 = 1;
const SAME_UUID: u16 = 2;
const DELETED: u16 = 4;
const LAST: u16 = 8;

/// Which form the records have.
#[derive(Debug)]
pub struct Format {
    features: u32,
    /// What checksums go on from.
    seed: u32,
}

/// One block of a transaction.
#[derive(Debug, PartialEq, Eq)]
pub struct Tag {
    /// The block on the device.
    pub block: u64,
    /// Whether its first four bytes were zeroed.
    pub escaped: bool,
    checksum: u32,
}

impl Format {
    /// From the journal's superblock.
    pub fn new(superblock: BigEndian) -> Result<Self> {
        let (compatible, features) = (superblock.u32(36)?, superblock.u32(40)?);
        let read_only = superblock.u32(44)?;
        ensure!(
            compatible & CHECKSUMS_V1 == 0 && features & !KNOWN == 0 && read_only == 0,
            "it has features that are not known (compat {compatible:#x}, incompat {features:#x})"
        );
        let format = Self {
            features,
            seed: crc32c_raw(!0, &superblock.bytes::<16>(48)?),
        };
        let both = CHECKSUMS_V2 | CHECKSUMS_V3;
        ensure!(features & both != both, "it has two kinds of checksums");
        ensure!(
            !format.checksums() || superblock.u8(80)? == 4,
            "its checksums are of another kind"
        );
        Ok(format)
    }

    /// Whether records and blocks have checksums.
    pub fn checksums(&self) -> bool {
        self.features & (CHECKSUMS_V2 | CHECKSUMS_V3) != 0
    }

    fn wide(&self) -> bool {
        self.features & WIDE != 0
    }

    fn tag_length(&self) -> usize {
        match (self.features & CHECKSUMS_V3 != 0, self.wide()) {
            (true, _) => 16,
            (false, wide) => {
                let checksum = if self.features & CHECKSUMS_V2 != 0 {
                    2
                } else {
                    0
                };
                checksum + if wide { 12 } else { 8 }
            }
        }
    }

    /// The content of a descriptor or revocation.
    fn room(&self, block: &[u8]) -> usize {
        block.len() - if self.checksums() { END } else { 0 }
    }

    /// The tags of a descriptor.
    pub fn tags(&self, block: &[u8]) -> Result<Vec<Tag>> {
        let fields = BigEndian(block);
        let (mut tags, mut at, room) = (Vec::new(), HEADER, self.room(block));
        while at + self.tag_length() <= room {
            let flags = fields.u16(at + 6)?;
            // No kernel writes it; what it would mean is not known.
            ensure!(flags & DELETED == 0, "it has a deleted block");
            let high = if self.wide() { fields.u32(at + 8)? } else { 0 };
            let checksum = if self.features & CHECKSUMS_V3 != 0 {
                fields.u32(at + 12)?
            } else {
                fields.u16(at + 4)?.into()
            };
            tags.push(Tag {
                block: u64::from(high) << 32 | u64::from(fields.u32(at)?),
                escaped: flags & ESCAPED != 0,
                checksum,
            });
            at += self.tag_length() + if flags & SAME_UUID == 0 { 16 } else { 0 };
            if flags & LAST != 0 {
                break;
            }
        }
        Ok(tags)
    }

    /// The blocks that a record revokes.
    pub fn revoked(&self, block: &[u8]) -> Result<Vec<u64>> {
        let end = BigEndian(block).u32(HEADER)? as usize;
        let list = block
            .get(HEADER + 4..end)
            .filter(|_| end <= self.room(block));
        let list = list.context("a list of revoked blocks is too long")?;
        let size = if self.wide() { 8 } else { 4 };
        let number = |entry: &[u8]| {
            let bytes = entry.iter();
            bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        Ok(list.chunks_exact(size).map(number).collect())
    }

    /// Checks the checksum at the end of a descriptor or revocation.
    pub fn check_end(&self, block: &[u8]) -> Result<()> {
        self.check(block, block.len() - END)
    }

    /// Checks a commit's.
    pub fn check_commit(&self, block: &[u8]) -> Result<()> {
        self.check(block, 16)
    }

    fn check(&self, block: &[u8], at: usize) -> Result<()> {
        if self.checksums() {
            let crc = crc32c_raw(crc32c_raw(self.seed, &block[..at]), &[0; 4]);
            ensure!(
                agree(crc32c_raw(crc, &block[at + 4..]), BigEndian(block).u32(at)?),
                "the checksum of a record is wrong"
            );
        }
        Ok(())
    }

    /// Checks that of a logged block.
    pub fn check_data(&self, tag: &Tag, sequence: u32, data: &[u8]) -> Result<()> {
        let crc = crc32c_raw(crc32c_raw(self.seed, &sequence.to_be_bytes()), data);
        let mask = if self.features & CHECKSUMS_V3 != 0 {
            !0
        } else {
            0xffff
        };
        ensure!(
            agree(crc & mask, tag.checksum),
            "the checksum of a logged block is wrong"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(features: u32, entries: &[&[u8]]) -> Vec<Tag> {
        let mut block = vec![0; 128];
        let list = entries.concat();
        block[HEADER..HEADER + list.len()].copy_from_slice(&list);
        let format = Format { features, seed: 0 };
        format.tags(&block).unwrap()
    }

    #[test]
    fn tags_of_every_form() {
        let tag = |block, escaped, checksum| Tag {
            block,
            escaped,
            checksum,
        };
        // The first has the journal's UUID after it.
        let first: &[u8] = &[0, 0, 1, 2, 0, 0, 0, 0];
        let last: &[u8] = &[0, 0, 0, 7, 0, 0, 0, 0xb];
        let wanted = [tag(0x102, false, 0), tag(7, true, 0)];
        assert_eq!(tags(0, &[first, &[9; 16], last]), wanted);
        let (high, none) = (&[0, 0, 0, 1][..], &[0; 4][..]);
        let wanted = [tag(0x1_0000_0102, false, 0), tag(7, true, 0)];
        assert_eq!(tags(WIDE, &[first, high, &[9; 16], last, none]), wanted);
        let summed: &[u8] = &[0, 0, 0, 7, 0xab, 0xcd, 0, 0xa];
        let pad = &[0; 2][..];
        let wanted = [tag(7, false, 0xabcd)];
        assert_eq!(tags(CHECKSUMS_V2, &[summed, pad]), wanted);
        assert_eq!(tags(CHECKSUMS_V2 | WIDE, &[summed, none, pad]), wanted);
        let third: &[u8] = &[0, 0, 0, 7, 0, 0, 0, 0xa, 0, 0, 0, 0, 1, 2, 3, 4];
        let wanted = [tag(7, false, 0x0102_0304)];
        assert_eq!(tags(CHECKSUMS_V3 | WIDE, &[third]), wanted);
    }

    #[test]
    fn revoked_blocks_of_both_widths() {
        let mut block = vec![0; 64];
        block[HEADER + 3] = 32;
        block[16..32].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]);
        let revoked = |features| Format { features, seed: 0 }.revoked(&block);
        assert_eq!(revoked(0).unwrap(), [1, 2, 3, 4]);
        assert_eq!(revoked(WIDE).unwrap(), [0x1_0000_0002, 0x3_0000_0004]);
        let mut long = block.clone();
        long[HEADER + 3] = 65;
        let format = Format {
            features: 0,
            seed: 0,
        };
        assert!(format.revoked(&long).is_err());
    }
}
