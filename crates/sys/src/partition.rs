//! Partition tables, written and read by sfdisk, which works on files and
//! devices alike and never needs the kernel to know the partitions.

use std::path::Path;

use anyhow::{Result, bail};

use crate::command::Cmd;
use crate::loopdev::Extent;

pub mod table;

/// The kinds of partition table we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// MBR, also called msdos.
    Dos,
    /// GUID partition table.
    Gpt,
}

/// What a new partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A Linux filesystem; marked active on an MBR.
    Root,
    /// GRUB's core image on a GPT.
    BiosBoot,
    /// The EFI system partition.
    Esp,
}

impl Role {
    fn type_code(self, label: Label) -> &'static str {
        match (self, label) {
            (Role::Root, Label::Dos) => "83, bootable",
            (Role::Esp, Label::Dos) => "ef",
            (Role::BiosBoot, Label::Dos) => "da",
            (Role::Root, Label::Gpt) => "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
            (Role::BiosBoot, Label::Gpt) => "21686148-6449-6E6F-744E-656564454649",
            (Role::Esp, Label::Gpt) => "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        }
    }
}

/// A partition to be made: its role and its size in bytes, or `None` for all
/// that is left.
pub type NewPartition = (Role, Option<u64>);

/// A partition as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// First byte and length in bytes.
    pub extent: Extent,
    /// The table's type: two hex digits, or a GUID.
    pub type_code: String,
    /// The partition's own UUID in the table, as in PARTUUID=, lower case.
    pub uuid: Option<String>,
}

/// Writes a new table, each partition starting at a multiple of `alignment`
/// bytes, and reads it back.
///
/// # Errors
/// sfdisk is missing or failed, or did not make what was asked for.
pub fn create(
    disk: &Path,
    label: Label,
    alignment: u64,
    sector_size: u32,
    partitions: &[NewPartition],
) -> Result<Vec<Partition>> {
    let sector = u64::from(sector_size);
    let name = match label {
        Label::Dos => "dos",
        Label::Gpt => "gpt",
    };
    let mut script = format!("label: {name}\nunit: sectors\n");
    let mut start = alignment;
    for (role, size) in partitions {
        let size_field = match size {
            Some(bytes) => format!("size={}, ", bytes.div_ceil(sector)),
            None => String::new(),
        };
        let code = role.type_code(label);
        script += &format!("start={}, {size_field}type={code}\n", start / sector);
        start = (start + size.unwrap_or(0)).next_multiple_of(alignment);
    }
    Cmd::new(
        "sfdisk",
        format!("writing a {name} partition table to {}", disk.display()),
    )
    .args([
        "--quiet",
        "--no-reread",
        "--no-tell-kernel",
        "--wipe=always",
    ])
    .arg("--wipe-partitions=always")
    .arg(disk)
    .stdin(script)
    .run()?;
    let made = read(disk)?;
    if made.len() != partitions.len() {
        bail!(
            "writing a {name} partition table to {}: {} partitions were asked for and {} are there",
            disk.display(),
            partitions.len(),
            made.len()
        );
    }
    Ok(made)
}

/// Reads the partition table of a disk, in the table's order.
///
/// # Errors
/// There is no table, or none that sfdisk reads.
pub fn read(disk: &Path) -> Result<Vec<Partition>> {
    let doing = format!("reading the partition table of {}", disk.display());
    let table = table::read_known(disk, &doing)?;
    let partition = |entry: &table::Entry| Partition {
        extent: entry.extent(table.sector_size),
        type_code: entry.kind.clone(),
        uuid: entry.uuid.as_ref().map(|uuid| uuid.to_ascii_lowercase()),
    };
    Ok(table.partitions.iter().map(partition).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_out_as_asked_and_aligned() {
        let mib = 1 << 20;
        for label in [Label::Dos, Label::Gpt] {
            let file = p2v_testing::image(300 * mib);
            let wanted = [
                (Role::BiosBoot, Some(mib)),
                (Role::Esp, Some(64 * mib)),
                (Role::Root, None),
            ];
            let made = create(file.path(), label, mib, 512, &wanted).unwrap();
            assert_eq!(made[0].extent.offset, mib);
            assert_eq!(made[1].extent.length, 64 * mib);
            assert!(made[2].extent.length > 230 * mib);
            assert!(made.iter().all(|p| p.extent.offset % mib == 0));
        }
    }
}
