//! Copies the root into RAM, with all that its files have.
//!
//! Directories first; then the files' data, which is nearly all of the work,
//! by several threads in the disk's order; then what needs the files to be
//! there (hard links), and last the directories' own attributes, since every
//! new name changes their times.
//!
//! Data is read in one of two ways: straight from the device, where the
//! filesystem can say what lies where ([`placed`]), else through the
//! filesystem ([`through`]).

mod attributes;
mod placed;
mod progress;
mod through;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat, umask};
use nix::unistd::{linkat, symlinkat};

use super::console;
use super::tree::{Entry, Tree};
use attributes::{Attributes, Extended};
use progress::Progress;

pub use progress::rate;

/// Says how many extended attributes the tmpfs did not take.
pub fn warn_of_lost_attributes(lost: usize) {
    if lost > 0 {
        console::warn(format!(
            "{lost} extended attributes of users (user.*) are not in RAM: \
             this kernel's tmpfs does not take them"
        ));
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of file data, in whole pages.
    pub bytes: u64,
    /// Files that were read through the filesystem, not from the device.
    pub through: usize,
    /// Extended attributes that the kernel's tmpfs does not take (before
    /// Linux 6.6: those of users).
    pub lost_attributes: usize,
}

/// Copies `tree` into the empty directory `target`. `device` is what the
/// tree's filesystem is on, if all of it is. Leaves the umask at 0.
pub fn copy(tree: &Tree, target: &Path, device: Option<&Path>) -> Result<Copied> {
    // The modes are the files' own.
    umask(Mode::empty());
    let copier = Copier {
        tree,
        path: target,
        root: File::open(target)
            .with_context(|| format!("opening {}", target.display()))?
            .into(),
        attributes: Attributes::default(),
        progress: Progress::new(tree.data()),
    };
    copier.directories()?;
    let through = copier.data(device)?;
    copier.others()?;
    copier.directory_attributes()?;
    Ok(Copied {
        bytes: copier.progress.done(),
        through,
        lost_attributes: copier.attributes.lost(),
    })
}

struct Copier<'a> {
    tree: &'a Tree,
    /// The target directory, and its path for what takes no descriptor.
    root: OwnedFd,
    path: &'a Path,
    attributes: Attributes,
    progress: Progress,
}

impl Copier<'_> {
    fn of_kind(&self, kind: SFlag) -> impl Iterator<Item = &Entry> {
        let entries = self.tree.entries.iter();
        entries.filter(move |entry| entry.kind() == kind)
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
            self.directory(entry).with_context(|| self.doing(entry))?;
        }
        Ok(())
    }

    fn directory(&self, entry: &Entry) -> Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let source = File::from(openat(&self.tree.root, &entry.path, flags, Mode::empty())?);
        let target = File::from(openat(&self.root, &entry.path, flags, Mode::empty())?);
        let extended = Extended::of_open(&source)?;
        self.attributes.to_open(&target, entry, &extended)
    }

    fn data(&self, device: Option<&Path>) -> Result<usize> {
        let regular = self.of_kind(SFlag::S_IFREG);
        let mut files: Vec<&Entry> = regular.filter(|entry| entry.same_as.is_none()).collect();
        // Files made one after the other have rising inode numbers, and lie
        // one after the other.
        files.sort_by_key(|entry| entry.stat.st_ino);
        if let Some(device) = device {
            files = placed::copy(self, device, files)?;
        }
        through::copy(self, &files)?;
        Ok(files.len())
    }

    /// Opens a regular file of the source.
    fn open(&self, entry: &Entry) -> Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NOATIME | OFlag::O_CLOEXEC;
        Ok(openat(&self.tree.root, &entry.path, flags, Mode::empty()).map(File::from)?)
    }

    /// Makes a regular file of the target, with its mode, or opens it.
    fn make(&self, entry: &Entry) -> Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(entry.stat.st_mode);
        Ok(openat(&self.root, &entry.path, flags, mode).map(File::from)?)
    }

    /// Gives a regular file, whose data is there, the rest.
    fn finish(&self, target: &File, entry: &Entry, extended: &Extended) -> Result<()> {
        if entry.is_sparse() {
            // It may end in a hole.
            target.set_len(entry.size()).context("setting the size")?;
        }
        self.attributes.to_open(target, entry, extended)?;
        self.progress.add(entry.data);
        Ok(())
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
        let (root, none) = (self.root.as_fd(), AtFlags::empty());
        Ok(linkat(root, &first.path, root, &entry.path, none)?)
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
        let extended = Extended::of_path(&self.tree.full_path(entry))?;
        self.attributes
            .to_path(&self.root, self.path, entry, &extended)
    }
}

#[cfg(test)]
mod tests;
