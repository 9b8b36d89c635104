//! ifupdown: /etc/network/interfaces and what it takes in.

use std::collections::BTreeSet;

use anyhow::Result;
use p2v_sys::pattern::matches;

use super::names::split_derived;
use super::{Names, Words, normal_mac};
use crate::Draft;
use crate::lines::{Line, words};

const INTERFACES: &str = "etc/network/interfaces";

/// Lines that name files, not cards.
const SOURCES: [&str; 3] = ["source", "source-directory", "source-dir"];

/// The file, and those that it takes in.
pub fn files(draft: &Draft) -> Result<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut new = vec![INTERFACES.to_owned()];
    while let Some(path) = new.pop() {
        let Ok(Some(text)) = draft.text(&path) else {
            continue;
        };
        if !found.insert(path) {
            continue;
        }
        for line in text.lines() {
            let places = words(line);
            let word = |index: usize| {
                places
                    .get(index)
                    .map(|place: &std::ops::Range<usize>| &line[place.clone()])
            };
            if let (Some("source"), Some(pattern)) = (word(0), word(1)) {
                new.extend(matching(draft, pattern)?);
            } else if let (Some("source-directory" | "source-dir"), Some(directory)) =
                (word(0), word(1))
            {
                new.extend(matching(draft, &format!("{directory}/*"))?);
            }
        }
    }
    // Those that a comment turned off are still worth having right.
    found.extend(draft.list_paths("etc/network/interfaces.d", "")?);
    Ok(found.into_iter().collect())
}

/// The files that a pattern means, which may be relative to /etc/network.
fn matching(draft: &Draft, pattern: &str) -> Result<Vec<String>> {
    let path = match pattern.strip_prefix('/') {
        Some(path) => path.to_owned(),
        None => format!("etc/network/{pattern}"),
    };
    let Some((directory, pattern)) = path.rsplit_once('/') else {
        return Ok(Vec::new());
    };
    let names = draft.list(directory)?.into_iter();
    let names = names.filter(|name| !name.starts_with('.') && matches(pattern, name));
    Ok(names.map(|name| format!("{directory}/{name}")).collect())
}

/// Renames in all of them; returns those that changed.
pub fn edit(draft: &mut Draft, names: &Names) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for path in files(draft)? {
        if draft.edit(&path, |line| renamed(line, names))? {
            changed.push(path);
        }
    }
    Ok(changed)
}

fn renamed(line: &str, names: &Names) -> Line {
    let places = words(line);
    let Some(first) = places.first().map(|place| &line[place.clone()]) else {
        return Line::Keep;
    };
    if SOURCES.contains(&first) {
        return Line::Keep;
    }
    // A card's own old address, given to it once more: the network may refuse
    // another address than the one it gave.
    let mac = places.last().map(|place| &line[place.clone()]);
    if first == "hwaddress"
        && mac.is_some_and(|mac| normal_mac(mac).is_some() && names.by_old_mac(mac).is_some())
    {
        return Line::Drop;
    }
    Line::of(line, names.replace(line, Words::Derived))
}

/// Makes cards that are not there no failure: brought up if they appear.
/// Returns the files that changed.
pub fn demote(draft: &mut Draft, absent: &[String]) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for path in files(draft)? {
        if draft.edit(&path, |line| demoted(line, absent))? {
            changed.push(path);
        }
    }
    Ok(changed)
}

fn demoted(line: &str, absent: &[String]) -> Line {
    let places = words(line);
    let all: Vec<&str> = places.into_iter().map(|place| &line[place]).collect();
    let Some(("auto" | "allow-auto", names)) =
        all.split_first().map(|(first, rest)| (*first, rest))
    else {
        return Line::Keep;
    };
    let is_absent = |name: &&str| {
        let (base, _) = split_derived(name);
        absent.iter().any(|absent| absent == base)
    };
    let (gone, stay): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| is_absent(name));
    if gone.is_empty() {
        return Line::Keep;
    }
    let gone = format!("allow-hotplug {}", gone.join(" "));
    Line::Is(match stay.is_empty() {
        true => gone,
        false => format!("{} {}\n{gone}", all[0], stay.join(" ")),
    })
}
