//! A note on the disk itself of the plan that it was made for and how far each
//! volume came: RAM forgets when the machine is powered off.
//!
//! It lies in a gap of the partition table, 4 KiB long, never within the first
//! half MiB, where boot loaders embed themselves, nor within the last, where a
//! GPT has its copy. It is written before the table, renewed after each volume's
//! making and filling, and wiped when the machine restarts as the new system.
//! Wiping a disk's first MiB, as create does, ends its validity too: the table
//! is then another one. A disk without partitions or gaps has none on itself;
//! for it the note is in RAM, and it is not known any more after a power-off.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use p2v_sys::block;
use p2v_sys::partition::table::{Found, Table};
use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::plan::PlannedDisk;

const MAGIC: &[u8] = b"p2v-transfer stamp 1\n";
const LENGTH: usize = 4096;

/// What is kept clear at both ends of the disk, in bytes.
const EDGE: u64 = 512 << 10;

/// What a disk says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// The plan that it was made for.
    pub plan_id: String,
    /// Which disk of the source it is filled from, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    /// Volumes by their number, those that are there.
    pub volumes: BTreeMap<u32, Filled>,
    /// What may be believed of volumes that are filled file by file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written: BTreeMap<u32, Written>,
}

/// Until when what was written to a volume is on its medium. Times are those at
/// which a file was last changed there, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Which start of the machine writes to it.
    boot: String,
    /// What was changed before is on the medium.
    sound: i64,
    /// What was changed then, by earlier starts, may not be: from, and before.
    doubt: Option<(i64, i64)>,
}

impl Written {
    /// Of a volume that is going to be written to, at the time `now` by this
    /// start of the machine; `before` is what was known of it.
    pub fn begun(before: Option<&Self>, boot: &str, now: i64) -> Self {
        let doubt = before.and_then(|before| match before.boot == boot {
            true => before.doubt,
            false => {
                let from = before.doubt.map_or(before.sound, |(from, _)| from);
                // A clock that was put back tells no end.
                Some((from, if now > from { now } else { i64::MAX }))
            }
        });
        Self {
            boot: boot.to_owned(),
            sound: before
                .filter(|it| it.boot == boot)
                .map_or(now, |it| it.sound),
            doubt,
        }
    }

    /// What may hold anything.
    pub fn doubt(&self) -> Option<Range<i64>> {
        self.doubt.map(|(from, end)| from..end)
    }

    /// All that was changed before is on the medium; what is in doubt, only if
    /// the copy is `complete`.
    pub fn synced(&mut self, before: i64, complete: bool) {
        self.sound = before;
        if complete {
            self.doubt = None;
        }
    }
}

/// How far a volume came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filled {
    /// It is made, and empty or partly filled.
    Formatted,
    /// A copy into it was finished.
    Copied,
}

/// Where a disk's stamp is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// On the disk, at this byte.
    OnDisk(PathBuf, u64),
    /// In this file in RAM.
    InRam(PathBuf),
}

impl Spot {
    /// The one of a planned disk, which has `size` bytes.
    pub fn of(place: &Place, disk: &PlannedDisk, size: u64) -> Self {
        match disk.table.as_ref().and_then(|table| gap(table, size)) {
            Some(offset) => Self::OnDisk(disk.device.clone(), offset),
            None => {
                let name = disk.device.file_name().unwrap_or_default();
                Self::InRam(place.run().join("stamp").with_extension(name))
            }
        }
    }

    /// Reads it; `None` if there is no whole one.
    pub fn read(&self) -> Result<Option<Stamp>> {
        let (path, offset) = match self {
            Self::OnDisk(path, offset) => (path, *offset),
            Self::InRam(path) if !path.exists() => return Ok(None),
            Self::InRam(path) => (path, 0),
        };
        let doing = || format!("reading the stamp of {}", path.display());
        let mut bytes = [0; LENGTH];
        let file = File::open(path).with_context(doing)?;
        match file.read_exact_at(&mut bytes, offset) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            result => result.map(|()| decoded(&bytes)).with_context(doing),
        }
    }

    /// Writes it, and has it on the medium when it returns.
    pub fn write(&self, stamp: &Stamp) -> Result<()> {
        self.put(&encoded(stamp)?)
    }

    /// Removes it.
    pub fn wipe(&self) -> Result<()> {
        match self {
            Self::InRam(path) if !path.exists() => Ok(()),
            _ => self.put(&[0; LENGTH]),
        }
    }

    fn put(&self, bytes: &[u8; LENGTH]) -> Result<()> {
        let (path, offset, create) = match self {
            Self::OnDisk(path, offset) => (path, *offset, false),
            Self::InRam(path) => (path, 0, true),
        };
        let doing = || format!("writing the stamp of {}", path.display());
        let mut options = OpenOptions::new();
        let file = options.write(true).create(create).truncate(false);
        let file = file.open(path).with_context(doing)?;
        file.write_all_at(bytes, offset).with_context(doing)?;
        file.sync_all().with_context(doing)
    }
}

/// The stamp of a disk of which no plan is known.
pub fn on_disk(path: &Path) -> Result<Option<Stamp>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let size =
        block::size(&file).with_context(|| format!("asking for the size of {}", path.display()))?;
    let Ok(Found::Table(table)) = Table::find(path) else {
        return Ok(None);
    };
    match gap(&table, size) {
        Some(offset) => Spot::OnDisk(path.to_owned(), offset).read(),
        None => Ok(None),
    }
}

/// The byte on the disk where its stamp belongs: the end of the first gap
/// between partitions that is long enough, or the beginning of the one behind
/// the last.
fn gap(table: &Table, size: u64) -> Option<u64> {
    let last = size.checked_sub(EDGE)?;
    let mut extents: Vec<_> = table
        .partitions
        .iter()
        .map(|entry| entry.extent(table.sector_size))
        .map(|extent| (extent.offset, extent.offset.saturating_add(extent.length)))
        .collect();
    extents.sort_unstable();
    let length = LENGTH as u64;
    let mut at = EDGE;
    for (start, end) in extents {
        let offset = start.min(last).saturating_sub(length) / length * length;
        if offset >= at.saturating_add(length) {
            return Some(offset);
        }
        at = at.max(end);
    }
    let start = at.checked_next_multiple_of(length)?;
    (start.checked_add(length)? <= last).then_some(start)
}

fn encoded(stamp: &Stamp) -> Result<[u8; LENGTH]> {
    let text = serde_json::to_vec(stamp).context("writing a stamp")?;
    let hash = blake3::hash(&text);
    let whole = [MAGIC, hash.as_bytes(), &text].concat();
    let mut bytes = [0; LENGTH];
    if whole.len() > LENGTH {
        bail!("writing a stamp: there are too many volumes");
    }
    bytes[..whole.len()].copy_from_slice(&whole);
    Ok(bytes)
}

/// The stamp of these bytes.
#[cfg(fuzzing)]
pub fn stamp_in(bytes: &[u8]) -> Option<Stamp> {
    let mut whole = [0; LENGTH];
    let text = &bytes[..bytes.len().min(LENGTH - MAGIC.len() - 32)];
    let hash = blake3::hash(text);
    let bytes = [MAGIC, hash.as_bytes(), text].concat();
    whole[..bytes.len()].copy_from_slice(&bytes);
    decoded(&whole)
}

fn decoded(bytes: &[u8; LENGTH]) -> Option<Stamp> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (hash, text) = rest.split_at_checked(blake3::OUT_LEN)?;
    let end = text.iter().rposition(|byte| *byte != 0)? + 1;
    let text = &text[..end];
    if blake3::hash(text).as_bytes() != hash {
        return None;
    }
    serde_json::from_slice(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use p2v_sys::partition::table::Entry;

    fn table(sector_size: u64, parts: &[(u64, u64)]) -> Table {
        let entry = |(index, (start, size)): (usize, &(u64, u64))| Entry {
            number: index as u32 + 1,
            start: *start,
            size: *size,
            kind: "83".to_owned(),
            uuid: None,
            name: None,
            attributes: None,
            bootable: false,
        };
        Table {
            label: "dos".to_owned(),
            id: None,
            sector_size,
            first_lba: None,
            partitions: parts.iter().enumerate().map(entry).collect(),
        }
    }

    #[test]
    fn it_lies_in_a_gap_and_nowhere_else() {
        const MIB: u64 = 1 << 20;
        for (parts, expected) in [
            (vec![(2048, 20480)], Some(MIB - 4096)),
            (vec![(63, 20480)], Some(10 * MIB + 32768)),
            (vec![(63, 20480), (30720, 2048)], Some(15 * MIB - 4096)),
            (vec![(30720, 2048), (63, 20480)], Some(15 * MIB - 4096)),
            // An extended partition holds others, and no gap between them.
            (vec![(63, 40_897), (4096, 2048)], Some(20 * MIB)),
            (vec![(63, 100 * 2048 - 63)], None),
            (vec![(63, 99 * 2048)], Some(99 * MIB + 32768)),
            (vec![(0, u64::MAX)], None),
            (vec![(u64::MAX, u64::MAX)], Some(100 * MIB - EDGE - 4096)),
        ] {
            let table = table(512, &parts);
            assert_eq!(gap(&table, 100 * MIB), expected, "{parts:?}");
        }
        assert_eq!(gap(&table(4096, &[(256, 1)]), 100 * MIB), Some(MIB - 4096));
    }

    #[test]
    fn what_a_power_cut_leaves_is_doubted_until_a_copy_is_complete() {
        let mut first = Written::begun(None, "1", 100);
        assert_eq!(first.doubt(), None);
        first.synced(130, false);
        assert_eq!(Written::begun(Some(&first), "1", 150), first);
        let mut second = Written::begun(Some(&first), "2", 200);
        assert_eq!(second.doubt(), Some(130..200));
        second.synced(230, false);
        assert_eq!(
            Written::begun(Some(&second), "2", 250).doubt(),
            Some(130..200)
        );
        let third = Written::begun(Some(&second), "3", 300);
        assert_eq!(third.doubt(), Some(130..300));
        second.synced(240, true);
        assert_eq!(Written::begun(Some(&second), "2", 250).doubt(), None);
        let set_back = Written::begun(Some(&second), "3", 5);
        assert_eq!(set_back.doubt(), Some(240..i64::MAX));
    }

    #[test]
    fn a_damaged_one_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        std::fs::write(&path, vec![7; 3 * LENGTH]).unwrap();
        let spot = Spot::OnDisk(path.clone(), LENGTH as u64);
        assert_eq!(spot.read().unwrap(), None);
        let stamp = Stamp {
            plan_id: "abc".to_owned(),
            hardware: Some("0".repeat(16)),
            volumes: [(1, Filled::Copied), (5, Filled::Formatted)].into(),
            written: [(1, Written::begun(None, "boot", 7))].into(),
        };
        spot.write(&stamp).unwrap();
        assert_eq!(spot.read().unwrap(), Some(stamp.clone()));
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes[..LENGTH].iter().all(|byte| *byte == 7));
        assert!(bytes[2 * LENGTH..].iter().all(|byte| *byte == 7));
        for damaged in [0, MAGIC.len(), MAGIC.len() + 40, 2 * LENGTH - LENGTH - 1] {
            let mut damage = bytes.clone();
            damage[LENGTH + damaged] ^= 1;
            std::fs::write(&path, damage).unwrap();
            assert_eq!(spot.read().unwrap(), None, "{damaged}");
        }
        std::fs::write(&path, vec![7; LENGTH + 5]).unwrap();
        assert_eq!(spot.read().unwrap(), None);
        spot.write(&stamp).unwrap();
        spot.wipe().unwrap();
        assert_eq!(spot.read().unwrap(), None);
    }
}
