//! What a stream says of the disk it was made of.

use p2v_sys::partition::table::Table;
use serde::{Deserialize, Serialize};

/// A disk and what of it the stream holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The program that wrote the stream, and its version.
    pub writer: String,
    /// The disk's size in bytes.
    pub disk_size: u64,
    /// Its logical sector size in bytes.
    pub sector_size: u32,
    /// Its partition table, if it has one that can be written anew.
    pub table: Option<Table>,
    /// What the records fill.
    pub areas: Vec<Area>,
}

/// A part of the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// What it is to the disk.
    pub role: AreaRole,
    /// First byte on the disk that the stream was made of.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// blkid's word for what it holds: `ext4`, `swap`, ...; none if unknown.
    pub content: Option<String>,
    /// That filesystem's UUID.
    pub uuid: Option<String>,
    /// That filesystem's label.
    pub label: Option<String>,
    /// How many of its bytes its filesystem uses; all, where that cannot be
    /// told.
    pub used: u64,
    /// Why every block was taken instead of the used ones, if so.
    pub whole_because: Option<String>,
}

/// What an area is to its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AreaRole {
    /// What lies before the first partition: a boot loader, but not the table.
    BootArea,
    /// The partition of this number.
    Partition(u32),
    /// All of a disk without partitions.
    WholeDisk,
}

impl Area {
    /// Its name in messages.
    pub fn name(&self) -> String {
        let content = self.content.as_deref().unwrap_or("unknown content");
        match self.role {
            AreaRole::BootArea => "the boot area".to_owned(),
            AreaRole::Partition(number) => format!("partition {number} ({content})"),
            AreaRole::WholeDisk => format!("the whole disk ({content})"),
        }
    }
}
