//! `/dev/sda1` and the like: names that a kernel gave, and that another one, or
//! an image, does not have. One is believed where what the system says of it
//! fits one disk alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::findings::Findings;
use super::fstab::Entry;
use super::index::{Index, Known, Place};
use super::{Content, Disk};

/// What a system says of a partition by a kernel's name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    number: u32,
    holds: Holds,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Holds {
    /// The root itself.
    Root,
    Swap,
    /// A filesystem of this type, mounted there.
    Filesystem(String, Option<String>),
}

/// The disk's name and the partition's number, 0 for a whole disk, in a path
/// as the kernel makes them.
fn parsed(path: &str) -> Option<(String, u32)> {
    let name = path.strip_prefix("/dev/")?;
    let stem = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let number = &name[stem.len()..];
    for prefix in ["nvme", "mmcblk"] {
        let Some(rest) = name.strip_prefix(prefix) else {
            continue;
        };
        let (disk, number) = match rest.rsplit_once('p') {
            Some((disk, number)) => (disk, number.parse().ok()?),
            None => (rest, 0),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let sound = match (prefix, disk.split_once('n')) {
            ("nvme", Some((controller, space))) => digits(controller) && digits(space),
            ("nvme", None) => false,
            _ => digits(disk),
        };
        return sound.then(|| (format!("/dev/{prefix}{disk}"), number));
    }
    let is_disk = ["sd", "hd", "vd", "xvd"].iter().any(|prefix| {
        let letters = stem.strip_prefix(prefix);
        letters.is_some_and(|letters| {
            !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_lowercase())
        })
    });
    let number = if number.is_empty() {
        0
    } else {
        number.parse().ok()?
    };
    is_disk.then(|| (format!("/dev/{stem}"), number))
}

/// The partition's name on that disk.
fn partition(stem: &str, number: u32) -> String {
    match number {
        0 => stem.to_owned(),
        n if stem.ends_with(|last: char| last.is_ascii_digit()) => format!("{stem}p{n}"),
        n => format!("{stem}{n}"),
    }
}

/// Adds to the disks' names what fstab and boot loaders call them. `roots` are
/// the words after `root=` in boot loaders' configurations.
pub fn assign(
    disks: &mut [Disk],
    entries: &[Entry],
    roots: &[String],
    root: Place,
    findings: &mut Findings,
) {
    let claims = claims(entries, roots);
    let taken = taken(disks, entries);
    let mut free: BTreeSet<usize> = (0..disks.len()).collect();
    let mut names: BTreeMap<usize, String> = BTreeMap::new();
    let has_root = |claims: &[Claim]| claims.iter().any(|claim| claim.holds == Holds::Root);
    // What the root is on is known best, and then no longer in question.
    let (first, rest): (Vec<_>, Vec<_>) = claims.iter().partition(|(_, claims)| has_root(claims));
    for (stem, claims) in first.into_iter().chain(rest) {
        let fits = |disk: &usize| {
            let fits = |claim: &Claim| fits(claim, *disk, &disks[*disk], root, &taken);
            claims.iter().all(fits)
        };
        let candidates: Vec<usize> = free.iter().copied().filter(fits).collect();
        let by_name = |disk: &&usize| disks[**disk].path == Path::new(stem);
        let chosen = match candidates.as_slice() {
            [] => None,
            [only] => Some(*only),
            many => many.iter().find(by_name).copied(),
        };
        match chosen {
            Some(disk) => {
                let path = disks[disk].path.display();
                if candidates.len() > 1 {
                    findings.remark(format!(
                        "{stem} in the system's configuration is taken for {path}, by its present \
                         name alone: look whether that is right"
                    ));
                } else if disks[disk].path != Path::new(stem) {
                    findings.remark(format!(
                        "{stem} in the system's configuration is taken for {path}, the only disk \
                         that it fits"
                    ));
                }
                free.remove(&disk);
                names.insert(disk, stem.clone());
            }
            None if !candidates.is_empty() => findings.remark(format!(
                "{stem} in the system's configuration may be any of {} disks",
                candidates.len()
            )),
            None => {}
        }
    }
    name_all(disks, &names, &claims);
}

fn name_all(
    disks: &mut [Disk],
    names: &BTreeMap<usize, String>,
    claims: &BTreeMap<String, Vec<Claim>>,
) {
    for (number, disk) in disks.iter_mut().enumerate() {
        let present = disk.path.to_str().unwrap_or_default();
        let old = names.get(&number).cloned();
        // Its present name counts, unless the system calls another disk so.
        let own = parsed(present).map(|(stem, _)| stem);
        let own = own.filter(|own| !claims.contains_key(own));
        for stem in old.into_iter().chain(own) {
            for area in &mut disk.areas {
                area.names.push(partition(&stem, area.number));
            }
            disk.names.insert(0, stem);
        }
    }
}

fn claims(entries: &[Entry], roots: &[String]) -> BTreeMap<String, Vec<Claim>> {
    let mut claims: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
    let mut add = |word: &str, holds: Holds| {
        if let Some((stem, number)) = parsed(word) {
            claims
                .entry(stem)
                .or_default()
                .push(Claim { number, holds });
        }
    };
    for entry in entries {
        let holds = match entry.path.as_deref() {
            _ if entry.is_swap() => Holds::Swap,
            Some("/") => Holds::Root,
            path => Holds::Filesystem(entry.kind.clone(), path.map(str::to_owned)),
        };
        add(&entry.spec, holds);
    }
    for word in roots {
        add(word, Holds::Root);
    }
    claims
}

/// Where areas are mounted that fstab names by what is theirs alone.
fn taken(disks: &[Disk], entries: &[Entry]) -> HashMap<Place, Option<String>> {
    let index = Index::new(disks);
    let place = |entry: &Entry| match index.find(&entry.spec) {
        Known::Area(place) => Some((place, entry.path.clone())),
        _ => None,
    };
    entries.iter().filter_map(place).collect()
}

fn fits(
    claim: &Claim,
    number: usize,
    disk: &Disk,
    root: Place,
    taken: &HashMap<Place, Option<String>>,
) -> bool {
    let mut areas = disk.areas.iter();
    let Some(area) = areas.position(|area| area.number == claim.number) else {
        return false;
    };
    let place = Place { disk: number, area };
    match (&claim.holds, &disk.areas[area].content) {
        (Holds::Root, _) => place == root,
        (Holds::Swap, content) => matches!(content, Content::Swap(_)),
        (Holds::Filesystem(kind, path), Content::Filesystem(filesystem)) => {
            let elsewhere = taken.get(&place).is_some_and(|other| other != path);
            !elsewhere && same_kind(kind, &filesystem.format.kind)
        }
        (Holds::Filesystem(kind, _), Content::Unmovable(found)) => kind == found,
        (Holds::Filesystem(..), _) => false,
    }
}

fn same_kind(written: &str, found: &str) -> bool {
    let ext = |kind: &str| kind.starts_with("ext");
    written == "auto" || written == found || ext(written) && ext(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_names_of_disks_and_partitions() {
        for (path, expected) in [
            ("/dev/sda1", Some(("/dev/sda", 1))),
            ("/dev/sdab12", Some(("/dev/sdab", 12))),
            ("/dev/hda", Some(("/dev/hda", 0))),
            ("/dev/xvda2", Some(("/dev/xvda", 2))),
            ("/dev/nvme0n1p3", Some(("/dev/nvme0n1", 3))),
            ("/dev/nvme0n1", Some(("/dev/nvme0n1", 0))),
            ("/dev/mmcblk0p2", Some(("/dev/mmcblk0", 2))),
            ("/dev/nvme0", None),
            ("/dev/sda99999999999", None),
            ("/dev/sd1", None),
            ("/dev/sdA1", None),
            ("/dev/mapper/a-b", None),
            ("/dev/md0", None),
            ("/dev/sr0", None),
            ("UUID=sda1", None),
        ] {
            let found = parsed(path);
            let found = found
                .as_ref()
                .map(|(stem, number)| (stem.as_str(), *number));
            assert_eq!(found, expected, "{path}");
            if let Some((stem, number)) = found {
                assert_eq!(partition(stem, number), path);
            }
        }
    }
}
