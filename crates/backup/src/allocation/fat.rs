//! FAT12, FAT16 and FAT32: all before the data area, and each cluster that
//! either copy of the table calls taken.
//!
//! Not here: exFAT.
//!
//! There is no journal. A volume that was not unmounted may have a directory
//! entry whose first cluster the table still calls free, and the file can be
//! read nevertheless: such a volume gives up.
//! See <https://academy.cba.mit.edu/classes/networking_communications/SD/FAT.pdf>.

use anyhow::{Result, ensure};

use super::Used;
use super::fields::LittleEndian;
use super::kept::Kept;
use crate::window::Window;

/// The bytes in use.
pub fn used(window: &Window) -> Result<Used> {
    let volume = Volume::read(window)?;
    let mut kept = Kept::default();
    kept.add(0..volume.data);
    // A rest too small for a cluster.
    kept.add(volume.data + u64::from(volume.clusters) * volume.cluster..volume.end);
    for table in 0..volume.tables {
        volume.keep_taken(window, table, &mut kept)?;
    }
    Ok(Used {
        ranges: kept.into_ranges(),
        end: volume.end,
    })
}

/// Where a volume's parts are. Lengths and offsets in bytes.
#[derive(Debug)]
struct Volume {
    /// Bits of a table's entry: 12, 16 or 32.
    bits: u64,
    /// Number of copies of the table.
    tables: u64,
    first_table: u64,
    table: u64,
    data: u64,
    cluster: u64,
    clusters: u32,
    end: u64,
}

impl Volume {
    fn read(window: &Window) -> Result<Self> {
        let boot = window.read(0, 512)?;
        let boot = LittleEndian(&boot);
        ensure!(boot.u16(510)? == 0xaa55, "its boot sector has no signature");
        let volume = Self::of(boot)?;
        ensure!(
            volume.end <= window.length(),
            "it is larger than its partition"
        );
        volume.check_unmounted(window, boot)?;
        Ok(volume)
    }

    /// From the boot sector alone.
    fn of(boot: LittleEndian) -> Result<Self> {
        let sector = u64::from(boot.u16(11)?);
        let per_cluster = u64::from(boot.u8(13)?);
        let reserved = u64::from(boot.u16(14)?);
        let tables = u64::from(boot.u8(16)?);
        ensure!(
            sector.is_power_of_two() && (512..=4096).contains(&sector),
            "it has sectors of {sector} bytes"
        );
        ensure!(per_cluster.is_power_of_two(), "its cluster size is wrong");
        ensure!(reserved > 0 && tables > 0, "its boot sector is wrong");
        // As Linux tells FAT32 from the others.
        let wide = boot.u16(22)? == 0;
        let table = either(boot.u16(22)?, boot.u32(36)?);
        let root = if wide {
            0
        } else {
            (u64::from(boot.u16(17)?) * 32).div_ceil(sector)
        };
        let sectors = either(boot.u16(19)?, boot.u32(32)?);
        let data = reserved + tables * table + root;
        let clusters = sectors.saturating_sub(data) / per_cluster;
        let bits = match clusters {
            _ if wide => 32,
            ..=4084 => 12,
            _ => 16,
        };
        let most = if bits == 32 { 0x0fff_fff5 } else { 65_524 };
        ensure!(
            (1..=most).contains(&clusters),
            "it has {clusters} clusters with table entries of {bits} bits"
        );
        ensure!(
            (clusters + 2) * bits <= table * sector * 8,
            "its table is too small"
        );
        Ok(Self {
            bits,
            tables,
            first_table: reserved * sector,
            table: table * sector,
            data: data * sector,
            cluster: per_cluster * sector,
            clusters: u32::try_from(clusters)?,
            end: sectors * sector,
        })
    }

    /// Linux notes it in the boot sector, others in the table's second entry.
    fn check_unmounted(&self, window: &Window, boot: LittleEndian) -> Result<()> {
        let state = boot.u8(if self.bits == 32 { 65 } else { 37 })?;
        let table = window.read(self.first_table, 8)?;
        let table = LittleEndian(&table);
        let clean = match self.bits {
            32 => table.u32(4)? & 1 << 27 != 0,
            16 => table.u16(2)? & 1 << 15 != 0,
            _ => true,
        };
        ensure!(
            state & 1 == 0 && clean,
            "it was not unmounted: check it with fsck.vfat"
        );
        Ok(())
    }

    /// Keeps the clusters that one copy of the table does not call free.
    fn keep_taken(&self, window: &Window, table: u64, kept: &mut Kept) -> Result<()> {
        // A whole number of entries of any size.
        const PIECE: u64 = 3 << 18;
        let length = ((u64::from(self.clusters) + 2) * self.bits).div_ceil(8);
        let start = self.first_table + table * self.table;
        let mut number = 0;
        for at in (0..length).step_by(PIECE as usize) {
            let piece = window.read(start + at, (length - at).min(PIECE) as usize)?;
            self.each_taken(&piece, &mut number, |cluster| {
                let offset = self.data + u64::from(cluster) * self.cluster;
                kept.add(offset..offset + self.cluster);
            });
        }
        Ok(())
    }

    /// Calls `take` with the numbers, from 0, of the clusters taken by a piece
    /// of the table that starts with entry `number`.
    fn each_taken(&self, piece: &[u8], number: &mut u32, mut take: impl FnMut(u32)) {
        let mut entry = |taken: bool| {
            let cluster = number.checked_sub(2).filter(|at| *at < self.clusters);
            if let Some(cluster) = cluster.filter(|_| taken) {
                take(cluster);
            }
            *number += 1;
        };
        match self.bits {
            // Two entries in three bytes; the last may be alone in two.
            12 => piece.chunks(3).for_each(|pair| {
                let byte = |at: usize| pair.get(at).copied().unwrap_or(0);
                entry(byte(0) != 0 || byte(1) & 0x0f != 0);
                entry(byte(1) & 0xf0 != 0 || byte(2) != 0);
            }),
            16 => piece
                .chunks_exact(2)
                .for_each(|bytes| entry(bytes != [0; 2])),
            // The highest four bits are not part of the entry.
            _ => piece
                .chunks_exact(4)
                .for_each(|bytes| entry(bytes[..3] != [0; 3] || bytes[3] & 0x0f != 0)),
        }
    }
}

/// The narrow field, or the wide one that newer volumes use.
fn either(narrow: u16, wide: u32) -> u64 {
    match narrow {
        0 => wide.into(),
        _ => narrow.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bits: u64, clusters: u32, table: &[u8]) -> Vec<u32> {
        let volume = Volume {
            bits,
            tables: 1,
            first_table: 0,
            table: 0,
            data: 0,
            cluster: 512,
            clusters,
            end: 0,
        };
        let (mut number, mut taken) = (0, Vec::new());
        volume.each_taken(table, &mut number, |cluster| taken.push(cluster));
        taken
    }

    #[test]
    fn entries_of_every_width() {
        let twelve = [0xf8, 0xff, 0xff, 0x00, 0x10, 0x00, 0x00, 0x00, 0xff, 0x0f];
        assert_eq!(taken(12, 4, &twelve), [1, 3]);
        // An odd number of entries ends in two bytes.
        assert_eq!(taken(12, 1, &[0xf8, 0xff, 0xff, 0x00, 0x0f]), [0]);
        let sixteen = [0xf8, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0, 0, 0];
        assert_eq!(taken(16, 4, &sixteen), [1, 2]);
        assert_eq!(taken(16, 2, &sixteen), [1]);
        let mut wide = [0; 20];
        wide[11] = 0xf0; // cluster 0: nothing in the 28 bits that count
        wide[14] = 1;
        wide[19] = 0x0f;
        assert_eq!(taken(32, 3, &wide), [1, 2]);
    }
}
