//! ifcfg files, Red Hat's and SUSE's, which have the card's name in their own.

use anyhow::{Result, bail};

use super::names::split_derived;
use super::{Names, Words};
use crate::Draft;
use crate::lines::{Line, assigned, splice};

const DIRECTORIES: [&str; 2] = ["etc/sysconfig/network-scripts", "etc/sysconfig/network"];

/// What a file's name begins with, before the card's.
const PREFIXES: [&str; 8] = [
    "ifcfg-", "route-", "route6-", "rule-", "rule6-", "keys-", "ifroute-", "ifrule-",
];

/// What editors and packages leave behind.
const BACKUPS: [&str; 5] = ["~", ".bak", ".orig", ".rpmnew", ".rpmsave"];

/// A card's address given to it once more.
const SPOOFED: [&str; 2] = ["MACADDR", "LLADDR"];

/// The files.
pub fn files(draft: &Draft) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for directory in DIRECTORIES {
        let named = |path: &String| {
            let name = path.rsplit('/').next().unwrap_or(path);
            PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                && !BACKUPS.iter().any(|end| name.ends_with(end))
        };
        files.extend(draft.list_paths(directory, "")?.into_iter().filter(named));
    }
    Ok(files)
}

/// Renames in the files, and the files; returns those that changed.
pub fn edit(draft: &mut Draft, names: &Names) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    let files = files(draft)?;
    for path in &files {
        if draft.edit(path, |line| renamed(line, names))? {
            changed.push(path.clone());
        }
    }
    if draft
        .edit("etc/sysconfig/network", |line| gateway(line, names))
        .unwrap_or(false)
    {
        changed.push("etc/sysconfig/network".to_owned());
    }
    let moves: Vec<_> = files
        .into_iter()
        .filter_map(|path| Some((new_path(&path, names)?, path)))
        .filter(|(to, from)| to != from)
        .collect();
    for (to, from) in rename_all(draft, moves)? {
        changed.retain(|path| *path != from);
        changed.push(format!("{from} is now /{to}"));
    }
    Ok(changed)
}

fn renamed(line: &str, names: &Names) -> Line {
    if line.trim_start().starts_with('#') {
        return Line::Keep;
    }
    for name in SPOOFED {
        let value = assigned(line, name).map(|place| &line[place]);
        if value.is_some_and(|mac| names.by_old_mac(mac).is_some()) {
            return Line::Drop;
        }
    }
    // What people call a connection is no card's name.
    if assigned(line, "NAME").is_some() {
        return Line::Keep;
    }
    Line::of(line, names.replace(line, Words::Derived))
}

fn gateway(line: &str, names: &Names) -> Line {
    match assigned(line, "GATEWAYDEV") {
        Some(place) => {
            let new = names.replace(&line[place.clone()], Words::Derived);
            Line::of(line, splice(line, &[(place, new)]))
        }
        None => Line::Keep,
    }
}

fn new_path(path: &str, names: &Names) -> Option<String> {
    let (directory, name) = path.rsplit_once('/')?;
    let prefix = PREFIXES.iter().find(|prefix| name.starts_with(**prefix))?;
    let card = names.word(&name[prefix.len()..], Words::Derived)?;
    Some(format!("{directory}/{prefix}{card}"))
}

/// All at once, since cards may swap names. A file whose new name another one
/// has is the one that is right: both cannot be.
fn rename_all(draft: &mut Draft, moves: Vec<(String, String)>) -> Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for (to, from) in &moves {
        let taken = draft.exists(to) && !moves.iter().any(|(_, other)| other == to);
        if taken {
            bail!("/{from} must become /{to}, which is there: remove the one that is wrong");
        }
        let bytes = draft.read(from)?.unwrap_or_default();
        texts.push((to.clone(), bytes, draft.mode(from)?));
    }
    moves.iter().for_each(|(_, from)| draft.remove(from));
    for (to, bytes, mode) in texts {
        draft.write_mode(to, bytes, mode)?;
    }
    Ok(moves)
}

/// Makes cards that are not there no failure: not brought up at the start.
/// Returns the files that changed.
pub fn demote(draft: &mut Draft, absent: &[String]) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for path in files(draft)? {
        let name = path.rsplit('/').next().unwrap_or(&path);
        let card = name.strip_prefix("ifcfg-").unwrap_or_default();
        let (base, _) = split_derived(card);
        if !absent.iter().any(|absent| absent == base) {
            continue;
        }
        let edited = draft.edit(&path, |line| {
            let off = [("ONBOOT", "no"), ("STARTMODE", "hotplug")];
            let place = off
                .iter()
                .find_map(|(key, off)| Some((assigned(line, key)?, *off)));
            match place {
                Some((place, off)) => Line::of(line, splice(line, &[(place, off.to_owned())])),
                None => Line::Keep,
            }
        })?;
        changed.extend(edited.then_some(path));
    }
    Ok(changed)
}
