//! The disk's layout: which partitions a style has, and the block devices that
//! show them.

use anyhow::{Context, Result, bail};
use p2v_sys::LoopDevice;
use p2v_sys::disk::Disk;
use p2v_sys::filesystem::{self, Filesystem};
use p2v_sys::loopdev::Extent;
use p2v_sys::partition::{self, Label, NewPartition, Role};

use crate::settings::PartitionStyle;

const MIB: u64 = 1 << 20;

/// GRUB's core image is about 150 KiB.
const BIOS_BOOT_SIZE: u64 = MIB;
/// FAT32's least size is 33 MiB; twice that, for a firmware's own tools.
const ESP_SIZE: u64 = 64 * MIB;

/// What a disk must hold besides the files' own bytes, so that the size can be
/// checked before the first write.
const SPARE: u64 = 64 * MIB;

/// A partitioned disk whose parts are attached. Dropping it detaches them; the
/// disk itself stays claimed by its owner.
#[derive(Debug)]
pub struct Layout {
    /// The whole disk as a block device, for hooks.
    pub whole: LoopDevice,
    /// The root filesystem's device.
    pub root: LoopDevice,
    /// The EFI system partition, where the style has one.
    pub esp: Option<LoopDevice>,
    /// Where GRUB's core image for a BIOS goes, where the style boots by BIOS.
    pub boot_area: Option<Extent>,
}

/// The least size of a disk, in bytes, that holds `content` bytes of files.
pub fn needed_size(
    style: PartitionStyle,
    filesystem: Filesystem,
    alignment: u64,
    content: u64,
) -> u64 {
    // Block rounding, inode tables, journal: an eighth covers each of the
    // filesystems at the sizes at hand.
    let root = (content + content / 8 + SPARE).max(filesystem.smallest());
    let around: u64 = match style {
        PartitionStyle::None => 0,
        PartitionStyle::Msdos => alignment,
        PartitionStyle::Gpt => 3 * alignment.max(MIB) + BIOS_BOOT_SIZE + ESP_SIZE + MIB,
    };
    (root + around).next_multiple_of(MIB)
}

/// Partition tables count in sectors, and the instance may see other ones than
/// the node: QEMU shows sectors of 512 bytes, whatever the disk has.
pub fn check_sectors(disk: &Disk, style: PartitionStyle) -> Result<()> {
    if style == PartitionStyle::None || disk.sector_size() == 512 {
        return Ok(());
    }
    bail!(
        "checking the sectors of {}: they have {} bytes, and a partition table needs 512; set \
         PARTITION_STYLE=none and give the instance a kernel of the node (kernel_path, initrd_path)",
        disk.path().display(),
        disk.sector_size()
    )
}

/// Writes the style's partition table to the wiped disk and attaches its parts.
pub fn lay_out(disk: &Disk, style: PartitionStyle, alignment: u64) -> Result<Layout> {
    let whole = disk.part(Extent::default())?;
    let (label, wanted): (_, &[NewPartition]) = match style {
        PartitionStyle::None => {
            let root = disk.part(Extent::default())?;
            return Ok(Layout {
                whole,
                root,
                esp: None,
                boot_area: None,
            });
        }
        PartitionStyle::Msdos => (Label::Dos, &[(Role::Root, None)]),
        // Root last, so that it can grow with the disk.
        PartitionStyle::Gpt => (
            Label::Gpt,
            &[
                (Role::BiosBoot, Some(BIOS_BOOT_SIZE)),
                (Role::Esp, Some(ESP_SIZE)),
                (Role::Root, None),
            ],
        ),
    };
    let made = partition::create(disk.path(), label, alignment, disk.sector_size(), wanted)?;
    // Signatures of earlier uses, of partitions that began there too.
    for partition in &made {
        disk.wipe(partition.extent.offset, partition.extent.length)?;
    }
    let extent = |role| {
        let index = wanted.iter().position(|(wanted, _)| *wanted == role)?;
        made.get(index).map(|partition| partition.extent)
    };
    let root = extent(Role::Root).context("finding the root partition in the new table")?;
    let esp = extent(Role::Esp).map(|esp| disk.part(esp)).transpose()?;
    Ok(Layout {
        whole,
        root: disk.part(root)?,
        esp,
        boot_area: Some(extent(Role::BiosBoot).unwrap_or(p2v_bootloader::bios::gap(root.offset))),
    })
}

impl Layout {
    /// Fails unless a fresh look at the device finds the filesystem `uuid`.
    pub fn check_root(&self, uuid: &str) -> Result<()> {
        let found = filesystem::probe_uuid(self.root.path())?;
        if found != uuid {
            bail!(
                "checking {}: the filesystem's UUID is {found:?} instead of {uuid}",
                self.root.path().display()
            );
        }
        Ok(())
    }

    /// Flushes and detaches every part.
    pub fn close(self) -> Result<()> {
        self.root.close()?;
        self.esp.map_or(Ok(()), LoopDevice::close)?;
        self.whole.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_size_grows_with_content_and_respects_the_filesystem() {
        let of = |style, fs, content| needed_size(style, fs, MIB, content);
        let small = of(PartitionStyle::None, Filesystem::Ext4, 0);
        assert_eq!(small, SPARE);
        assert!(of(PartitionStyle::Msdos, Filesystem::Ext4, 0) > small);
        assert_eq!(of(PartitionStyle::None, Filesystem::Xfs, 0), 300 * MIB);
        let gpt = of(PartitionStyle::Gpt, Filesystem::Ext4, 800 * MIB);
        assert!(gpt > 1000 * MIB && gpt < 1100 * MIB, "{gpt}");
    }
}
