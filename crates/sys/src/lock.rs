//! Advisory locks on files, held by an open descriptor: a killed holder's lock
//! is gone with it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::interrupt;

/// An exclusive lock on a file; dropping it releases the lock. The file stays,
/// since removing it would let two holders lock different files of one name.
#[derive(Debug)]
pub struct FileLock {
    _lock: Flock<File>,
}

/// An open file that others may hold like this too, and nobody may hold a
/// [`FileLock`] on; dropping it lets go.
#[derive(Debug)]
pub struct SharedFile(Flock<File>);

impl SharedFile {
    /// Holds the open file at `path`; waits for the end of a [`FileLock`].
    pub fn hold(file: File, path: &Path) -> Result<Self> {
        let lock = Flock::lock(file, FlockArg::LockShared);
        let lock = lock.map_err(|(_, error)| error);
        lock.map(Self)
            .with_context(|| format!("locking {}", path.display()))
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.0
    }
}

impl FileLock {
    /// Waits for the lock on `path`, which is created if need be. Says once on
    /// the log that it waits, and for `what`.
    ///
    /// # Errors
    /// The file cannot be opened, or the run was interrupted while it waited
    /// (see [`interrupt`]).
    pub fn wait(path: &Path, what: &str) -> Result<Self> {
        let mut said = false;
        loop {
            if let Some(lock) = Self::try_lock(path)? {
                return Ok(lock);
            }
            if !said {
                tracing::info!("waiting for another run to finish {what}");
                said = true;
            }
            interrupt::check().with_context(|| format!("waiting for {}", path.display()))?;
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Takes the lock on `path` if nobody holds it.
    ///
    /// # Errors
    /// The file cannot be opened; a symbolic link is not followed.
    pub fn try_lock(path: &Path) -> Result<Option<Self>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
            .open(path)
            .with_context(|| format!("opening the lock file {}", path.display()))?;
        Self::try_lock_file(file, path)
    }

    /// Takes the lock on an open file if nobody holds it.
    pub fn try_lock_file(file: File, path: &Path) -> Result<Option<Self>> {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Self { _lock: lock })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => {
                Err(error).with_context(|| format!("locking {}", PathBuf::from(path).display()))
            }
        }
    }
}
