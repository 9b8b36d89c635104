//! A plan as a JSON file that people edit.
//!
//! Who wants another size changes the volume's and no more: where partitions
//! begin and end follows from the volumes' sizes.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::layout::Space;
use super::{Plan, PlannedDisk, VERSION};

/// No plan is longer, in bytes.
const LONGEST: u64 = 4 << 20;

/// Reads a plan. Where volumes have other sizes than their partitions, the
/// partitions are laid out anew.
pub fn load(path: &Path) -> Result<Plan> {
    let doing = || format!("reading the plan {}", path.display());
    let length = std::fs::metadata(path).with_context(doing)?.len();
    ensure!(length <= LONGEST, "{}: it is too long for a plan", doing());
    let bytes = std::fs::read(path).with_context(doing)?;
    parse(&bytes).with_context(doing)
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Plan> {
    let value: serde_json::Value = serde_json::from_slice(bytes)?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => bail!(
            "it is of version {version}, and this p2v's plans are of version {VERSION}: make it \
             anew (--save-plan)"
        ),
        None => bail!("it has no version: it is no plan; --save-plan writes one"),
    }
    // Not from the value: the text tells in which line a mistake is.
    let mut plan: Plan = serde_json::from_slice(bytes)?;
    for disk in &mut plan.disks {
        lay_out(disk).with_context(|| format!("laying out {}", disk.device.display()))?;
    }
    Ok(plan)
}

/// Has the partitions follow the volumes' sizes.
fn lay_out(disk: &mut PlannedDisk) -> Result<()> {
    let Some(table) = &disk.table else {
        return Ok(());
    };
    let size_of = |number: u32| {
        let entry = table.partitions.iter().find(|entry| entry.number == number);
        entry.map(|entry| entry.extent(table.sector_size).length)
    };
    let as_they_are = disk
        .volumes
        .iter()
        .all(|volume| size_of(volume.number).is_none_or(|size| size == volume.size));
    if as_they_are {
        return Ok(());
    }
    ensure!(
        table.sector_size.is_power_of_two() && (512..=65536).contains(&table.sector_size),
        "its table's sectors have {} bytes",
        table.sector_size
    );
    let space = Space {
        size: disk.size,
        sector: table.sector_size,
    };
    // A partition without a volume keeps its size.
    let sizes: Vec<_> = table
        .partitions
        .iter()
        .filter(|entry| !entry.is_extended())
        .map(|entry| {
            let volume = disk
                .volumes
                .iter()
                .find(|volume| volume.number == entry.number);
            let own = entry.extent(table.sector_size).length;
            (entry.number, volume.map_or(own, |volume| volume.size))
        })
        .collect();
    let table = space.place(table, &sizes)?;
    for volume in &mut disk.volumes {
        let entry = table
            .partitions
            .iter()
            .find(|entry| entry.number == volume.number);
        if let Some(entry) = entry {
            volume.size = entry.extent(table.sector_size).length;
        }
    }
    disk.table = Some(table);
    Ok(())
}

/// Writes a plan, whole or not at all.
pub fn save(plan: &Plan, path: &Path) -> Result<()> {
    let doing = || format!("writing the plan to {}", path.display());
    let mut text = serde_json::to_vec_pretty(plan).with_context(doing)?;
    text.push(b'\n');
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(doing)?;
    file.write_all(&text).with_context(doing)?;
    file.persist(path)
        .map_err(|error| error.error)
        .with_context(doing)?;
    Ok(())
}
