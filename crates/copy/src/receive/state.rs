//! What all threads of a receiver know, and in which order they work.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use anyhow::{Context, Result, bail};
use nix::sys::statfs::fstatfs;
use p2v_sys::btrfs;

use crate::dirs::Dirs;
use crate::entry::{Entry, Metadata, Subvolume};
use crate::exclude::Exclude;
use crate::frame::Cursor;
use crate::queue::{lock, wait};
use crate::rooms::Rooms;

/// Batches that wait for a thread.
const WAITING: usize = 64;
/// Batches that wait for their directory: more is no sender of ours.
const PARKED: usize = 100_000;

/// A directory on this side.
#[derive(Default)]
pub struct Directory {
    /// It was made just now: there is nothing in it.
    pub fresh: bool,
    /// What is made in it gets something from it: a group, an access control
    /// list, flags.
    pub hands_down: bool,
    /// Something in it was made or removed, which changed its time.
    pub touched: AtomicBool,
    /// Where in what is left out it is.
    pub excluded: Option<usize>,
    /// What it shall be in the end.
    pub metadata: Option<Metadata>,
    /// What it shall be as a subvolume in the end.
    pub subvolume: Option<Subvolume>,
    /// What was in it and has not been named by the sender yet.
    pub names: Mutex<Option<HashSet<Vec<u8>>>>,
}

impl Directory {
    /// Something in it was made or removed.
    pub fn touch(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }
}

/// A file whose contents were asked for.
pub struct Pending {
    /// Its directory.
    pub directory: u32,
    /// Its entry.
    pub entry: Entry,
    /// Its directory hands something down.
    pub inherits: bool,
}

#[derive(Default)]
struct Jobs {
    ready: VecDeque<(u32, Vec<u8>)>,
    parked: HashMap<u32, VecDeque<Vec<u8>>>,
    parked_count: usize,
    /// Directories that exist, and whether a thread works in them.
    busy: HashMap<u32, bool>,
    working: usize,
    ended: bool,
}

/// See the module.
pub struct Receiver<'a> {
    /// The directories by number.
    pub dirs: &'a Dirs,
    /// What is left alone.
    pub exclude: &'a Exclude,
    /// A time: a file that was last changed then may hold anything.
    pub doubt: Option<Range<i64>>,
    /// Whether subvolumes can be made here.
    pub is_btrfs: bool,
    jobs: Mutex<Jobs>,
    changed: Condvar,
    /// The directories' state.
    pub states: Mutex<HashMap<u32, Arc<Directory>>>,
    /// Files whose contents are on their way.
    pub pending: Mutex<HashMap<u64, Pending>>,
    /// Which entry an inode with several names here belongs to.
    pub claims: Mutex<HashMap<(u64, u64), u64>>,
    /// Further names, made when all else is there: where, and of which entry.
    pub links: Mutex<Vec<(u32, Entry, u64)>>,
    /// The first names of files with several.
    pub firsts: Mutex<HashMap<u64, (u32, Vec<u8>)>>,
    /// What is locked in the end.
    pub locks: Mutex<Vec<(u32, Vec<u8>, u16)>>,
    /// What frames are read into; contents that are written go back there.
    pub rooms: Rooms,
    /// Entries that came.
    pub entries: AtomicU64,
    /// Bytes of contents that were written.
    pub bytes: AtomicU64,
    /// Bytes that came over the link.
    pub wire: AtomicU64,
}

impl<'a> Receiver<'a> {
    /// For the tree of `dirs`.
    pub fn new(dirs: &'a Dirs, exclude: &'a Exclude, doubt: Option<Range<i64>>) -> Result<Self> {
        let kind = fstatfs(dirs.top()).context("asking for the filesystem's type")?;
        let top = Directory {
            excluded: Some(0),
            ..Directory::default()
        };
        let jobs = Jobs {
            busy: HashMap::from([(0, false)]),
            ..Jobs::default()
        };
        Ok(Self {
            dirs,
            exclude,
            doubt,
            is_btrfs: kind.filesystem_type().0 == btrfs::MAGIC,
            jobs: Mutex::new(jobs),
            changed: Condvar::new(),
            states: Mutex::new(HashMap::from([(0, Arc::new(top))])),
            pending: Mutex::default(),
            claims: Mutex::default(),
            links: Mutex::default(),
            firsts: Mutex::default(),
            locks: Mutex::default(),
            rooms: Rooms::default(),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            wire: AtomicU64::new(0),
        })
    }

    /// Takes a batch from the link. It waits until its directory is there, and
    /// those of one directory are worked on one after the other. False if all
    /// has ended.
    pub fn take_batch(&self, payload: Vec<u8>) -> Result<bool> {
        let mut header = Cursor(&payload);
        let (_, directory) = (header.u32()?, header.u32()?);
        let mut jobs = lock(&self.jobs);
        while jobs.ready.len() >= WAITING && !jobs.ended {
            jobs = wait(&self.changed, jobs);
        }
        if jobs.ended {
            return Ok(false);
        }
        if jobs.busy.get(&directory) == Some(&false) {
            jobs.busy.insert(directory, true);
            jobs.ready.push_back((directory, payload));
            self.changed.notify_all();
        } else {
            jobs.parked_count += 1;
            if jobs.parked_count > PARKED {
                bail!("receiving: too many entries of directories that are not there");
            }
            jobs.parked.entry(directory).or_default().push_back(payload);
        }
        Ok(true)
    }

    /// The next batch to work on.
    pub fn next_batch(&self) -> Option<(u32, Vec<u8>)> {
        let mut jobs = lock(&self.jobs);
        loop {
            if let Some(job) = jobs.ready.pop_front() {
                jobs.working += 1;
                self.changed.notify_all();
                return Some(job);
            }
            if jobs.ended && jobs.working == 0 {
                return None;
            }
            jobs = wait(&self.changed, jobs);
        }
    }

    /// A batch is done; `made` are directories that are there now.
    pub fn batch_done(&self, directory: u32, made: &[u32]) {
        let mut jobs = lock(&self.jobs);
        jobs.working -= 1;
        for number in made.iter().chain([&directory]) {
            let next = jobs.parked.get_mut(number).and_then(VecDeque::pop_front);
            jobs.busy.insert(*number, next.is_some());
            if let Some(next) = next {
                jobs.parked_count -= 1;
                jobs.ready.push_back((*number, next));
            }
        }
        self.changed.notify_all();
    }

    /// No more batches come.
    pub fn end(&self) {
        lock(&self.jobs).ended = true;
        self.changed.notify_all();
    }

    /// Nothing more is to be done.
    pub fn abandon(&self) {
        let mut jobs = lock(&self.jobs);
        jobs.ended = true;
        jobs.ready.clear();
        self.changed.notify_all();
    }

    /// Whether something never came.
    pub fn check_complete(&self) -> Result<()> {
        if lock(&self.jobs).parked_count > 0 {
            bail!("receiving: a directory never came, only what is in it");
        }
        if !lock(&self.pending).is_empty() {
            bail!("receiving: the contents of a file never came");
        }
        Ok(())
    }

    /// A directory's state.
    pub fn directory(&self, number: u32) -> Result<Arc<Directory>> {
        let states = lock(&self.states);
        states
            .get(&number)
            .cloned()
            .context("receiving: there is no such directory")
    }
}
