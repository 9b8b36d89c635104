//! Booting by a PC BIOS: GRUB's boot sector in the MBR, its core image in the
//! gap before the first partition or in a BIOS boot partition.
//!
//! The BIOS loads the first sector, whose code loads the core image's first
//! sector, whose block list says where the rest lies. The positions of those
//! fields are GRUB's interface between boot.img, diskboot.img and whoever
//! installs them (include/grub/i386/pc/boot.h and grub-bios-setup's source).

use anyhow::{Context, Result, bail};
use p2v_sys::disk::Disk;
use p2v_sys::loopdev::Extent;

use crate::image::boot_sector;

const SECTOR: u64 = 512;

/// In boot.img: the sector of the core image's first sector, 8 bytes.
const BOOT_KERNEL_SECTOR: usize = 0x5c;
/// In boot.img: a jump that trusts the drive number the BIOS passes, 2 bytes.
const BOOT_DRIVE_CHECK: usize = 0x66;
/// In an MBR: the BIOS parameter block's place, which some firmware reads.
const BPB: std::ops::Range<usize> = 0x03..0x5a;
/// In an MBR: disk signature, partition table and boot signature.
const TABLE: std::ops::Range<usize> = 0x1b8..0x200;
/// In the core image's first sector: start of the rest (8 bytes), its length
/// (2 bytes) and the segment it is loaded to (2 bytes), in sectors.
const BLOCK_LIST: usize = 0x1f4;
/// Where GRUB wants its core image's rest to be loaded.
const CORE_SEGMENT: u16 = 0x820;

/// Installs GRUB's core image into `area` of the disk, then its boot sector,
/// which makes the disk bootable, as the last write.
///
/// # Errors
/// GRUB is not installed here, the disk's sectors are not of 512 bytes, or
/// `core` does not fit into `area`: nothing was written then. Or writing
/// failed.
pub fn install(disk: &Disk, area: Extent, core: &[u8]) -> Result<()> {
    let boot = boot_sector()?;
    let doing = || format!("installing GRUB on {}", disk.path().display());
    if disk.sector_size() != 512 {
        bail!(
            "{}: a BIOS boots only from disks with sectors of 512 bytes, and it has {}",
            doing(),
            disk.sector_size()
        );
    }
    let mut mbr = [0; SECTOR as usize];
    disk.read_at(&mut mbr, 0)?;
    let (core, mbr) = place(&boot, core, &mbr, area).with_context(doing)?;
    disk.write_at(&core, area.offset)?;
    disk.sync()?;
    disk.write_at(&mbr, 0)?;
    disk.sync()
}

/// What belongs into `area`, and then, as the last write, into the first
/// sector, which has been `mbr` so far. `boot` is GRUB's boot.img.
pub fn place(
    boot: &[u8],
    core: &[u8],
    mbr: &[u8; 512],
    area: Extent,
) -> Result<(Vec<u8>, [u8; 512])> {
    let core = placed_core(core, area)?;
    let mbr = merged_mbr(mbr, boot, area.offset / SECTOR)?;
    Ok((core, mbr))
}

/// The gap between the MBR and the first partition, which starts at byte
/// `first`.
pub fn gap(first: u64) -> Extent {
    Extent {
        offset: SECTOR,
        length: first.saturating_sub(SECTOR),
    }
}

/// The core image, padded to whole sectors, with the block list for its place.
fn placed_core(core: &[u8], area: Extent) -> Result<Vec<u8>> {
    let mut core = core.to_vec();
    core.resize(core.len().next_multiple_of(SECTOR as usize), 0);
    if core.len() as u64 > area.length {
        bail!(
            "its core image of {} bytes does not fit into the {} bytes before the first \
             partition; set PARTITION_ALIGNMENT to 2048 or more",
            core.len(),
            area.length
        );
    }
    let rest = u16::try_from(core.len() as u64 / SECTOR - 1).context("a core image too large")?;
    let start = area.offset / SECTOR + 1;
    let list = core
        .get_mut(BLOCK_LIST..BLOCK_LIST + 12)
        .context("a core image shorter than a sector")?;
    list[..8].copy_from_slice(&start.to_le_bytes());
    list[8..10].copy_from_slice(&rest.to_le_bytes());
    list[10..].copy_from_slice(&CORE_SEGMENT.to_le_bytes());
    Ok(core)
}

/// GRUB's boot sector with the disk's own parameter block, signature and table.
fn merged_mbr(old: &[u8; 512], boot: &[u8], core_sector: u64) -> Result<[u8; 512]> {
    let mut mbr: [u8; 512] = boot
        .try_into()
        .context("GRUB's boot.img is not one sector long")?;
    mbr[BPB].copy_from_slice(&old[BPB]);
    mbr[TABLE].copy_from_slice(&old[TABLE]);
    mbr[BOOT_KERNEL_SECTOR..BOOT_KERNEL_SECTOR + 8].copy_from_slice(&core_sector.to_le_bytes());
    // Two no-operations: use the drive that GRUB was loaded from, since some
    // firmware passes another number.
    mbr[BOOT_DRIVE_CHECK..BOOT_DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    Ok(mbr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_survives_and_the_sector_is_set() {
        let mut old = [0_u8; 512];
        old[0x1b8..0x1bc].copy_from_slice(b"SIGN");
        old[510..].copy_from_slice(&[0x55, 0xaa]);
        let boot = [7_u8; 512];
        let mbr = merged_mbr(&old, &boot, 2048).unwrap();
        assert_eq!(&mbr[0x1b8..0x1bc], b"SIGN");
        assert_eq!(&mbr[510..], &[0x55, 0xaa]);
        assert_eq!(mbr[0x5c..0x64], 2048_u64.to_le_bytes());
        assert!(merged_mbr(&old, &boot[..100], 1).is_err());
    }

    #[test]
    fn a_core_image_that_does_not_fit_is_refused_with_the_remedy() {
        let core = vec![1; 40_000];
        let error = placed_core(&core, gap(63 * 512)).unwrap_err();
        assert!(format!("{error:#}").contains("PARTITION_ALIGNMENT"));
        let placed = placed_core(&core, gap(1 << 20)).unwrap();
        assert_eq!(placed.len() % 512, 0);
        assert_eq!(placed[0x1f4..0x1fc], 2_u64.to_le_bytes());
        assert_eq!(placed[0x1fc..0x1fe], 78_u16.to_le_bytes());
    }
}
