//! What is to be copied: every file of the root with its attributes, listed
//! before the first is copied, so that the memory it takes is known, and so
//! that it can be read in the disk's order.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::unistd::{Whence, lseek};

/// A page of memory, the unit in which tmpfs stores data, in bytes.
const PAGE: u64 = 4096;

/// What tmpfs and the kernel's caches need for one file besides its data, in
/// bytes: inode, directory entry, the page cache's tree, small attributes.
/// Measured on Linux 6.1: 1.1 KiB on average.
const PER_FILE: u64 = 1280;

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
        let mut listing = Listing {
            exclude: exclude.iter().map(|path| normal(path)).collect(),
            links: HashMap::new(),
        };
        tree.add(&mut listing, PathBuf::from("."), None)
            .with_context(doing)?;
        // Grows while it is walked: each directory's content comes after it.
        let mut next = 0;
        while next < tree.entries.len() {
            if tree.entries[next].kind() == SFlag::S_IFDIR {
                let directory = tree.entries[next].path.clone();
                tree.add_content(&mut listing, &directory)
                    .with_context(|| format!("listing {}", path.join(&directory).display()))?;
            }
            next += 1;
        }
        Ok(tree)
    }

    /// Bytes of file data that are to be copied.
    pub fn data(&self) -> u64 {
        self.entries.iter().map(|entry| entry.data).sum()
    }

    /// Bytes of RAM that the copy takes.
    pub fn memory(&self) -> u64 {
        self.data() + self.entries.len() as u64 * PER_FILE
    }

    /// A file's full path, for messages and for what takes no descriptor.
    pub fn full_path(&self, entry: &Entry) -> PathBuf {
        self.path.join(&entry.path)
    }

    fn add_content(&mut self, listing: &mut Listing, directory: &Path) -> Result<()> {
        if listing.exclude.contains(directory) {
            return Ok(());
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&self.root, directory, flags, Mode::empty())?;
        let mut dir = Dir::from_fd(fd)?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        for name in names {
            let name = OsStr::from_bytes(name.to_bytes());
            let path = match directory.to_str() {
                Some(".") => PathBuf::from(name),
                _ => directory.join(name),
            };
            self.add(listing, path, Some((dir.as_fd(), name)))?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        listing: &mut Listing,
        path: PathBuf,
        at: Option<(BorrowedFd, &OsStr)>,
    ) -> Result<()> {
        let (directory, name) = at.unwrap_or((self.root.as_fd(), OsStr::new(".")));
        let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .with_context(|| format!("examining {}", path.display()))?;
        let mut entry = Entry {
            path,
            stat,
            same_as: None,
            data: 0,
        };
        let kind = entry.kind();
        if kind != SFlag::S_IFDIR && listing.exclude.contains(&entry.path) {
            return Ok(());
        }
        if kind != SFlag::S_IFDIR && stat.st_nlink > 1 {
            let place = self.entries.len();
            let first = *listing
                .links
                .entry((stat.st_dev, stat.st_ino))
                .or_insert(place);
            entry.same_as = (first != place).then_some(first);
        }
        if kind == SFlag::S_IFREG && entry.same_as.is_none() {
            entry.data = if entry.is_sparse() {
                let path = &entry.path;
                stored(directory, name, entry.size())
                    .with_context(|| format!("looking for holes in {}", path.display()))?
            } else {
                entry.size().next_multiple_of(PAGE)
            };
        }
        self.entries.push(entry);
        Ok(())
    }
}

/// What the walk remembers on its way.
struct Listing {
    exclude: BTreeSet<PathBuf>,
    /// The first place of each file with several names, by device and inode.
    links: HashMap<(u64, u64), usize>,
}

/// As the paths in the list are written: "/usr/./share/" is "usr/share".
fn normal(path: &Path) -> PathBuf {
    let parts = path.components();
    let normal: PathBuf = parts
        .filter(|c| matches!(c, Component::Normal(_)))
        .collect();
    if normal.as_os_str().is_empty() {
        return PathBuf::from(".");
    }
    normal
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
