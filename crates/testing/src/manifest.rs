//! All that a tree of files holds, in words, to compare two trees file for
//! file: types, owners, modes, times, contents, holes, hard links, devices and
//! extended attributes, which ACLs and capabilities are too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs::{File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

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
        // Not their number: extents and attributes need blocks, too.
        let holes = metadata.blocks() * 512 + 4096 < metadata.len();
        let hash = hash_of_sparse(place)?;
        let mut words = format!(" size {} hash {hash} first {first:?}", metadata.len());
        words += if holes { " with holes" } else { "" };
        Ok(words)
    }
}

/// A hash of a file's contents that skips its holes, and does not tell them
/// from zeros: fast for a file that is all holes.
pub fn hash_of_sparse(place: &Path) -> Result<blake3::Hash> {
    const BLOCK: usize = 4096;
    let doing = || format!("reading {}", place.display());
    let file = File::open(place).with_context(doing)?;
    let length = file.metadata().with_context(doing)?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&length.to_le_bytes());
    let mut block = [0; BLOCK];
    let mut at = 0;
    while at < length {
        let Some(data) = seek(&file, at, Whence::SeekData).with_context(doing)? else {
            break;
        };
        let end = seek(&file, data, Whence::SeekHole).with_context(doing)?;
        // Whole blocks, counted from the file's start, each once.
        at = at.max(data / BLOCK as u64 * BLOCK as u64);
        while at < end.unwrap_or(length).min(length) {
            let count = BLOCK.min(usize::try_from(length - at).unwrap_or(BLOCK));
            file.read_exact_at(&mut block[..count], at)
                .with_context(doing)?;
            if block[..count] != [0; BLOCK][..count] {
                hasher.update(&at.to_le_bytes()).update(&block[..count]);
            }
            at += count as u64;
        }
    }
    Ok(hasher.finalize())
}

/// The next data or hole from `at` on; none if there is no more data.
fn seek(file: &File, at: u64, whence: Whence) -> Result<Option<u64>> {
    match lseek(file, i64::try_from(at)?, whence) {
        Ok(found) => Ok(Some(u64::try_from(found)?)),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
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

    #[test]
    fn sparse_files_with_the_same_contents_have_one_hash() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, pieces: &[(u64, &[u8])], length: u64| {
            let path = dir.path().join(name);
            let file = File::create(&path).unwrap();
            for (at, bytes) in pieces {
                file.write_all_at(bytes, *at).unwrap();
            }
            file.set_len(length).unwrap();
            hash_of_sparse(&path).unwrap()
        };
        let (one, size) = (&b"one"[..], 300_000);
        let holes = make("a", &[(5, one), (200_000, one)], size);
        let zeros = make("b", &[(0, &[0; 150_000]), (5, one), (200_000, one)], size);
        assert_eq!(holes, zeros);
        assert_ne!(holes, make("c", &[(6, one), (200_000, one)], size));
        assert_ne!(holes, make("d", &[(5, one), (204_096, one)], size));
        assert_ne!(holes, make("e", &[(5, one), (200_000, one)], size + 1));
        assert_ne!(holes, make("f", &[(5, one)], size));
    }
}
