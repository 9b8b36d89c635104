//! The directories of a tree by number, and threads that work in them.
//!
//! A directory is opened name by name from the top, and no symbolic link is
//! followed, so that nothing in a tree leads out of it, and no path is ever too
//! long. A thread has a working directory of its own and uses single names.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::RwLock;

use anyhow::{Context, Result, bail};
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};

/// How many directories a thread keeps open.
const KEPT: usize = 32;

/// All directories that are known; the top is number 0.
pub struct Dirs {
    top: File,
    shown: String,
    nodes: RwLock<HashMap<u32, (u32, OsString)>>,
}

impl Dirs {
    /// Opens the top.
    pub fn open(top: &Path) -> Result<Self> {
        let doing = || format!("opening {}", top.display());
        let file = File::open(top).with_context(doing)?;
        if !file.metadata().with_context(doing)?.is_dir() {
            bail!("{}: it is no directory", doing());
        }
        Ok(Self {
            top: file,
            shown: top.display().to_string(),
            nodes: RwLock::default(),
        })
    }

    /// The top itself.
    pub fn top(&self) -> &File {
        &self.top
    }

    /// Adds a directory; false if the number is taken or its parent unknown.
    pub fn add(&self, number: u32, parent: u32, name: &OsStr) -> bool {
        let mut nodes = self.nodes.write().unwrap_or_else(|e| e.into_inner());
        if number == 0 || nodes.contains_key(&number) || parent != 0 && !nodes.contains_key(&parent)
        {
            return false;
        }
        nodes.insert(number, (parent, name.to_owned()));
        true
    }

    /// The path from the top of `name` in a directory.
    pub fn path(&self, mut number: u32, name: &OsStr) -> Vec<u8> {
        let nodes = self.nodes.read().unwrap_or_else(|e| e.into_inner());
        let mut parts = vec![name.as_bytes().to_vec()];
        while let Some((parent, name)) = nodes.get(&number) {
            parts.push(name.as_bytes().to_vec());
            number = *parent;
        }
        parts.reverse();
        parts.join(&b'/')
    }

    /// The same for a message.
    pub fn shown(&self, number: u32, name: &OsStr) -> String {
        let path = self.path(number, name);
        format!("{}/{}", self.shown, crate::entry::shown(&path))
    }
}

/// What a thread needs to work in directories.
pub struct Worker<'a> {
    dirs: &'a Dirs,
    open: VecDeque<(u32, Rc<OwnedFd>)>,
    current: Option<u32>,
}

impl<'a> Worker<'a> {
    /// Gives the calling thread a working directory and a umask of its own:
    /// for threads that were made for this.
    pub fn new(dirs: &'a Dirs) -> Result<Self> {
        unshare(CloneFlags::CLONE_FS).context("giving a thread its own working directory")?;
        umask(Mode::empty());
        Ok(Self {
            dirs,
            open: VecDeque::new(),
            current: None,
        })
    }

    /// Makes a directory the thread's working directory.
    pub fn enter(&mut self, number: u32) -> Result<()> {
        if self.current != Some(number) {
            let directory = self.open(number)?;
            self.current = None;
            nix::unistd::fchdir(directory.as_fd())
                .with_context(|| format!("entering {}", self.dirs.shown(number, OsStr::new(""))))?;
            self.current = Some(number);
        }
        Ok(())
    }

    /// Opens a directory.
    pub fn open(&mut self, number: u32) -> Result<Rc<OwnedFd>> {
        let mut names = Vec::new();
        let mut at = number;
        let nodes = self.dirs.nodes.read().unwrap_or_else(|e| e.into_inner());
        let mut directory = loop {
            if let Some((_, found)) = self.open.iter().find(|(known, _)| *known == at) {
                break Some(found.clone());
            }
            match nodes.get(&at) {
                Some((parent, name)) => {
                    names.push((at, name));
                    at = *parent;
                }
                None if at == 0 => break None,
                None => bail!("receiving: there is no directory {number}"),
            }
        };
        for (number, name) in names.into_iter().rev() {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let opened = match &directory {
                Some(parent) => openat(parent.as_fd(), name.as_os_str(), flags, Mode::empty()),
                None => openat(&self.dirs.top, name.as_os_str(), flags, Mode::empty()),
            };
            let opened = opened
                .with_context(|| format!("opening {}", self.dirs.shown(number, OsStr::new(""))))?;
            let opened = Rc::new(opened);
            if self.open.len() >= KEPT {
                self.open.pop_front();
            }
            self.open.push_back((number, opened.clone()));
            directory = Some(opened);
        }
        match directory {
            Some(directory) => Ok(directory),
            None => Ok(Rc::new(self.dirs.top.as_fd().try_clone_to_owned()?)),
        }
    }

    /// The directories that it works in.
    pub fn dirs(&self) -> &'a Dirs {
        self.dirs
    }
}

/// Opens `name` in the working directory to be read, without a trace in its
/// access time where that is allowed.
pub fn open_to_read(name: &OsStr) -> nix::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    match openat(AT_FDCWD, name, flags | OFlag::O_NOATIME, Mode::empty()) {
        Err(nix::errno::Errno::EPERM) => openat(AT_FDCWD, name, flags, Mode::empty()),
        other => other,
    }
    .map(File::from)
}
