//! What the target's disks shall be: the layout, what is made on it, and what
//! goes where. It is shown, may be edited as JSON, and is what the agent obeys.

mod areas;
mod check;
mod demand;
mod derive;
pub(crate) mod file;
mod layout;
mod needs;
#[cfg(test)]
pub(crate) mod sample;
mod share;
mod show;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::Result;
use p2v_fixes::machine::{BootMode, HostnamePolicy};
use p2v_sys::partition::table::Table;
use serde::{Deserialize, Serialize};

use crate::format::Format;
use crate::source::{Identity, MountPoint, Source, System};
use crate::target::Target;

/// The version of [`Plan`] as JSON.
pub const VERSION: u32 = 1;

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// The target's disks, the one that it starts from first.
    pub disks: Vec<PlannedDisk>,
    /// How the system starts there.
    pub boot: BootMode,
    /// What becomes of the system's name.
    pub hostname: HostnamePolicy,
    /// What stays behind: an area's names, and why.
    pub left_out: Vec<LeftOut>,
    /// The system that moves, as the source has it.
    pub system: System,
}

/// A disk of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedDisk {
    /// The device on the target: `/dev/vda`.
    pub device: PathBuf,
    /// Bytes that it must have at least.
    pub size: u64,
    /// The source's disk that it stands in for.
    pub source: PathBuf,
    /// What the old system may call that disk.
    pub source_names: Vec<String>,
    /// Of that disk: see [`crate::source::Disk`]. What another machine's has
    /// begun is not gone on with.
    #[serde(default)]
    pub hardware: Option<String>,
    /// Its partition table; none if a filesystem takes the whole disk.
    pub table: Option<Table>,
    /// What is made in the partitions, in the disk's order.
    pub volumes: Vec<Volume>,
}

/// A filesystem, swap area or run of blocks on the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// The partition's number; 0 for the whole disk.
    pub number: u32,
    /// Bytes that it will have.
    pub size: u64,
    /// Where it comes from on the source's disk: first byte and bytes.
    pub source_start: u64,
    /// See `source_start`.
    pub source_size: u64,
    /// How it comes to be.
    pub fill: Fill,
    /// What it is known by, on both sides.
    pub identity: Identity,
    /// Where the system mounts it.
    pub mounts: Vec<MountPoint>,
    /// What fstab or a boot loader may call it on the source.
    pub was: Vec<String>,
}

/// How a volume comes to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fill {
    /// A new filesystem, filled file by file.
    Files {
        /// How it is made.
        format: Format,
        /// Bytes in use on the source.
        used: u64,
        /// Inodes in use on the source.
        inodes: u64,
    },
    /// The source's blocks that are in use, one by one; the size stays.
    Blocks {
        /// blkid's word for what they are.
        kind: String,
    },
    /// A new swap area.
    Swap,
    /// Nothing is written: GRUB's place on a GPT.
    Reserved,
}

impl PlannedDisk {
    /// Whether a disk with that plan was begun from another machine's: only
    /// where both are known.
    pub fn is_anothers(&self, begun_from: Option<&str>) -> bool {
        let ours = self.hardware.as_deref();
        ours.zip(begun_from)
            .is_some_and(|(ours, theirs)| ours != theirs)
    }
}

/// What is not moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// What fstab or a boot loader may call it on the source.
    pub was: Vec<String>,
    /// Why.
    pub reason: String,
}

impl Volume {
    /// Its device below that disk's: `/dev/vda1`, `/dev/nvme0n1p1`, `/dev/vda`.
    pub fn device(&self, disk: &PlannedDisk) -> PathBuf {
        partition_device(&disk.device, self.number)
    }

    /// Its place in messages and in [`crate::protocol`]: `vda1`.
    pub fn name(&self, disk: &PlannedDisk) -> String {
        let device = self.device(disk);
        device
            .file_name()
            .unwrap_or(device.as_os_str())
            .to_string_lossy()
            .into_owned()
    }
}

/// The device of a disk's partition: `/dev/vda1`, `/dev/nvme0n1p1`; of number
/// 0 the disk itself.
pub fn partition_device(disk: &Path, number: u32) -> PathBuf {
    let name = disk.as_os_str().to_string_lossy();
    match number {
        0 => disk.to_owned(),
        n if name.ends_with(|last: char| last.is_ascii_digit()) => format!("{name}p{n}").into(),
        n => format!("{name}{n}").into(),
    }
}

impl Plan {
    /// Each volume with its disk, in order.
    pub fn volumes(&self) -> impl Iterator<Item = (&PlannedDisk, &Volume)> {
        self.disks
            .iter()
            .flat_map(|disk| disk.volumes.iter().map(move |volume| (disk, volume)))
    }

    /// What tells this plan from others: a hash, in hex, of what it makes of
    /// the disks. Volumes that were made for it carry it, so that a rerun knows
    /// them; how much the source holds by then, or under which name its disk is
    /// found, changes nothing about them.
    pub fn id(&self) -> String {
        let volume = |volume: &Volume| {
            let (format, kind) = match &volume.fill {
                Fill::Files { format, .. } => (Some(format.clone()), "files"),
                Fill::Blocks { kind } => (None, kind.as_str()),
                Fill::Swap => (None, "swap"),
                Fill::Reserved => (None, "reserved"),
            };
            serde_json::json!([
                volume.number,
                volume.size,
                volume.source_start,
                volume.source_size,
                format,
                kind,
                volume.identity,
            ])
        };
        let disk = |disk: &PlannedDisk| {
            let volumes: Vec<_> = disk.volumes.iter().map(volume).collect();
            serde_json::json!([disk.device, disk.size, disk.table, volumes])
        };
        let disks: Vec<_> = self.disks.iter().map(disk).collect();
        let system = (&self.system.hostname, &self.system.installation);
        let all = serde_json::json!([self.version, system, disks]);
        blake3::hash(all.to_string().as_bytes()).to_hex()[..32].to_owned()
    }

    /// Reads a plan from a file that somebody may have edited. Partitions
    /// follow the volumes' sizes.
    ///
    /// # Errors
    /// It is no plan, of another version, or does not fit its disks.
    pub fn load(path: &Path) -> Result<Self> {
        file::load(path)
    }

    /// The same for that source, whatever machine it was written for.
    #[must_use]
    pub fn of(mut self, source: &Source) -> Self {
        for planned in &mut self.disks {
            let disk = source.disks.iter().find(|disk| disk.path == planned.source);
            planned.hardware = disk.and_then(|disk| disk.hardware.clone());
        }
        self.system
            .installation
            .clone_from(&source.system.installation);
        self
    }

    /// Writes the plan to a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        file::save(self, path)
    }

    /// Everything that keeps it from being carried out with that source and
    /// target; empty if nothing does.
    pub fn faults(&self, source: &Source, target: &Target) -> Vec<String> {
        let mut faults = check::faults(self, source, target);
        faults.extend(needs::unmet(source, self));
        faults
    }
}

/// What somebody may wish of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// What becomes of the system's name.
    pub hostname: HostnamePolicy,
}

/// The plan that keeps the source's layout, scaled to the target's disks.
///
/// # Errors
/// All that keeps it from being made, in one message.
pub fn derive(source: &Source, target: &Target, wishes: &Wishes) -> Result<Plan> {
    derive::derive(source, target, wishes)
}

/// The beginning of a plan, all that can be said where none can be made.
pub(crate) fn without_disks(source: &Source, target: &Target, wishes: &Wishes) -> Plan {
    derive::without_disks(source, target, wishes)
}

/// Bytes for people: `512 MiB`, `1.8 TiB`.
pub fn size_text(bytes: u64) -> String {
    show::size(bytes)
}

/// The plan as a table for people.
pub fn table(plan: &Plan) -> String {
    show::table(plan)
}
