//! Copies the root into RAM, with all that its files have.
//!
//! Directories first; then the files' data, which is nearly all of the work,
//! by several threads in the disk's order; then what needs the files to be
//! there (hard links), and last the directories' own attributes, since every
//! new name changes their times.

mod attributes;
mod data;
mod progress;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat, umask};
use nix::unistd::{linkat, symlinkat};

use super::tree::{Entry, Tree};
use attributes::Attributes;
use data::Buffer;
use progress::Progress;

pub use progress::rate;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of file data.
    pub bytes: u64,
    /// Files of all types.
    pub files: usize,
    /// Extended attributes that the kernel's tmpfs does not take (before
    /// Linux 6.6: those of users).
    pub lost_attributes: usize,
}

/// Copies `tree` into the empty directory `target`. Leaves the umask at 0.
pub fn copy(tree: &Tree, target: &Path) -> Result<Copied> {
    // The modes are the files' own.
    umask(Mode::empty());
    let copier = Copier {
        tree,
        root: File::open(target)
            .with_context(|| format!("opening {}", target.display()))?
            .into(),
        attributes: Attributes::new(target),
        progress: Progress::new(tree.data()),
    };
    copier.directories()?;
    copier.data()?;
    copier.others()?;
    copier.directory_attributes()?;
    Ok(Copied {
        bytes: copier.progress.done(),
        files: tree.entries.len(),
        lost_attributes: copier.attributes.lost(),
    })
}

struct Copier<'a> {
    tree: &'a Tree,
    /// The target directory.
    root: OwnedFd,
    attributes: Attributes,
    progress: Progress,
}

impl Copier<'_> {
    fn of_kind(&self, kind: SFlag) -> impl Iterator<Item = &Entry> {
        self.tree
            .entries
            .iter()
            .filter(move |entry| entry.kind() == kind)
    }

    fn doing(&self, entry: &Entry) -> String {
        format!("copying {}", self.tree.full_path(entry).display())
    }

    /// With a mode that lets nobody in and gives no group, whatever their own
    /// will be.
    fn directories(&self) -> Result<()> {
        for entry in self.of_kind(SFlag::S_IFDIR).skip(1) {
            mkdirat(&self.root, &entry.path, Mode::S_IRWXU).with_context(|| self.doing(entry))?;
        }
        Ok(())
    }

    fn directory_attributes(&self) -> Result<()> {
        for entry in self.of_kind(SFlag::S_IFDIR) {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let open = |root: &OwnedFd| {
                let fd = openat(root, &entry.path, flags, Mode::empty())?;
                anyhow::Ok(File::from(fd))
            };
            let apply = || {
                self.attributes
                    .to_open(&open(&self.tree.root)?, &open(&self.root)?, entry)
            };
            apply().with_context(|| self.doing(entry))?;
        }
        Ok(())
    }

    fn data(&self) -> Result<()> {
        let mut files: Vec<&Entry> = self
            .of_kind(SFlag::S_IFREG)
            .filter(|entry| entry.same_as.is_none())
            .collect();
        // Files made one after the other have rising inode numbers, and lie
        // one after the other.
        files.sort_by_key(|entry| entry.stat.st_ino);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let queue = Queue {
            files: &files,
            next: AtomicUsize::new(0),
            failure: Mutex::new(None),
        };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(&queue));
            }
        });
        match queue.failure.into_inner() {
            Ok(Some(error)) => Err(error),
            Ok(None) => Ok(()),
            Err(_) => anyhow::bail!("copying: a thread has failed"),
        }
    }

    fn work(&self, queue: &Queue) {
        let mut buffer = Buffer::new();
        while let Some(batch) = queue.take() {
            if let Err(error) = self.files(batch, &mut buffer) {
                queue.fail(error);
                return;
            }
        }
    }

    fn files(&self, batch: &[&Entry], buffer: &mut Buffer) -> Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NOATIME | OFlag::O_CLOEXEC;
        let mut open = Vec::with_capacity(batch.len());
        for entry in batch {
            let fd = openat(&self.tree.root, &entry.path, flags, Mode::empty())
                .with_context(|| self.doing(entry))?;
            let file = File::from(fd);
            data::announce(&file);
            open.push(file);
        }
        for (entry, source) in batch.iter().zip(open) {
            self.file(entry, &source, buffer)
                .with_context(|| self.doing(entry))?;
        }
        Ok(())
    }

    fn file(&self, entry: &Entry, source: &File, buffer: &mut Buffer) -> Result<()> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(entry.stat.st_mode);
        let target = File::from(openat(&self.root, &entry.path, flags, mode)?);
        data::copy(source, &target, entry, buffer, &self.progress)?;
        self.attributes.to_open(source, &target, entry)
    }

    /// Links of both kinds, devices, pipes and sockets.
    fn others(&self) -> Result<()> {
        for entry in &self.tree.entries {
            match entry.same_as {
                Some(first) => self.hard_link(entry, &self.tree.entries[first]),
                None => self.special(entry),
            }
            .with_context(|| self.doing(entry))?;
        }
        Ok(())
    }

    fn hard_link(&self, entry: &Entry, first: &Entry) -> Result<()> {
        let root = self.root.as_fd();
        linkat(root, &first.path, root, &entry.path, AtFlags::empty())?;
        Ok(())
    }

    fn special(&self, entry: &Entry) -> Result<()> {
        match entry.kind() {
            SFlag::S_IFDIR | SFlag::S_IFREG => return Ok(()),
            SFlag::S_IFLNK => {
                let to = readlinkat(&self.tree.root, &entry.path)?;
                symlinkat(to.as_os_str(), &self.root, &entry.path)?;
            }
            kind => {
                let mode = Mode::from_bits_truncate(entry.stat.st_mode);
                mknodat(&self.root, &entry.path, kind, mode, entry.stat.st_rdev)?;
            }
        }
        self.attributes
            .to_path(&self.tree.full_path(entry), &self.root, entry)
    }
}

/// How many files a thread takes at once: enough for the disk to be asked for
/// many at a time, and few enough for all threads to end together.
const BATCH: usize = 32;

/// The files that no thread has taken yet, and the first failure.
struct Queue<'a> {
    files: &'a [&'a Entry],
    next: AtomicUsize,
    failure: Mutex<Option<anyhow::Error>>,
}

impl Queue<'_> {
    fn take(&self) -> Option<&[&Entry]> {
        let start = self.next.fetch_add(BATCH, Ordering::Relaxed);
        let end = self.files.len().min(start.saturating_add(BATCH));
        self.files.get(start..end).filter(|batch| !batch.is_empty())
    }

    /// Keeps the first failure, and leaves nothing for the other threads.
    fn fail(&self, error: anyhow::Error) {
        self.next.store(self.files.len(), Ordering::Relaxed);
        if let Ok(mut failure) = self.failure.lock() {
            failure.get_or_insert(error);
        }
    }
}
