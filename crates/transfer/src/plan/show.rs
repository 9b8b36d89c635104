//! The plan as a table for people, in 80 columns.

use super::{Fill, Plan, PlannedDisk, Volume};
use crate::source::Identity;

/// `512 MiB`, `20 GiB`, `1.8 TiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_235 && unit + 1 < UNITS.len() {
        tenths = (tenths + 512) / 1024;
        unit += 1;
    }
    match (tenths % 10, tenths / 10) {
        (tenth, whole) if tenth != 0 && whole < 100 => format!("{whole}.{tenth} {}", UNITS[unit]),
        (tenth, whole) => format!("{} {}", whole + u128::from(tenth >= 5), UNITS[unit]),
    }
}

/// See [`super::table`].
pub fn table(plan: &Plan) -> String {
    let mut text = String::new();
    for disk in &plan.disks {
        text += &head(disk);
        for volume in &disk.volumes {
            text += &line(disk, volume);
        }
    }
    if !plan.left_out.is_empty() {
        text += "\nleft out\n";
    }
    for left in &plan.left_out {
        let name = left.was.first().map_or("?", |name| name);
        text += &format!("  {}: {}\n", clean(name), clean(&left.reason));
    }
    text
}

fn head(disk: &PlannedDisk) -> String {
    let label = match &disk.table {
        Some(table) if table.label == "dos" => "MBR",
        Some(_) => "GPT",
        None => "no partition table",
    };
    format!(
        "{} -> {} ({}, {label})\n  {:<9}{:>9} {:>9} {:>6} {:<6} {:<14} {}\n",
        clean(&disk.source.to_string_lossy()),
        clean(&disk.device.to_string_lossy()),
        size(disk.size),
        "volume",
        "was",
        "becomes",
        "filled",
        "kind",
        "mounted on",
        "label or UUID"
    )
}

fn line(disk: &PlannedDisk, volume: &Volume) -> String {
    let mount = volume.mounts.first().map_or("", |point| &point.path);
    let more = match volume.mounts.len() {
        0 | 1 => String::new(),
        count => format!(" +{}", count - 1),
    };
    let line = format!(
        "  {:<9}{:>9} {:>9} {:>6} {:<6} {:<14} {}",
        volume.name(disk),
        size(volume.source_size),
        size(volume.size),
        filled(volume),
        kind(volume),
        shortened(&(clean(mount) + &more), 14),
        shortened(&known_by(&volume.identity), 20)
    );
    line.trim_end().to_owned() + "\n"
}

/// How full it will be.
fn filled(volume: &Volume) -> String {
    match &volume.fill {
        Fill::Files { used, .. } => {
            let percent = u128::from(*used) * 100 / u128::from(volume.size.max(1));
            format!("{percent} %")
        }
        _ => String::new(),
    }
}

fn kind(volume: &Volume) -> &str {
    match &volume.fill {
        Fill::Files { format, .. } => &format.kind,
        Fill::Blocks { kind } => kind,
        Fill::Swap => "swap",
        Fill::Reserved => "-",
    }
}

fn known_by(identity: &Identity) -> String {
    let quoted = identity
        .label
        .as_ref()
        .map(|label| format!("\"{}\"", clean(label)));
    quoted.or_else(|| identity.uuid.clone()).unwrap_or_default()
}

/// The beginning of a text that is too long.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(most - 1).collect();
    beginning + "…"
}

/// What cannot move a terminal's cursor.
fn clean(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    text.chars().map(shown).collect()
}
