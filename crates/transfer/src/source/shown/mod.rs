//! A source for people: a table and a drawn bar a disk, the system, and what
//! was found. No line is wider than 80 columns but those of findings, and
//! nothing from the disks reaches a terminal as it is.

mod bar;

use super::{Area, Content, Disk, Source, System};

pub use bar::Letters;

/// Columns of a terminal.
const WIDTH: usize = 80;

/// The whole of it.
pub fn text(source: &Source, letters: Letters) -> String {
    let mut text = String::new();
    for disk in &source.disks {
        text += &of_disk(disk, letters);
        text.push('\n');
    }
    text += &of_system(&source.system);
    for (title, findings) in [
        ("It cannot be moved as it is:", &source.obstacles),
        ("Worth knowing:", &source.remarks),
    ] {
        if !findings.is_empty() {
            text += &format!("\n{title}\n");
        }
        for finding in findings {
            text += &wrapped(&plain(finding));
        }
    }
    text
}

fn of_disk(disk: &Disk, letters: Letters) -> String {
    let table = match &disk.table {
        Some(table) if table.label == "gpt" => "GPT",
        Some(_) => "MBR",
        None => "no partition table",
    };
    let mut title = vec![size(disk.size), table.to_owned()];
    if disk.sector_size != 512 {
        title.push(format!("sectors of {} bytes", disk.sector_size));
    }
    title.extend(disk.model.clone());
    let title = title.join("  ");
    let path = disk.path.display().to_string();
    let mut text = match path.chars().count() + title.chars().count() + 2 > WIDTH {
        // An image's path may be long, and its end tells most.
        true => line(&last(&path, WIDTH)) + &line(&title),
        false => line(&format!("{path}  {title}")),
    };
    text += &line(&bar::drawn(disk, letters, WIDTH));
    text + &columns(&disk.areas)
}

/// The end of a text that is too long.
fn last(text: &str, width: usize) -> String {
    let count = text.chars().count();
    match count > width {
        true => format!(
            "...{}",
            text.chars().skip(count + 3 - width).collect::<String>()
        ),
        false => text.to_owned(),
    }
}

/// The beginning of such a text.
fn first(text: &str, width: usize) -> String {
    let count = text.chars().count();
    match count > width {
        true => {
            text.chars()
                .take(width.saturating_sub(3))
                .collect::<String>()
                + "..."
        }
        false => text.to_owned(),
    }
}

/// The areas below each other, each column as wide as it must be.
fn columns(areas: &[Area]) -> String {
    const TITLES: [&str; 6] = ["No.", "Size", "Used", "Type", "Mounted on", "Known as"];
    /// No column but the last is wider.
    const WIDEST: usize = 24;
    if areas.is_empty() {
        return String::new();
    }
    let titles = TITLES.map(str::to_owned);
    let rows: Vec<[String; 6]> = [titles].into_iter().chain(areas.iter().map(row)).collect();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0).min(WIDEST)
    };
    let mut text = String::new();
    for row in &rows {
        let mut cells = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            let cut: String = match column {
                // The first digits of a UUID are enough to tell it from others.
                5 => first(cell, WIDTH.saturating_sub(cells.chars().count() + 2)),
                _ => cell.chars().take(width).collect(),
            };
            // Numbers stand below each other.
            cells += &match column {
                0..=2 => format!("  {cut:>width$}"),
                _ => format!("  {cut:<width$}"),
            };
        }
        text += &line(&cells);
    }
    text
}

fn row(area: &Area) -> [String; 6] {
    let (used, kind, mounts) = match &area.content {
        Content::Filesystem(it) => {
            let mounts: Vec<&str> = it.mounts.iter().map(|point| point.path.as_str()).collect();
            (size(it.used), it.format.kind.as_str(), mounts.join(" "))
        }
        Content::Swap(_) => (String::new(), "swap", String::new()),
        Content::BiosBoot => (String::new(), "BIOS boot", String::new()),
        Content::Unmovable(kind) => (String::new(), kind.as_str(), String::new()),
        Content::Nothing => (String::new(), "unknown", String::new()),
    };
    let number = match area.number {
        0 => "-".to_owned(),
        number => number.to_string(),
    };
    [
        number,
        size(area.size),
        used,
        plain(kind),
        plain(&mounts),
        plain(known_as(area)),
    ]
}

/// What people know it by: the label before the UUID.
fn known_as(area: &Area) -> &str {
    let of = |tag: &str| area.names.iter().find(|name| name.starts_with(tag));
    let name = of("LABEL=").or(of("UUID=")).or(of("PARTLABEL="));
    name.map_or("", String::as_str)
}

fn of_system(system: &System) -> String {
    let mut text = String::new();
    let mut add = |title: &str, value: String| {
        if !value.is_empty() {
            text += &line(&format!("{title:<14}{value}"));
        }
    };
    add("System", system.name.clone().unwrap_or_default());
    add("Hostname", system.hostname.clone().unwrap_or_default());
    let boot = match system.boot {
        p2v_fixes::machine::BootMode::Bios => "BIOS",
        p2v_fixes::machine::BootMode::Efi => "EFI",
        p2v_fixes::machine::BootMode::Direct => "a kernel from outside",
    };
    let is_known = system.name.is_some() || !system.fstab.is_empty();
    let loaders = system.boot_loaders.join(", ");
    if is_known {
        let with = if loaders.is_empty() { "" } else { ", " };
        add("Starts by", format!("{boot}{with}{loaders}"));
    }
    add("Init", system.init.clone().unwrap_or_default());
    for kernel in &system.kernels {
        let mut value = kernel.version.clone();
        if kernel.initramfs.is_none() {
            value += ", no initramfs";
        }
        if !kernel.modules {
            value += ", no modules";
        }
        add("Kernel", value);
    }
    add("Swap files", system.swap_files.join(" "));
    add("Network by", system.network.join(", "));
    for nic in &system.nics {
        let mac = nic.mac.clone().unwrap_or_default();
        let name = if nic.name.is_empty() {
            "(any)"
        } else {
            &nic.name
        };
        add("Network card", format!("{name}  {mac}"));
    }
    text
}

/// A line, cut where the terminal ends.
fn line(text: &str) -> String {
    let cut: String = plain(text).chars().take(WIDTH).collect();
    cut.trim_end().to_owned() + "\n"
}

/// Without what a terminal might obey.
fn plain(text: &str) -> String {
    let letter = |letter: char| match letter {
        // These change the direction of what follows.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        _ if letter.is_control() => '\u{fffd}',
        _ => letter,
    };
    text.chars().map(letter).collect()
}

/// A paragraph with a dash. Words longer than a line, such as paths to be
/// copied, stay whole.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut current = String::from("-");
    for word in text.split(' ') {
        let is_started = current.len() > 1;
        if is_started && current.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &current;
            lines.push('\n');
            current = String::from(" ");
        }
        current.push(' ');
        current += word;
    }
    lines + &current + "\n"
}

/// Bytes in words: `1.5 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests;
