//! Where the two layouts' parts lie in the drawing, and what joins them.

use std::path::Path;

use crate::plan::{Fill, Plan, PlannedDisk, Volume};
use crate::quantity;
use crate::report::Report;
use crate::source::{Area, Content, Disk, MountPoint, Source};
use crate::target::Target;

/// The height of the larger side's disks, in the drawing's units.
const TALL: f64 = 420.0;
/// No part with a name is lower: its name would not fit.
const LOWEST: f64 = 25.0;
/// Free space below this share of its disk is not drawn.
const SMALLEST_GAP: f64 = 0.004;
/// A gap's least height.
const LOWEST_GAP: f64 = 5.0;
/// Between two disks, where the second one's name is.
const BETWEEN: f64 = 58.0;
/// Above the first disk.
const TOP: f64 = 34.0;

/// Both layouts.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub source: Vec<DiskBox>,
    pub target: Vec<DiskBox>,
    pub bands: Vec<Band>,
    pub height: f64,
}

/// A disk.
#[derive(Debug)]
pub(super) struct DiskBox {
    pub name: String,
    pub detail: String,
    pub y: f64,
    pub height: f64,
    pub parts: Vec<Part>,
}

/// A partition, or what is free.
#[derive(Debug)]
pub(super) struct Part {
    pub name: String,
    pub kind: String,
    pub size: u64,
    pub used: Option<u64>,
    pub look: Look,
    pub y: f64,
    pub height: f64,
    /// What it is found by: on the source its first byte, on the target its
    /// place, since a plan that somebody wrote may have two from one source.
    key: Option<u64>,
}

/// How a part is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// In the colour of that number, the same on both sides.
    Coloured(usize),
    /// It stays behind, or nothing is in it.
    Plain,
    /// No partition.
    Free,
}

/// What joins a part to the one that it becomes.
#[derive(Debug)]
pub(super) struct Band {
    pub colour: usize,
    pub from: (f64, f64),
    pub to: (f64, f64),
    /// Made anew, with nothing copied.
    pub empty: bool,
}

impl Picture {
    /// Of what the report knows.
    pub fn of(report: &Report) -> Self {
        let (source, plan) = (&report.source, &report.plan);
        let mut picture = Self {
            source: source.disks.iter().map(source_box).collect(),
            target: target_boxes(plan, &report.target),
            ..Self::default()
        };
        picture.colour(source, plan);
        picture.place();
        picture.join(source, plan);
        picture
    }

    /// Each volume of the plan has a colour, and so has what it comes from.
    fn colour(&mut self, source: &Source, plan: &Plan) {
        for (number, (at, place, volume)) in volumes(plan).enumerate() {
            if matches!(volume.fill, Fill::Reserved) {
                continue;
            }
            let look = Look::Coloured(number);
            if let Some(part) = self.target[at].part(place as u64) {
                part.look = look;
            }
            let from = disk_of(source, &plan.disks[at].source);
            let part = from.and_then(|from| self.source[from].part(volume.source_start));
            if let Some(part) = part {
                part.look = look;
            }
        }
    }

    fn place(&mut self) {
        let total = |side: &[DiskBox]| -> f64 {
            let parts = side.iter().flat_map(|disk| &disk.parts);
            parts.map(|part| part.size as f64).sum()
        };
        let largest = total(&self.source).max(total(&self.target)).max(1.0);
        let scale = TALL / largest;
        let low = |part: &Part| match part.look {
            Look::Free => LOWEST_GAP,
            _ => LOWEST,
        };
        for side in [&mut self.source, &mut self.target] {
            let mut y = TOP;
            for disk in side {
                disk.y = y;
                for part in &mut disk.parts {
                    part.y = y;
                    part.height = (part.size as f64 * scale).max(low(part));
                    y += part.height;
                }
                disk.height = y - disk.y;
                self.height = self.height.max(y);
                y += BETWEEN;
            }
        }
    }

    fn join(&mut self, source: &Source, plan: &Plan) {
        for (at, place, volume) in volumes(plan) {
            let from = disk_of(source, &plan.disks[at].source)
                .and_then(|from| self.source[from].part(volume.source_start))
                .map(|part| (part.y, part.height));
            let to = self.target[at]
                .part(place as u64)
                .map(|part| (part.look, (part.y, part.height)));
            if let (Some(from), Some((Look::Coloured(colour), to))) = (from, to) {
                self.bands.push(Band {
                    colour,
                    from,
                    to,
                    empty: matches!(volume.fill, Fill::Swap),
                });
            }
        }
    }
}

impl DiskBox {
    fn part(&mut self, key: u64) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.key == Some(key))
    }

    /// The disk's parts with what lies free between them.
    fn filled(name: String, detail: String, size: u64, mut taken: Vec<(u64, Part)>) -> Self {
        taken.sort_by_key(|(start, _)| *start);
        let least = (size as f64 * SMALLEST_GAP) as u64;
        let mut parts = Vec::new();
        let mut at = 0;
        for (start, part) in taken {
            free(&mut parts, start.saturating_sub(at), least);
            at = at.max(start.saturating_add(part.size));
            parts.push(part);
        }
        free(&mut parts, size.saturating_sub(at), least);
        Self {
            name,
            detail,
            y: 0.0,
            height: 0.0,
            parts,
        }
    }
}

fn free(parts: &mut Vec<Part>, size: u64, least: u64) {
    if size > least {
        parts.push(Part {
            name: "free".to_owned(),
            kind: String::new(),
            size,
            used: None,
            look: Look::Free,
            y: 0.0,
            height: 0.0,
            key: None,
        });
    }
}

/// Each volume with its disk's place and its own in that.
fn volumes(plan: &Plan) -> impl Iterator<Item = (usize, usize, &Volume)> {
    plan.disks.iter().enumerate().flat_map(|(at, disk)| {
        let numbered = disk.volumes.iter().enumerate();
        numbered.map(move |(place, volume)| (at, place, volume))
    })
}

fn disk_of(source: &Source, path: &Path) -> Option<usize> {
    source.disks.iter().position(|disk| disk.path == path)
}

fn source_box(disk: &Disk) -> DiskBox {
    let name = file_name(&disk.path);
    let taken = disk.areas.iter().map(|area| {
        let part = source_part(area, &name);
        (area.start, part)
    });
    let taken = taken.collect();
    DiskBox::filled(
        name,
        detail(disk.model.as_deref(), disk.size),
        disk.size,
        taken,
    )
}

fn source_part(area: &Area, disk: &str) -> Part {
    let (kind, label, used, mounts): (&str, _, _, &[MountPoint]) = match &area.content {
        Content::Nothing => ("nothing known", None, None, &[]),
        Content::BiosBoot => ("GRUB's core", None, None, &[]),
        Content::Swap(identity) => ("swap", identity.label.as_deref(), None, &[]),
        Content::Unmovable(kind) => (kind.as_str(), None, None, &[]),
        Content::Filesystem(found) => (
            found.format.kind.as_str(),
            found.identity.label.as_deref(),
            Some(found.used),
            &found.mounts,
        ),
    };
    Part {
        name: named(&partition(disk, area.number), mounts),
        kind: labelled(kind, label),
        size: area.size,
        used,
        look: Look::Plain,
        y: 0.0,
        height: 0.0,
        key: Some(area.start),
    }
}

fn target_boxes(plan: &Plan, target: &Target) -> Vec<DiskBox> {
    plan.disks
        .iter()
        .map(|disk| {
            let device = disk.device.to_string_lossy();
            let mut known = target.disks.iter();
            let real = known.find(|real| real.device == device);
            target_box(disk, real.map_or(disk.size, |real| real.size))
        })
        .collect()
}

fn target_box(disk: &PlannedDisk, size: u64) -> DiskBox {
    let mut next = 0;
    let placed = disk.volumes.iter().enumerate().map(|(place, volume)| {
        let entry = disk.table.as_ref().and_then(|table| {
            let mut entries = table.partitions.iter();
            let entry = entries.find(|entry| entry.number == volume.number)?;
            Some(entry.extent(table.sector_size).offset)
        });
        let start = entry.unwrap_or(next);
        next = start.saturating_add(volume.size);
        (start, target_part(disk, volume, place))
    });
    let taken = placed.collect();
    DiskBox::filled(file_name(&disk.device), detail(None, size), size, taken)
}

fn target_part(disk: &PlannedDisk, volume: &Volume, place: usize) -> Part {
    let (kind, used) = match &volume.fill {
        Fill::Files { format, used, .. } => (format.kind.clone(), Some(*used)),
        Fill::Blocks { kind } => (format!("{kind}, by blocks"), None),
        Fill::Swap => ("swap, made anew".to_owned(), None),
        Fill::Reserved => ("GRUB's core".to_owned(), None),
    };
    Part {
        name: named(&volume.name(disk), &volume.mounts),
        kind: labelled(&kind, volume.identity.label.as_deref()),
        size: volume.size,
        used,
        look: Look::Plain,
        y: 0.0,
        height: 0.0,
        key: Some(place as u64),
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn detail(model: Option<&str>, size: u64) -> String {
    let size = quantity::bytes(size);
    match model {
        Some(model) => format!("{model}, {size}"),
        None => size,
    }
}

/// `sda1`, `nvme0n1p1`, `disk.img 1`, `sda`.
fn partition(disk: &str, number: u32) -> String {
    match number {
        0 => disk.to_owned(),
        n if disk.contains('.') => format!("{disk} {n}"),
        n if disk.ends_with(|last: char| last.is_ascii_digit()) => format!("{disk}p{n}"),
        n => format!("{disk}{n}"),
    }
}

fn named(name: &str, mounts: &[MountPoint]) -> String {
    match mounts.first() {
        Some(mount) => format!("{name}  {}", mount.path),
        None => name.to_owned(),
    }
}

fn labelled(kind: &str, label: Option<&str>) -> String {
    match label.filter(|label| !label.is_empty()) {
        Some(label) => format!("{kind} \u{201c}{label}\u{201d}"),
        None => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn parts_are_to_scale_and_joined_to_what_they_become() {
        let picture = Picture::of(&samples::moved());
        let heights: Vec<f64> = picture.source[0].parts.iter().map(|p| p.height).collect();
        let names: Vec<&str> = picture.source[0].parts.iter().map(|p| &*p.name).collect();
        assert_eq!(names, ["sda1  /boot", "sda5", "sda6  /", "free"]);
        assert!(heights.iter().all(|height| *height >= LOWEST_GAP));
        let (root, gap) = (&picture.source[0].parts[2], &picture.source[0].parts[3]);
        let ratio = root.height / gap.height;
        assert!((ratio - root.size as f64 / gap.size as f64).abs() < 0.01);
        // sdb's home goes to vdb: each disk has its own.
        assert_eq!(picture.bands.len(), 4);
        for band in &picture.bands {
            assert!(band.from.1 > 0.0 && band.to.1 > 0.0);
        }
        assert_eq!(picture.bands.iter().filter(|band| band.empty).count(), 1);
        let target = &picture.target[0].parts;
        assert_eq!(target[0].look, Look::Coloured(0));
        assert_eq!(picture.source[0].parts[0].look, Look::Coloured(0));
        assert!(picture.height < 800.0, "{}", picture.height);
    }

    #[test]
    fn numbers_past_all_bounds_still_make_a_drawing() {
        let mut report = samples::moved();
        let source = &mut report.source;
        source.disks[0].areas[0].start = u64::MAX;
        source.disks[0].areas[0].size = u64::MAX;
        source.disks[1].size = 0;
        report.plan.disks[0].volumes[0].size = u64::MAX;
        let picture = Picture::of(&report);
        assert!(picture.height.is_finite() && picture.height < 2000.0);
        (report.source.disks, report.plan.disks) = (Vec::new(), Vec::new());
        let bare = Picture::of(&report);
        assert!(bare.source.is_empty() && bare.target.is_empty());
    }
}
