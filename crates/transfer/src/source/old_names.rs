//! `/dev/sda1`, `/dev/disk/by-id/...`: names that a kernel or udev gave, and
//! that another one, or an image, does not have. One is believed where what the
//! system says of it fits one disk alone.

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
    if is_udevs(path) {
        return Some(match path.rsplit_once("-part") {
            Some((stem, number)) => (stem.to_owned(), number.parse().ok()?),
            None => (path.to_owned(), 0),
        });
    }
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

/// Whether udev made the name of what the disk itself says, or of its place.
fn is_udevs(path: &str) -> bool {
    ["/dev/disk/by-id/", "/dev/disk/by-path/"]
        .iter()
        .any(|directory| path.starts_with(directory))
}

/// The partition's name on that disk.
fn partition(stem: &str, number: u32) -> String {
    match number {
        0 => stem.to_owned(),
        n if is_udevs(stem) => format!("{stem}-part{n}"),
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
    // What udev calls a disk here, it was called there.
    let by_udev = |disk: &Disk| disk.names.iter().any(|name| is_udevs(name));
    let nameless = (0..disks.len()).filter(|disk| !by_udev(&disks[*disk]));
    let nameless: BTreeSet<usize> = nameless.collect();
    let all = claims(entries, roots);
    let (of_udev, of_kernel) = all.into_iter().partition(|(stem, _)| is_udevs(stem));

    let mut choice = Choice::new(disks, entries, root, findings);
    let kernels = choice.of_kernel(&of_kernel);
    name_all(disks, &kernels);
    add_present_names(disks, &of_kernel);

    let mut choice = Choice::new(disks, entries, root, findings);
    let udevs = choice.of_udev(&of_udev, &nameless);
    name_all(disks, &udevs);
}

type Claims = BTreeMap<String, Vec<Claim>>;

/// Disks, by their numbers, with what they are called.
type Names = Vec<(usize, String)>;

struct Choice<'a> {
    disks: &'a [Disk],
    root: Place,
    /// Where areas are mounted that fstab names by what is theirs alone.
    taken: HashMap<Place, Option<String>>,
    findings: &'a mut Findings,
}

impl<'a> Choice<'a> {
    fn new(disks: &'a [Disk], entries: &[Entry], root: Place, findings: &'a mut Findings) -> Self {
        let index = Index::new(disks);
        let place = |entry: &Entry| match index.find(&entry.spec) {
            Known::Area(place) => Some((place, entry.path.clone())),
            _ => None,
        };
        let mut taken: HashMap<_, _> = entries.iter().filter_map(place).collect();
        taken.insert(root, Some("/".to_owned()));
        Self {
            disks,
            root,
            taken,
            findings,
        }
    }

    /// A kernel gives each disk one name.
    fn of_kernel(&mut self, claims: &Claims) -> Names {
        let mut free: BTreeSet<usize> = (0..self.disks.len()).collect();
        let mut names = Names::new();
        let has_root = |claims: &[Claim]| claims.iter().any(|claim| claim.holds == Holds::Root);
        // What the root is on is known best, and then no longer in question.
        let (first, rest): (Vec<_>, Vec<_>) =
            claims.iter().partition(|(_, claims)| has_root(claims));
        for (stem, claims) in first.into_iter().chain(rest) {
            if let Some(disk) = self.chosen(stem, claims, &free) {
                free.remove(&disk);
                names.push((disk, stem.clone()));
            }
        }
        names
    }

    /// udev gives each disk many.
    fn of_udev(&mut self, claims: &Claims, nameless: &BTreeSet<usize>) -> Names {
        let chosen = |(stem, claims): (&String, &Vec<Claim>)| {
            Some((self.chosen(stem, claims, nameless)?, stem.clone()))
        };
        claims.iter().filter_map(chosen).collect()
    }

    fn chosen(&mut self, stem: &str, claims: &[Claim], free: &BTreeSet<usize>) -> Option<usize> {
        let fits = |disk: &usize| claims.iter().all(|claim| self.fits(claim, *disk));
        let candidates: Vec<usize> = free.iter().copied().filter(fits).collect();
        let by_name = |disk: &&usize| self.disks[**disk].path == Path::new(stem);
        let chosen = match candidates.as_slice() {
            [] => return None,
            [only] => Some(*only),
            many => many.iter().find(by_name).copied(),
        };
        let Some(disk) = chosen else {
            self.findings.remark(format!(
                "{stem} in the system's configuration may be any of {} disks",
                candidates.len()
            ));
            return None;
        };
        let path = &self.disks[disk].path;
        if candidates.len() > 1 {
            self.findings.remark(format!(
                "{stem} in the system's configuration is taken for {}, by its present name \
                 alone: look whether that is right",
                path.display()
            ));
        } else if path != Path::new(stem) {
            self.findings.remark(format!(
                "{stem} in the system's configuration is taken for {}, the only disk that it fits",
                path.display()
            ));
        }
        Some(disk)
    }

    fn fits(&self, claim: &Claim, number: usize) -> bool {
        let disk = &self.disks[number];
        let mut areas = disk.areas.iter();
        let Some(area) = areas.position(|area| area.number == claim.number) else {
            return false;
        };
        let place = Place { disk: number, area };
        match (&claim.holds, &disk.areas[area].content) {
            (Holds::Root, _) => place == self.root,
            (Holds::Swap, content) => matches!(content, Content::Swap(_)),
            (Holds::Filesystem(kind, path), Content::Filesystem(filesystem)) => {
                let elsewhere = self.taken.get(&place).is_some_and(|other| other != path);
                !elsewhere && same_kind(kind, &filesystem.format.kind)
            }
            (Holds::Filesystem(kind, _), Content::Unmovable(found)) => kind == found,
            (Holds::Filesystem(..), _) => false,
        }
    }
}

fn name_all(disks: &mut [Disk], names: &Names) {
    for (disk, stem) in names {
        let disk = &mut disks[*disk];
        for area in &mut disk.areas {
            area.names.push(partition(stem, area.number));
        }
        disk.names.insert(0, stem.clone());
    }
}

/// A disk's present name counts, unless the system calls another disk so.
fn add_present_names(disks: &mut [Disk], claims: &Claims) {
    let name = |(number, disk): (usize, &Disk)| {
        let (stem, _) = parsed(disk.path.to_str()?)?;
        (!claims.contains_key(&stem)).then_some((number, stem))
    };
    let names: Names = disks.iter().enumerate().filter_map(name).collect();
    name_all(disks, &names);
}

fn claims(entries: &[Entry], roots: &[String]) -> Claims {
    let mut claims = Claims::new();
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
            (
                "/dev/disk/by-id/ata-X-part1-part2",
                Some(("/dev/disk/by-id/ata-X-part1", 2)),
            ),
            ("/dev/disk/by-path/x", Some(("/dev/disk/by-path/x", 0))),
            ("/dev/disk/by-id/x-partition", None),
            ("/dev/disk/by-label/sda1", None),
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
