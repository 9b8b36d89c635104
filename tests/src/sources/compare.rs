//! The moved machine's disk against the source's, at rest: each filesystem
//! found again by its UUID, and every file compared.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use p2v_sys::Cmd;
use p2v_sys::loopdev::Extent;

use super::{Recipe, Source, Volume, extent};
use crate::MIB;
use crate::image::{self, MountedPart};
use crate::manifest::{self, Manifest};

/// What was found by comparing.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Files that were looked at on the source.
    pub files: usize,
    /// How many files the fixes changed, as they may, by [`Recipe::changes`].
    pub changed: BTreeMap<&'static str, usize>,
    /// All that is not as it should be.
    pub wrong: Vec<String>,
}

/// Compares every volume of `source` with what is on `disk`.
pub fn compare(source: &Source, disk: &Path, dir: &Path) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    for volume in source.recipe.volumes {
        let old = extent(&source.disk, volume.number)?;
        let found = image::probe(&source.disk, old)?;
        let new = image::partitions(disk)?
            .into_iter()
            .map(|part| part.extent)
            .find(|extent| image::probe(disk, *extent).is_ok_and(|other| other == found));
        let Some(new) = new else {
            let lost = format!("no partition has the {} {}", found.kind, found.uuid);
            comparison.wrong.push(lost);
            continue;
        };
        if let (Some(kind), Some(place)) = (volume.kind, volume.mount) {
            let one = files(&source.disk, old, kind, dir)?;
            let other = files(disk, new, kind, dir)?;
            comparison.files += one.len();
            judge(
                &mut comparison,
                source.recipe,
                (volume, place),
                &one,
                &other,
            );
        }
    }
    Ok(comparison)
}

fn files(disk: &Path, extent: Extent, kind: &str, dir: &Path) -> Result<Manifest> {
    if kind == "vfat" {
        return files_of_vfat(disk, extent, dir);
    }
    let mounted = MountedPart::new(disk, extent, kind, dir)
        .with_context(|| format!("looking into {}", disk.display()))?;
    let files = manifest::of(mounted.path())?;
    mounted.close()?;
    Ok(files)
}

/// Only names and contents: this machine's kernel may not know vfat.
fn files_of_vfat(disk: &Path, extent: Extent, dir: &Path) -> Result<Manifest> {
    let copy = tempfile::Builder::new().prefix("vfat-").tempdir_in(dir)?;
    Cmd::new("mcopy", format!("reading the ESP of {}", disk.display()))
        .args(["-s", "-n", "-i"])
        .arg(format!("{}@@{}", disk.display(), extent.offset))
        .arg("::")
        .arg(copy.path())
        .run()?;
    let mut files = manifest::of(copy.path())?;
    // Its copies have the time of now.
    for words in files.values_mut() {
        *words = without_time(words);
    }
    Ok(files)
}

fn judge(
    comparison: &mut Comparison,
    recipe: &Recipe,
    (volume, place): (&Volume, &str),
    one: &Manifest,
    other: &Manifest,
) {
    let named: BTreeMap<&PathBuf, String> = manifest::differing(one, other)
        .into_iter()
        .filter(|(path, _)| !differ_in_small_holes(one.get(*path), other.get(*path)))
        .collect();
    let path_of = |path: &Path| machine_path(volume, place, path);
    let may = |path: &Path| allowed(recipe, &path_of(path)).is_some();
    for (path, words) in &named {
        let shown = path_of(path);
        let parent_of_changed = || {
            let time_only = match (one.get(*path), other.get(*path)) {
                (Some(one), Some(other)) => without_time(one) == without_time(other),
                _ => false,
            };
            time_only
                && named
                    .keys()
                    .any(|child| child.parent() == Some(path) && may(child))
        };
        if let Some(pattern) = allowed(recipe, &shown) {
            *comparison.changed.entry(pattern).or_default() += 1;
        } else if !parent_of_changed() {
            let words: String = words.chars().take(400).collect();
            comparison.wrong.push(format!("{shown:?}: {words}"));
        }
    }
}

/// Where the machine itself has it.
fn machine_path(volume: &Volume, place: &str, path: &Path) -> PathBuf {
    let below = match volume.subvolume {
        Some(name) => path.strip_prefix(name).unwrap_or(path),
        None => path,
    };
    Path::new(place).join(below)
}

/// What of the recipe allows the fixes to change it: its name, or how it begins.
fn allowed(recipe: &Recipe, path: &Path) -> Option<&'static str> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => path.as_os_str().as_bytes().starts_with(start.as_bytes()),
        None => path.as_os_str() == OsStr::new(pattern),
    };
    recipe
        .changes
        .iter()
        .copied()
        .find(|pattern| matches(pattern))
}

/// Whether two small files are one but for holes, which cost more to keep
/// there than they save.
fn differ_in_small_holes(one: Option<&String>, other: Option<&String>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    let plain = |words: &str| words.replace(" with holes", "");
    let mut words = one.split(' ').skip_while(|word| *word != "size").skip(1);
    let size = words.next().and_then(|size| size.parse::<u64>().ok());
    size.is_some_and(|size| size < MIB) && plain(one) == plain(other)
}

fn without_time(words: &str) -> String {
    let mut kept: Vec<&str> = words.split(' ').collect();
    if let Some(at) = kept.iter().position(|word| *word == "time") {
        kept.drain(at..(at + 2).min(kept.len()));
    }
    kept.join(" ")
}

impl Comparison {
    /// Fails with all that is wrong.
    pub fn judge(self) -> Result<Self> {
        let most = 15;
        ensure!(
            self.wrong.is_empty(),
            "{} of {} files are not as they were:\n{}",
            self.wrong.len(),
            self.files,
            self.wrong[..self.wrong.len().min(most)].join("\n")
        );
        ensure!(self.files > 0, "nothing was compared");
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{BTRFS, EXT4};

    fn manifest(lines: &[(&str, &str)]) -> Manifest {
        let line = |(path, words): &(&str, &str)| (PathBuf::from(path), (*words).to_owned());
        lines.iter().map(line).collect()
    }

    fn wrong(one: &Manifest, other: &Manifest) -> usize {
        let mut comparison = Comparison::default();
        judge(&mut comparison, &EXT4, (&EXT4.volumes[0], "/"), one, other);
        comparison.wrong.len()
    }

    #[test]
    fn only_what_fixes_change_may_differ() {
        let before = manifest(&[
            ("etc", "mode 1 time 1.0"),
            ("etc/fstab", "a"),
            ("etc/passwd", "a"),
            ("usr", "mode 1 time 1.0"),
        ]);
        let with = |path: &str, words: &str| {
            let mut changed = before.clone();
            changed.insert(PathBuf::from(path), words.to_owned());
            changed
        };
        assert_eq!(wrong(&before, &before), 0);
        assert_eq!(wrong(&before, &with("etc/fstab", "b")), 0);
        assert_eq!(wrong(&before, &with("etc/passwd", "b")), 1);
        assert_eq!(wrong(&before, &with("usr", "mode 1 time 2.0")), 1);
        let mut both = with("etc/fstab", "b");
        both.insert(PathBuf::from("etc"), "mode 1 time 2.0".to_owned());
        assert_eq!(wrong(&before, &both), 0);
        both.insert(PathBuf::from("etc"), "mode 2 time 2.0".to_owned());
        assert_eq!(wrong(&before, &both), 1);
        assert_eq!(wrong(&before, &manifest(&[("etc", "mode 1 time 1.0")])), 2);
        let of_size = |size: u64, holes: &str| manifest(&[("x", &format!("size {size}{holes}"))]);
        let holes = " with holes";
        assert_eq!(wrong(&of_size(5000, holes), &of_size(5000, "")), 0);
        assert_eq!(wrong(&of_size(5000, holes), &of_size(5001, "")), 1);
        assert_eq!(wrong(&of_size(5 << 20, holes), &of_size(5 << 20, "")), 1);
    }

    #[test]
    fn a_subvolume_is_not_in_the_machines_paths() {
        let path = machine_path(&BTRFS.volumes[0], "/", Path::new("@rootfs/etc/fstab"));
        assert_eq!(path, Path::new("/etc/fstab"));
    }
}
