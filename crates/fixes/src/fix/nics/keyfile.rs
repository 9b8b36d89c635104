//! systemd-networkd's and NetworkManager's files: sections and `key=value`.

use anyhow::Result;

use super::{Names, Words};
use crate::Draft;
use crate::lines::{Line, splice};

const NETWORKD: &str = "etc/systemd/network";

const NETWORK_MANAGER: [&str; 2] = [
    "etc/NetworkManager/system-connections",
    "usr/lib/NetworkManager/system-connections",
];

/// networkd's keys whose value names cards, by their section.
const NETWORKD_KEYS: [(&str, &str); 7] = [
    ("Match", "Name"),
    ("Match", "OriginalName"),
    ("Match", "MACAddress"),
    ("Match", "PermanentMACAddress"),
    ("Network", "BindCarrier"),
    ("Link", "Name"),
    ("Link", "MACAddress"),
];

/// NetworkManager's, in any section.
const NETWORK_MANAGER_KEYS: [&str; 8] = [
    "interface-name",
    "mac-address",
    "cloned-mac-address",
    "parent",
    "master",
    "controller",
    "primary",
    "mac-address-blacklist",
];

/// All the files.
pub fn files(draft: &Draft) -> Result<Vec<String>> {
    let mut files = networkd_files(draft)?;
    files.extend(network_manager_files(draft)?);
    Ok(files)
}

fn networkd_files(draft: &Draft) -> Result<Vec<String>> {
    let mut files = draft.list_paths(NETWORKD, ".network")?;
    files.extend(draft.list_paths(NETWORKD, ".netdev")?);
    Ok(files)
}

fn network_manager_files(draft: &Draft) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for directory in NETWORK_MANAGER {
        files.extend(draft.list_paths(directory, "")?);
    }
    Ok(files)
}

/// Renames in networkd's files; returns those that changed.
pub fn edit_networkd(draft: &mut Draft, names: &Names) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for path in networkd_files(draft)? {
        let mut hardware = false;
        let edited = edit(draft, &path, |section, key, value| {
            hardware |= section == "Match" && ["Path", "Driver"].contains(&key);
            let known = NETWORKD_KEYS.contains(&(section, key));
            known.then(|| patterns(value, names))
        })?;
        if hardware {
            draft.warn(format!(
                "/{path} chooses a card by its place or driver: look whether it must change"
            ));
        }
        changed.extend(edited.then_some(path));
    }
    Ok(changed)
}

/// Each word by itself: a name, an address, or a pattern that covered the old
/// name and does not cover the new one.
fn patterns(value: &str, names: &Names) -> String {
    let places = crate::lines::words_of(value);
    let change = |place: std::ops::Range<usize>| {
        let word = &value[place.clone()];
        let new = names.word(word, Words::Whole);
        let new = new.or_else(|| {
            let pattern = word.contains(['*', '?']).then(|| names.pattern(word));
            pattern.flatten().map(str::to_owned)
        });
        Some((place, new?))
    };
    let changes: Vec<_> = places.into_iter().filter_map(change).collect();
    splice(value, &changes)
}

/// Renames in NetworkManager's files; returns those that changed.
pub fn edit_network_manager(draft: &mut Draft, names: &Names) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for path in network_manager_files(draft)? {
        let edited = edit(draft, &path, |_, key, value| {
            let known = NETWORK_MANAGER_KEYS.contains(&key);
            known.then(|| names.replace(value, Words::Whole))
        })?;
        changed.extend(edited.then_some(path));
    }
    Ok(changed)
}

/// Edits values; `new` gets section, key and value.
fn edit(
    draft: &mut Draft,
    path: &str,
    mut new: impl FnMut(&str, &str, &str) -> Option<String>,
) -> Result<bool> {
    let mut section = String::new();
    draft.edit(path, |line| {
        let text = line.trim();
        if let Some(name) = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
        {
            section = name.to_owned();
            return Line::Keep;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Line::Keep;
        };
        match new(&section, key.trim(), value) {
            Some(value) => Line::of(line, format!("{key}={value}")),
            None => Line::Keep,
        }
    })
}
