//! All that a tree of files holds, in words, to compare two trees file for
//! file: types, owners, modes, times, contents, holes, hard links, devices and
//! extended attributes, which ACLs and capabilities are too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What is known of each path below the top, and of the top itself as "".
pub type Manifest = BTreeMap<PathBuf, String>;

/// Looks at everything below `top`.
pub fn of(top: &Path) -> Result<Manifest> {
    look(top, true)
}

/// The same without the times of directories, which change with each file that
/// is replaced.
pub fn without_directory_times(top: &Path) -> Result<Manifest> {
    look(top, false)
}

/// The paths of which two manifests say something else, with both.
pub fn differences(one: &Manifest, other: &Manifest) -> Vec<String> {
    differing(one, other)
        .into_iter()
        .map(|(path, words)| format!("{path:?}: {words}"))
        .collect()
}

/// The keys of which two maps say something else, with both.
pub fn differing<'a, K: Ord + Debug>(
    one: &'a BTreeMap<K, String>,
    other: &'a BTreeMap<K, String>,
) -> Vec<(&'a K, String)> {
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differing = keys
        .into_iter()
        .filter(|key| one.get(*key) != other.get(*key));
    differing
        .map(|key| (key, format!("{:?} / {:?}", one.get(key), other.get(key))))
        .collect()
}

fn look(top: &Path, directory_times: bool) -> Result<Manifest> {
    let mut walk = Walk {
        top,
        directory_times,
        manifest: Manifest::new(),
        links: BTreeMap::new(),
    };
    walk.add(Path::new(""))?;
    Ok(walk.manifest)
}

struct Walk<'a> {
    top: &'a Path,
    directory_times: bool,
    manifest: Manifest,
    /// The first name of each file, by its device and inode.
    links: BTreeMap<(u64, u64), PathBuf>,
}

impl Walk<'_> {
    fn add(&mut self, path: &Path) -> Result<()> {
        let place = self.top.join(path);
        let doing = || format!("examining {}", place.display());
        let metadata = std::fs::symlink_metadata(&place).with_context(doing)?;
        let mut words = self.inode(&metadata);
        words += &attributes(&place).with_context(doing)?;
        let kind = metadata.file_type();
        if kind.is_symlink() {
            let target = std::fs::read_link(&place).with_context(doing)?;
            words += &format!(" -> {:x?}", target.as_os_str().as_bytes());
        } else if kind.is_file() {
            words += &self.content(path, &place, &metadata)?;
        } else if kind.is_dir() {
            for name in names(&place).with_context(doing)? {
                self.add(&path.join(name))?;
            }
        } else {
            words += &format!(" device {:x}", metadata.rdev());
        }
        self.manifest.insert(path.to_owned(), words);
        Ok(())
    }

    fn inode(&self, metadata: &Metadata) -> String {
        let mut words = format!(
            "mode {:o} owner {}:{}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid()
        );
        if self.directory_times || !metadata.is_dir() {
            words += &format!(" time {}.{:09}", metadata.mtime(), metadata.mtime_nsec());
        }
        words
    }

    fn content(&mut self, path: &Path, place: &Path, metadata: &Metadata) -> Result<String> {
        let first = self
            .links
            .entry((metadata.dev(), metadata.ino()))
            .or_insert_with(|| path.to_owned());
        let hash = crate::image::hash(place)?;
        let mut words = format!(" size {} hash {hash} first {first:?}", metadata.len());
        // Not their number: extents and attributes need blocks, too.
        let holes = metadata.blocks() * 512 + 4096 < metadata.len();
        words += if holes { " with holes" } else { "" };
        Ok(words)
    }
}

/// A directory's entries, sorted, so that links have the same first one.
fn names(directory: &Path) -> std::io::Result<Vec<std::ffi::OsString>> {
    let entries = std::fs::read_dir(directory)?;
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Sorted: filesystems tell them in any order.
fn attributes(place: &Path) -> std::io::Result<String> {
    let mut names: Vec<_> = xattr::list(place)?.collect();
    names.sort();
    let mut words = String::new();
    for name in names {
        let value = xattr::get(place, &name)?;
        words += &format!(" {}={value:x?}", name.to_string_lossy());
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn every_kind_of_change_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let look = || without_directory_times(dir.path()).unwrap();
        std::fs::write(file("a"), "one").unwrap();
        std::fs::hard_link(file("a"), file("b")).unwrap();
        std::fs::write(file("c"), "one").unwrap();
        std::fs::write(file("d"), "one").unwrap();
        std::os::unix::fs::symlink("a", file("e")).unwrap();
        let before = look();
        assert_eq!(before.len(), 6);
        assert!(differences(&before, &before).is_empty());
        // The same content and attributes, in a file of its own.
        let time = file("a").metadata().unwrap().modified().unwrap();
        std::fs::remove_file(file("b")).unwrap();
        std::fs::write(file("b"), "one").unwrap();
        let copy = std::fs::File::options().append(true).open(file("b"));
        copy.unwrap().set_modified(time).unwrap();
        std::fs::set_permissions(file("c"), PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(file("d"), "two").unwrap();
        std::fs::remove_file(file("e")).unwrap();
        let after = look();
        let changed: Vec<_> = differing(&before, &after)
            .into_iter()
            .map(|(path, _)| path.display().to_string())
            .collect();
        assert_eq!(changed, ["b", "c", "d", "e"]);
    }
}
