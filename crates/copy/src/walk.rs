//! Reads a tree: every directory's entries with all that is known of them, by
//! several threads, each directory after the one that it is in.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};

use anyhow::{Context, Result};
use nix::dir::Dir;
use nix::fcntl::{AT_FDCWD, OFlag, readlink};
use nix::libc;
use nix::sys::stat::Mode;
use nix::sys::statfs::fstatfs;
use p2v_sys::btrfs;
use p2v_sys::inode::{self, Inode};

use crate::batch::{Batch, Filling, LAST, TOP};
use crate::dirs::{Dirs, Worker, open_to_read};
use crate::entry::{Entry, Names, Subvolume, What, is_kept_attribute, metadata_of};
use crate::exclude::{Exclude, Found};
use crate::flags;
use crate::queue::{lock, wait};

/// A batch is closed when it is about so long.
const BATCH: usize = 64 << 10;

struct Task {
    directory: u32,
    device: u64,
    excluded: Option<usize>,
}

#[derive(Default)]
struct Tasks {
    /// Taken from the end, so that few directories wait.
    waiting: Vec<Task>,
    working: usize,
    ended: bool,
}

/// A walk that several threads do together.
pub struct Walk<'a> {
    dirs: &'a Dirs,
    exclude: &'a Exclude,
    is_btrfs: bool,
    default_subvolume: Option<u64>,
    tasks: Mutex<Tasks>,
    changed: Condvar,
    directories: AtomicU32,
    batches: AtomicU32,
    links: Mutex<HashMap<(u64, u64), u64>>,
}

/// Takes a batch; false ends the walk.
pub type Emit<'a> = &'a (dyn Fn(Batch) -> bool + Sync);

impl<'a> Walk<'a> {
    /// A walk through all of `dirs`' top that is not excluded.
    pub fn new(dirs: &'a Dirs, exclude: &'a Exclude) -> Result<Self> {
        let kind = fstatfs(dirs.top()).context("asking for the filesystem's type")?;
        let is_btrfs = kind.filesystem_type().0 == btrfs::MAGIC;
        Ok(Self {
            dirs,
            exclude,
            is_btrfs,
            default_subvolume: is_btrfs
                .then(|| btrfs::default_id(dirs.top()).ok())
                .flatten(),
            tasks: Mutex::default(),
            changed: Condvar::new(),
            directories: AtomicU32::new(1),
            batches: AtomicU32::new(1),
            links: Mutex::default(),
        })
    }

    /// Emits the top's own entry, and makes the walk ready for threads.
    pub fn start(&self, emit: Emit) -> Result<()> {
        let inode = inode::examine_open(self.dirs.top()).context("examining the top")?;
        std::thread::scope(|scope| {
            let entry = scope.spawn(|| {
                Worker::new(self.dirs)?.enter(0)?;
                let mut entry = self.entry(b"", &inode, inode.device, 0)?;
                if let What::Directory {
                    number, foreign, ..
                } = &mut entry.what
                {
                    (*number, *foreign) = (0, false);
                }
                let mut batch = Filling::new(0, 0);
                batch.add(&entry)?;
                emit(batch.close(TOP));
                anyhow::Ok(())
            });
            entry
                .join()
                .unwrap_or_else(|_| anyhow::bail!("a thread has failed"))
        })?;
        lock(&self.tasks).waiting.push(Task {
            directory: 0,
            device: inode.device,
            excluded: Some(0),
        });
        Ok(())
    }

    /// Works with others until all is emitted.
    pub fn work(&self, emit: Emit, mut pause: impl FnMut()) -> Result<()> {
        let mut worker = Worker::new(self.dirs)?;
        while let Some(task) = self.take() {
            pause();
            let result = self.directory(&mut worker, &task, emit);
            let mut tasks = lock(&self.tasks);
            tasks.working -= 1;
            if !matches!(result, Ok(true)) {
                tasks.ended = true;
            }
            drop(tasks);
            self.changed.notify_all();
            if let Err(error) = result {
                let name = OsStr::new("");
                let shown = self.dirs.shown(task.directory, name);
                return Err(error.context(format!("listing {shown}")));
            }
        }
        Ok(())
    }

    fn take(&self) -> Option<Task> {
        let mut tasks = lock(&self.tasks);
        loop {
            if tasks.ended {
                return None;
            }
            if let Some(task) = tasks.waiting.pop() {
                tasks.working += 1;
                return Some(task);
            }
            if tasks.working == 0 {
                return None;
            }
            tasks = wait(&self.changed, tasks);
        }
    }

    /// False if nobody takes more.
    fn directory(&self, worker: &mut Worker, task: &Task, emit: Emit) -> Result<bool> {
        worker.enter(task.directory)?;
        let mut batch = self.begin(task.directory);
        let mut found = Vec::new();
        for name in names()? {
            let state = self.exclude.find(task.excluded, name.to_bytes());
            if state == Found::Excluded {
                continue;
            }
            let doing = || crate::entry::shown(name.to_bytes());
            let inode = inode::examine(name.as_c_str()).with_context(doing)?;
            let id = batch.next_id();
            let entry = self
                .entry(name.to_bytes(), &inode, task.device, id)
                .with_context(doing)?;
            batch.add(&entry).with_context(doing)?;
            if let What::Directory {
                number,
                foreign: false,
                ..
            } = entry.what
            {
                found.push((number, entry.name().to_owned(), inode.device, state.node()));
            }
            if batch.payload.len() >= BATCH {
                let full = std::mem::replace(&mut batch, self.begin(task.directory));
                if !emit(full.close(0)) {
                    return Ok(false);
                }
            }
        }
        if !emit(batch.close(LAST)) {
            return Ok(false);
        }
        let mut tasks = lock(&self.tasks);
        for (number, name, device, excluded) in found.into_iter().rev() {
            self.dirs.add(number, task.directory, &name);
            tasks.waiting.push(Task {
                directory: number,
                device,
                excluded,
            });
        }
        Ok(true)
    }

    fn begin(&self, directory: u32) -> Filling {
        Filling::new(self.batches.fetch_add(1, Ordering::Relaxed), directory)
    }

    /// All that is known of `name` in the working directory.
    fn entry(&self, name: &[u8], inode: &Inode, device: u64, id: u64) -> Result<Entry> {
        let path = if name.is_empty() { b"." } else { name };
        let mut metadata = metadata_of(inode);
        metadata.extended = inode::extended(path).context("reading the extended attributes")?;
        metadata
            .extended
            .retain(|(name, _)| is_kept_attribute(name));
        let os_name = OsStr::from_bytes(path);
        let has_flags = matches!(inode.kind(), libc::S_IFREG | libc::S_IFDIR);
        if self.is_btrfs && has_flags {
            metadata.flags |= flags::hidden(&open_to_read(os_name).context("opening")?);
        }
        let what = match inode.kind() {
            libc::S_IFDIR => self.directory_entry(os_name, inode, device)?,
            libc::S_IFREG => What::File {
                size: inode.size,
                stored: inode.stored,
            },
            libc::S_IFLNK => {
                let target = readlink(os_name).context("reading the link")?;
                What::Symlink(target.as_bytes().to_vec())
            }
            libc::S_IFBLK | libc::S_IFCHR => What::Device(inode.rdev),
            _ => What::Other,
        };
        let names = if inode.nlink > 1 && inode.kind() != libc::S_IFDIR {
            let identity = (inode.device, inode.number);
            match *lock(&self.links).entry(identity).or_insert(id) {
                first if first == id => Names::First,
                first => Names::Same(first),
            }
        } else {
            Names::One
        };
        Ok(Entry {
            name: name.to_vec(),
            metadata,
            names,
            what,
        })
    }

    fn directory_entry(&self, name: &OsStr, inode: &Inode, device: u64) -> Result<What> {
        let is_top = self.is_btrfs && inode.number == btrfs::TOP;
        let foreign = match inode.is_mount_point() {
            Some(is_mount_point) => is_mount_point,
            None => inode.device != device && !is_top,
        };
        let subvolume = (is_top && (!foreign || name == ".")).then(|| self.subvolume(name));
        Ok(What::Directory {
            number: self.directories.fetch_add(1, Ordering::Relaxed),
            subvolume: subvolume.transpose()?,
            foreign,
        })
    }

    fn subvolume(&self, name: &OsStr) -> Result<Subvolume> {
        let directory = open_to_read(name).context("opening")?;
        let read_only = btrfs::is_read_only(&directory).context("examining the subvolume")?;
        let id = btrfs::id(&directory).context("examining the subvolume")?;
        Ok(Subvolume {
            read_only,
            default: self.default_subvolume == Some(id),
        })
    }
}

/// The names in the working directory, in the order of their inodes.
pub fn names() -> Result<Vec<CString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let quiet = Dir::openat(AT_FDCWD, ".", flags | OFlag::O_NOATIME, Mode::empty());
    let mut directory = match quiet {
        Err(nix::errno::Errno::EPERM) => Dir::openat(AT_FDCWD, ".", flags, Mode::empty())?,
        other => other?,
    };
    let mut names = Vec::new();
    for entry in directory.iter() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.ino(), entry.file_name().to_owned()));
        }
    }
    names.sort_unstable();
    Ok(names.into_iter().map(|(_, name)| name).collect())
}

/// Parts of a file that are not holes, as (start, end). A filesystem that
/// cannot tell has one, the whole.
pub fn segments(file: &File, size: u64) -> impl Iterator<Item = (u64, u64)> {
    use nix::unistd::{Whence, lseek};
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= size {
            return None;
        }
        let start = match lseek(file, at as i64, Whence::SeekData) {
            Ok(start) => start as u64,
            Err(nix::errno::Errno::ENXIO) => return None,
            Err(_) => at,
        };
        let end = match lseek(file, start as i64, Whence::SeekHole) {
            Ok(end) if end as u64 > start => (end as u64).min(size),
            _ => size,
        };
        at = end;
        (start < end).then_some((start, end))
    })
}
