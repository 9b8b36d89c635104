//! A disk's partition table, what each of its areas holds, and by what names
//! a system may know them. Nothing is mounted here.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use p2v_backup::window::Window;
use p2v_sys::filesystem::{self, Content as Probed, Signature};
use p2v_sys::loopdev::Extent;
use p2v_sys::partition::table::{Entry, Found, Table};

use super::findings::Findings;
use super::held::HeldDisk;
use super::{Area, Content, Disk, Filesystem, Identity, clean, live, names};
use crate::format::Format;

/// What can be made anew on the target.
const MOVABLE: [&str; 6] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat"];

const BIOS_BOOT: &str = "21686148-6449-6E6F-744E-656564454649";

/// The disk, as far as it can be told without mounting anything.
pub fn read(held: &HeldDisk, findings: &mut Findings) -> Result<Disk> {
    let source = &held.disk;
    let udev = match &held.kernel_name {
        Some(name) => live::udev_names(name)?,
        None => BTreeMap::new(),
    };
    let mut disk = Disk {
        path: source.path().to_owned(),
        names: udev.get(&0).cloned().unwrap_or_default(),
        model: held.kernel_name.as_deref().and_then(live::model),
        hardware: held.kernel_name.as_deref().and_then(live::hardware),
        size: source.size(),
        sector_size: source.sector_size(),
        table: None,
        areas: Vec::new(),
    };
    let path = disk.path.display().to_string();
    let mut reader = Reader {
        held,
        udev,
        findings,
    };
    match Table::find(source.path())? {
        Found::Table(table) => {
            if let Some(fault) = fault(&table, source.size()) {
                reader.findings.obstacle(format!(
                    "the partition table of {path} is damaged: {fault}; mend it (fdisk, gdisk), \
                     or leave the disk out by naming the others"
                ));
            } else {
                disk.areas = reader.areas(&table)?;
            }
            disk.table = Some(table);
        }
        Found::Nothing => {
            let extent = Extent {
                offset: 0,
                length: source.size(),
            };
            let whole = reader.area(0, extent, None, None)?;
            if whole.content == Content::Nothing && !reader.has_large_sectors(&path) {
                reader
                    .findings
                    .remark(format!("{path} holds nothing that is known"));
            }
            disk.areas.push(whole);
        }
        Found::Unreadable(_) if reader.has_large_sectors(&path) => {}
        Found::Unreadable(reason) => reader.findings.obstacle(format!(
            "what lies on {path} cannot be told: {reason}; mend its partition table, or leave \
             the disk out by naming the others"
        )),
    }
    Ok(disk)
}

/// What makes a table one that no system could have used as it stands.
fn fault(table: &Table, size: u64) -> Option<String> {
    let sectors = size / table.sector_size.max(1);
    let mut places: Vec<&Entry> = table
        .partitions
        .iter()
        .filter(|entry| !entry.is_extended())
        .collect();
    if let Some(entry) = places.iter().find(|entry| entry.end() > sectors) {
        return Some(format!(
            "partition {} reaches past the disk's end",
            entry.number
        ));
    }
    places.sort_by_key(|entry| entry.start);
    let overlap = places.windows(2).find(|pair| pair[0].end() > pair[1].start);
    overlap.map(|pair| {
        format!(
            "partitions {} and {} overlap",
            pair[0].number, pair[1].number
        )
    })
}

struct Reader<'a> {
    held: &'a HeldDisk,
    udev: BTreeMap<u32, Vec<String>>,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    fn path(&self) -> &Path {
        self.held.disk.path()
    }

    fn areas(&mut self, table: &Table) -> Result<Vec<Area>> {
        let mut areas = Vec::new();
        for entry in table.partitions.iter().filter(|entry| !entry.is_extended()) {
            let extent = entry.extent(table.sector_size);
            areas.push(self.area(entry.number, extent, Some(table), Some(entry))?);
        }
        areas.sort_by_key(|area| area.start);
        Ok(areas)
    }

    fn area(
        &mut self,
        number: u32,
        extent: Extent,
        table: Option<&Table>,
        entry: Option<&Entry>,
    ) -> Result<Area> {
        let probed = filesystem::probe(self.path(), extent)?;
        let identity = match &probed {
            Probed::Known(signature) => identity(signature),
            _ => Identity::default(),
        };
        let mut all = names::of_identity(&identity);
        if let (Some(table), Some(entry)) = (table, entry) {
            all.extend(names::of_partition(table, entry));
        }
        all.extend(self.udev.get(&number).cloned().unwrap_or_default());
        let mut area = Area {
            number,
            start: extent.offset,
            size: extent.length,
            names: all,
            content: Content::Nothing,
        };
        let place = area.place(self.path());
        area.content = match probed {
            _ if entry.is_some_and(|entry| entry.kind.eq_ignore_ascii_case(BIOS_BOOT)) => {
                Content::BiosBoot
            }
            Probed::Nothing => Content::Nothing,
            Probed::Ambiguous => {
                self.findings.obstacle(format!(
                    "{place} has signatures of more than one kind, and nobody can tell which is \
                     stale: look with `wipefs {place}`, and remove what is wrong on a copy or \
                     from a live medium"
                ));
                Content::Unmovable("ambiguous".to_owned())
            }
            Probed::Known(signature) => self.known(&signature, identity, extent, &place),
        };
        Ok(area)
    }

    fn known(
        &mut self,
        signature: &Signature,
        identity: Identity,
        extent: Extent,
        place: &str,
    ) -> Content {
        let kind = signature.kind.as_str();
        if kind == "swap" {
            return Content::Swap(identity);
        }
        if let Some(text) = unmovable(kind, place) {
            self.findings.obstacle(text);
        }
        if !MOVABLE.contains(&kind) {
            return Content::Unmovable(kind.to_owned());
        }
        match self.filesystem(kind, identity, extent) {
            Ok(filesystem) => Content::Filesystem(filesystem),
            Err(error) => {
                self.findings.obstacle(format!(
                    "the {kind} on {place} cannot be moved: {error:#}; check it from a live \
                     medium, or leave its disk out"
                ));
                Content::Unmovable(kind.to_owned())
            }
        }
    }

    fn filesystem(&self, kind: &str, identity: Identity, extent: Extent) -> Result<Filesystem> {
        let format = Format::of(self.path(), extent, kind)?;
        let window = Window::new(self.held.disk.file(), extent);
        if kind == "btrfs" {
            let devices = clean::btrfs_devices(&window)?;
            anyhow::ensure!(devices == 1, "it lies on {devices} devices");
        }
        Ok(Filesystem {
            format,
            identity,
            // Until it is mounted, and says so itself.
            used: extent.length,
            inodes: 0,
            mounts: Vec::new(),
        })
    }

    /// The image of a disk with larger sectors: its GPT begins where nobody
    /// looks for it. Says so.
    fn has_large_sectors(&mut self, path: &str) -> bool {
        let disk = &self.held.disk;
        let extent = Extent {
            offset: 0,
            length: disk.size(),
        };
        let signature = Window::new(disk.file(), extent).read(4096, 8);
        let found = disk.sector_size() == 512 && signature.is_ok_and(|it| it == b"EFI PART");
        if found {
            self.findings.obstacle(format!(
                "{path} is the image of a disk with sectors of 4096 bytes: attach it \
                 (`losetup --find --show --read-only --sector-size 4096 {path}`) and name that \
                 device"
            ));
        }
        found
    }
}

/// What is to be done about an area that cannot be moved, if that keeps the
/// whole machine from it.
fn unmovable(kind: &str, place: &str) -> Option<String> {
    let (what, advice) = match kind {
        "LVM1_member" | "LVM2_member" => (
            "a physical volume of LVM",
            "move its logical volumes' contents to plain partitions first",
        ),
        "linux_raid_member"
        | "ddf_raid_member"
        | "isw_raid_member"
        | "promise_fasttrack_raid_member" => (
            "a member of a RAID array",
            "move the array's content to a plain partition first",
        ),
        "crypto_LUKS" | "BitLocker" => (
            "an encrypted volume",
            "move its content to a plain partition first",
        ),
        "zfs_member" => ("a ZFS pool", "move its content to a plain partition first"),
        "bcache" => ("a bcache", "detach the cache first"),
        "swsuspend" => {
            return Some(format!(
                "{place} holds a hibernated system: start the machine and shut it down"
            ));
        }
        "jbd" | "xfs_external_log" => (
            "the journal of a filesystem on another device",
            "give that filesystem a journal of its own first",
        ),
        _ => return None,
    };
    Some(format!(
        "{place} holds {what} ({kind}), which cannot be moved yet: {advice}, or leave its disk \
         out by naming the others"
    ))
}

fn identity(signature: &Signature) -> Identity {
    Identity {
        uuid: signature.uuid.clone(),
        label: signature.label.as_deref().map(names::blkid_decoded),
    }
}
