//! Images in words and tables.

use p2v_bootstrap::Metadata;
use p2v_transfer::quantity;
use serde::Serialize;

use super::catalogue::{Entry, Listing};

/// As JSON, for people to read too.
pub fn json(answer: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(answer).expect("an answer is plain data");
    text + "\n"
}

/// A length.
pub fn size(bytes: u64) -> String {
    quantity::bytes(bytes)
}

/// Size and age of a root, in some words.
pub fn summary(metadata: &Metadata) -> String {
    let age = age(Some(metadata.age().as_secs()));
    format!("{}, {age} old", size(metadata.archive_bytes))
}

/// The unit that tells most.
fn age(seconds: Option<u64>) -> String {
    let Some(seconds) = seconds else {
        return "?".to_owned();
    };
    let plural = |count, one| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    match seconds {
        0..3600 => plural(seconds / 60, "minute"),
        3600..172_800 => plural(seconds / 3600, "hour"),
        _ => plural(seconds / 86_400, "day"),
    }
}

/// A line an image, and what there is besides.
pub fn table(listing: &Listing) -> String {
    let mut rows = vec![["IMAGE", "SIZE", "AGE", "KERNEL", "VARIANTS"].map(str::to_owned)];
    for entry in &listing.images {
        let kernel = entry
            .image
            .metadata
            .as_ref()
            .map(|known| known.kernel.clone());
        rows.push([
            entry.image.key.clone(),
            size(entry.image.bytes),
            age(entry.age),
            kernel.unwrap_or_else(|| "?".to_owned()),
            variants(entry),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    if rows.len() > 1 {
        for row in &rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            text += &format!("{}\n", line.join("  ").trim_end());
        }
    }
    let bytes = listing.images.iter().map(|entry| entry.image.bytes).sum();
    let count = |count, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    text + &format!(
        "{}, {}; {}, {}; in {}\n",
        count(listing.images.len(), "image"),
        size(bytes),
        count(listing.initrds.count, "initrd"),
        size(listing.initrds.bytes),
        listing.directory.display()
    )
}

fn variants(entry: &Entry) -> String {
    let mut words = match entry.variants.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    if entry.image.in_use {
        words += " (in use)";
    }
    if entry.image.damage.is_some() {
        words += " (damaged)";
    }
    words
}

/// All that is known of an image, a line each.
pub fn card(entry: &Entry) -> String {
    let mut lines = vec![
        ("image", entry.image.key.clone()),
        ("variants", variants(entry)),
        ("size", size(entry.image.bytes)),
        ("age", age(entry.age)),
    ];
    if let Some(damage) = &entry.image.damage {
        lines.push(("damaged", damage.clone()));
    }
    if let Some(known) = &entry.image.metadata {
        let mirror = known.mirror.as_deref().unwrap_or("the tool's default");
        lines.extend([
            ("unpacked", size(known.unpacked_bytes)),
            ("inodes", quantity::count(known.inodes)),
            ("suite", format!("{} {}", known.suite, known.arch)),
            ("kernel", known.kernel.clone()),
            ("built by", known.tool.clone()),
            ("mirror", mirror.to_owned()),
            ("components", known.components.join(" ")),
            ("packages", known.packages.join(" ")),
            ("BLAKE3", known.archive_blake3.clone()),
        ]);
    }
    let line = |(name, value): &(&str, String)| format!("{name:<12}{value}\n");
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_the_unit_that_tells_most() {
        for (seconds, words) in [
            (Some(59), "0 minutes"),
            (Some(60), "1 minute"),
            (Some(3600), "1 hour"),
            (Some(172_799), "47 hours"),
            (Some(172_800), "2 days"),
            (None, "?"),
        ] {
            assert_eq!(age(seconds), words);
        }
    }
}
