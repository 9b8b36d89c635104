//! The target's disks: what there is, who uses it, and what is on it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use p2v_sys::filesystem::{self, Content};
use p2v_sys::loopdev::{self, Extent};
use p2v_sys::partition::table::{Found, Table};
use p2v_sys::{block, mount};

use super::place::Place;
use crate::plan::partition_device;

/// How much of an area's start and end tells whether it is empty, in bytes.
const EDGE: u64 = 1 << 20;

/// A whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// `/dev/vda`.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Bytes in a logical sector.
    pub sector_size: u32,
    /// The hypervisor lets nobody write to it.
    pub read_only: bool,
}

/// Every disk that a system can be moved onto, sorted by name.
pub fn list(place: &Place) -> Result<Vec<Disk>> {
    let mut paths = match place.only() {
        Some(only) => only.to_owned(),
        None => of_machine()?,
    };
    paths.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    let found = paths.iter().map(|path| examine(path));
    let found: Result<Vec<_>> = found.collect();
    Ok(found?.into_iter().filter(|disk| disk.size > 0).collect())
}

/// Those with hardware behind them, real or the hypervisor's: no RAM disks,
/// loop devices, volumes or arrays; nor optical drives and floppies.
fn of_machine() -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir("/sys/block").context("listing the disks")? {
        let entry = entry.context("listing the disks")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let other = ["sr", "fd", "loop", "ram", "zram"];
        let other = other.iter().any(|prefix| name.starts_with(prefix));
        if !other && entry.path().join("device").exists() {
            paths.push(Path::new("/dev").join(name.replace('!', "/")));
        }
    }
    Ok(paths)
}

fn examine(path: &Path) -> Result<Disk> {
    let doing = || format!("examining {}", path.display());
    let file = File::open(path).with_context(doing)?;
    block::forget_cached(&file).with_context(doing)?;
    Ok(Disk {
        path: path.to_owned(),
        size: block::size(&file).with_context(doing)?,
        sector_size: block::sector_size(&file).with_context(doing)?,
        read_only: block::is_read_only(&file).with_context(doing)?,
    })
}

/// Who uses the disk or a part of it, besides what an agent has mounted:
/// `mounted on /mnt`, `swap`, `held by dm-0`.
pub fn user(place: &Place, disk: &Path) -> Result<Option<String>> {
    let ours = place.run().canonicalize().unwrap_or_default();
    let swaps = std::fs::read_to_string("/proc/swaps").context("reading /proc/swaps")?;
    let mounted = mount::sources().context("looking who uses the disks")?;
    for device in parts(disk)? {
        let is_ours = |point: &Path| !ours.as_os_str().is_empty() && point.starts_with(&ours);
        let mut mounted = mounted.iter().filter(|(source, _)| *source == device);
        if let Some((_, point)) = mounted.find(|(_, point)| !is_ours(point)) {
            return Ok(Some(format!("mounted on {}", point.display())));
        }
        let is_swap = |line: &str| line.split_whitespace().next().map(Path::new) == Some(&device);
        if swaps.lines().any(is_swap) {
            return Ok(Some("swap".to_owned()));
        }
        let name = device.file_name().unwrap_or_default();
        let holders = Path::new("/sys/class/block").join(name).join("holders");
        if let Some(holder) = std::fs::read_dir(holders)
            .into_iter()
            .flatten()
            .flatten()
            .next()
        {
            let holder = holder.file_name();
            return Ok(Some(format!("held by {}", holder.to_string_lossy())));
        }
    }
    Ok(None)
}

/// The disk, its partitions, and the loop devices that show a part of it.
fn parts(disk: &Path) -> Result<Vec<PathBuf>> {
    let mut all = vec![disk.to_owned()];
    let name = disk.file_name().unwrap_or_default();
    let entries = std::fs::read_dir(Path::new("/sys/class/block").join(name));
    for entry in entries.into_iter().flatten().flatten() {
        if entry.path().join("partition").exists() {
            all.push(Path::new("/dev").join(entry.file_name()));
        }
    }
    all.extend(loopdev::users_of(disk)?);
    Ok(all)
}

/// What is on the disk, a line a thing: `vda1 ext4 2.0 GiB "root"`. Empty for
/// an empty disk.
pub fn content(disk: &Disk) -> Result<Vec<String>> {
    let table = match Table::find(&disk.path)? {
        Found::Nothing => {
            let whole = described(&disk.path, &disk.path, Extent::default(), disk.size)?;
            return Ok(whole.into_iter().collect());
        }
        Found::Unreadable(why) => return Ok(vec![why]),
        Found::Table(table) => table,
    };
    let mut lines = Vec::new();
    for entry in table.partitions.iter().filter(|it| !it.is_extended()) {
        let extent = entry.extent(table.sector_size);
        let device = partition_device(&disk.path, entry.number);
        let line = described(&disk.path, &device, extent, extent.length)?;
        let size = size_text(extent.length);
        lines.push(line.unwrap_or_else(|| format!("{} empty {size}", short(&device))));
    }
    Ok(lines)
}

fn described(disk: &Path, device: &Path, extent: Extent, size: u64) -> Result<Option<String>> {
    let (kind, label) = match filesystem::probe(disk, extent)? {
        Content::Nothing if is_blank(disk, extent.offset, size)? => return Ok(None),
        Content::Nothing => ("unknown data".to_owned(), None),
        Content::Ambiguous => ("of several kinds".to_owned(), None),
        Content::Known(found) => (found.kind, found.label),
    };
    let mut line = format!("{} {kind} {}", short(device), size_text(size));
    if let Some(label) = label {
        line += &format!(" {label:?}");
    }
    Ok(Some(line))
}

/// Whether there are only zeros where all that is known begins or ends. What has
/// no signature may still be somebody's: an encrypted volume, a database's.
pub fn is_blank(disk: &Path, start: u64, length: u64) -> Result<bool> {
    let doing = || format!("looking at {}", disk.display());
    let file = File::open(disk).with_context(doing)?;
    let edge = length.min(EDGE);
    let mut bytes = vec![0; usize::try_from(edge)?];
    for at in [start, start + (length - edge)] {
        file.read_exact_at(&mut bytes, at).with_context(doing)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn short(device: &Path) -> String {
    let name = device.file_name().unwrap_or(device.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Bytes for people: `2.0 GiB`.
pub fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64 / f64::from(1 << 20);
    let mut unit = 0;
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}
