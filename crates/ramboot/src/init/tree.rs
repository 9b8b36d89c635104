//! What is to be copied: every file of the root with its attributes, listed
//! before the first is copied, so that the memory it takes is known, and so
//! that it can be read in the disk's order.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::unistd::{Whence, lseek};

use super::parallel::{self, Load};

/// A page of memory, the unit in which tmpfs stores data, in bytes.
const PAGE: u64 = 4096;

/// One file of any type.
#[derive(Debug)]
pub struct Entry {
    /// Its path relative to the root; "." is the root itself.
    pub path: PathBuf,
    /// As lstat(2) has it.
    pub stat: FileStat,
    /// The entry earlier in the list that is the same file.
    pub same_as: Option<usize>,
    /// Bytes of data it takes in RAM.
    pub data: u64,
}

impl Entry {
    /// The file's type.
    pub fn kind(&self) -> SFlag {
        SFlag::from_bits_truncate(self.stat.st_mode) & SFlag::S_IFMT
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    /// Whether less is stored than its size: it may have holes.
    pub fn is_sparse(&self) -> bool {
        u64::try_from(self.stat.st_blocks).unwrap_or(0) * 512 < self.size()
    }
}

/// Everything below a directory, each directory before what is in it.
#[derive(Debug)]
pub struct Tree {
    /// The directory itself, open.
    pub root: OwnedFd,
    /// Where it is, for messages and for what takes no descriptor.
    pub path: PathBuf,
    /// The files; the first is the root itself.
    pub entries: Vec<Entry>,
}

impl Tree {
    /// Lists everything below `path` but what is below the directories in
    /// `exclude`, and the files in it.
    pub fn list(path: &Path, exclude: &[PathBuf]) -> Result<Self> {
        let doing = || format!("listing {}", path.display());
        let root = File::open(path).with_context(doing)?.into();
        let mut tree = Self {
            root,
            path: path.to_owned(),
            entries: Vec::new(),
        };
        let walk = Walk {
            exclude: exclude.iter().map(|path| crate::normal(path)).collect(),
            path,
        };
        let top = examine(tree.root.as_fd(), OsStr::new("."), PathBuf::from("."));
        let mut links = HashMap::new();
        tree.add(top.with_context(doing)?, &mut links);
        // Level by level, since reading a directory is mostly waiting for the
        // disk: all directories of a level are read at the same time.
        let mut level = 0..1;
        while !level.is_empty() {
            let end = tree.entries.len();
            let found = walk.level(&tree, &tree.entries[level])?;
            for entry in found {
                tree.add(entry, &mut links);
            }
            level = end..tree.entries.len();
        }
        Ok(tree)
    }

    fn add(&mut self, mut entry: Entry, links: &mut Links) {
        let place = self.entries.len();
        if entry.kind() != SFlag::S_IFDIR && entry.stat.st_nlink > 1 {
            let identity = (entry.stat.st_dev, entry.stat.st_ino);
            let first = *links.entry(identity).or_insert(place);
            if first != place {
                entry.same_as = Some(first);
                entry.data = 0;
            }
        }
        self.entries.push(entry);
    }

    /// Bytes of file data that are to be copied.
    pub fn data(&self) -> u64 {
        self.entries.iter().map(|entry| entry.data).sum()
    }

    /// A file's full path, for messages and for what takes no descriptor.
    pub fn full_path(&self, entry: &Entry) -> PathBuf {
        self.path.join(&entry.path)
    }
}

/// The first place of each file with several names, by device and inode.
type Links = HashMap<(u64, u64), usize>;

/// What all threads of a walk know.
struct Walk<'a> {
    exclude: BTreeSet<PathBuf>,
    path: &'a Path,
}

impl Walk<'_> {
    /// What is in those of `entries` that are directories.
    fn level(&self, tree: &Tree, entries: &[Entry]) -> Result<Vec<Entry>> {
        let is_walked =
            |entry: &&Entry| entry.kind() == SFlag::S_IFDIR && !self.exclude.contains(&entry.path);
        let mut directories: Vec<&Entry> = entries.iter().filter(is_walked).collect();
        directories.sort_by_key(|entry| entry.stat.st_ino);
        let work = |found: &mut Vec<Entry>, run: &[&Entry]| {
            for directory in run {
                self.content(tree, directory, found).with_context(|| {
                    format!("listing {}", self.path.join(&directory.path).display())
                })?;
            }
            Ok(())
        };
        let found = parallel::each(Load::Disk, &directories, 1, Vec::new, work)?;
        Ok(found.into_iter().flatten().collect())
    }

    fn content(&self, tree: &Tree, directory: &Entry, found: &mut Vec<Entry>) -> Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&tree.root, &directory.path, flags, Mode::empty())?;
        let mut dir = Dir::from_fd(fd)?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push((entry.ino(), entry.file_name().to_owned()));
            }
        }
        // The order in which the inodes lie on the disk.
        names.sort_unstable();
        for (_, name) in names {
            let name = OsStr::from_bytes(name.to_bytes());
            let path = match directory.path.to_str() {
                Some(".") => PathBuf::from(name),
                _ => directory.path.join(name),
            };
            let entry = examine(dir.as_fd(), name, path)?;
            if entry.kind() == SFlag::S_IFDIR || !self.exclude.contains(&entry.path) {
                found.push(entry);
            }
        }
        Ok(())
    }
}

fn examine(directory: BorrowedFd, name: &OsStr, path: PathBuf) -> Result<Entry> {
    let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .with_context(|| format!("examining {}", path.display()))?;
    let mut entry = Entry {
        path,
        stat,
        same_as: None,
        data: 0,
    };
    if entry.kind() == SFlag::S_IFREG {
        entry.data = if entry.is_sparse() {
            stored(directory, name, entry.size())
                .with_context(|| format!("looking for holes in {}", entry.path.display()))?
        } else {
            entry.size().next_multiple_of(PAGE)
        };
    }
    Ok(entry)
}

/// How many bytes of a file are not in holes, in whole pages. The number of
/// its blocks does not tell: a compressed file has fewer, too.
fn stored(directory: BorrowedFd, name: &OsStr, size: u64) -> Result<u64> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(directory, name, flags, Mode::empty())?);
    let mut total = 0;
    // Data that ends and begins again in one page takes that page once.
    let mut counted = 0;
    for (start, end) in Segments::of(&file, size) {
        let start = (start / PAGE * PAGE).max(counted);
        let end = end.next_multiple_of(PAGE);
        total += end.saturating_sub(start);
        counted = end.max(counted);
    }
    Ok(total)
}

/// The parts of a file that are not holes, as (start, end) in bytes. A
/// filesystem that cannot tell has one part, the whole.
pub struct Segments<'a> {
    file: &'a File,
    size: u64,
    at: u64,
}

impl<'a> Segments<'a> {
    /// The parts of `file`, which has `size` bytes.
    pub fn of(file: &'a File, size: u64) -> Self {
        Self { file, size, at: 0 }
    }

    fn seek(&self, to: Whence) -> nix::Result<u64> {
        lseek(self.file, self.at as i64, to).map(|offset| offset as u64)
    }
}

impl Iterator for Segments<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.size {
            return None;
        }
        let start = match self.seek(Whence::SeekData) {
            Ok(start) => start,
            // A hole up to the end.
            Err(Errno::ENXIO) => return None,
            Err(_) => self.at,
        };
        self.at = start;
        let end = match self.seek(Whence::SeekHole) {
            Ok(end) if end > start => end.min(self.size),
            _ => self.size,
        };
        self.at = end;
        (start < end).then_some((start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_excluded_is_not_listed_but_its_directory_is() {
        let top = tempfile::tempdir().unwrap();
        for directory in ["boot/grub", "usr/share/doc/x", "usr/share/man"] {
            std::fs::create_dir_all(top.path().join(directory)).unwrap();
        }
        for file in [
            "boot/kernel",
            "usr/share/doc/x/y",
            "usr/share/man/z",
            "swap",
        ] {
            std::fs::write(top.path().join(file), "text").unwrap();
        }
        let exclude = ["/boot/", "/usr/share//doc", "/usr/share/ma", "./swap"];
        let tree = Tree::list(top.path(), &exclude.map(PathBuf::from)).unwrap();
        let mut paths: Vec<&str> = tree
            .entries
            .iter()
            .filter_map(|e| e.path.to_str())
            .collect();
        paths.sort_unstable();
        let expected = [
            ".",
            "boot",
            "usr",
            "usr/share",
            "usr/share/doc",
            "usr/share/man",
            "usr/share/man/z",
        ];
        assert_eq!(paths, expected);
        assert_eq!(tree.data(), PAGE);
    }

    #[test]
    fn data_is_counted_once_in_pages_without_holes() {
        use std::os::unix::fs::FileExt;
        let top = tempfile::tempdir().unwrap();
        std::fs::write(top.path().join("one"), [1; 4097]).unwrap();
        std::fs::hard_link(top.path().join("one"), top.path().join("two")).unwrap();
        let sparse = File::create(top.path().join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        sparse.write_all_at(&[1; 8192], 512 << 20).unwrap();
        sparse.sync_all().unwrap();
        let tree = Tree::list(top.path(), &[]).unwrap();
        assert_eq!(tree.entries.len(), 4);
        assert_eq!(
            tree.entries.iter().filter(|e| e.same_as.is_some()).count(),
            1
        );
        assert_eq!(tree.data(), 4 * PAGE);
    }
}
