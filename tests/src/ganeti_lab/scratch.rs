//! A lab's directory on disk: it goes with the lab, and that of a killed one
//! goes when the next begins.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use p2v_sys::lock::FileLock;

use crate::place;

const PREFIX: &str = "p2v-ganeti-lab-";

/// In the directory, held as long as the lab lives. One without it is kept.
const LOCK: &str = "lock";

/// The directory of a living lab.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    lock: Option<FileLock>,
    keep: AtomicBool,
}

impl Scratch {
    /// Makes one below $P2V_TEST_SCRATCH, and removes what killed labs left
    /// there.
    pub fn new() -> Result<Self> {
        let place = place();
        let _guard = no_other_sweeps()?;
        sweep(&place)?;
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&place)
            .with_context(|| format!("making a directory in {}", place.display()))?
            .keep();
        let lock = FileLock::try_lock(&dir.join(LOCK))?;
        Ok(Self {
            dir,
            lock,
            keep: AtomicBool::new(std::env::var_os("P2V_TEST_KEEP").is_some()),
        })
    }

    /// Its path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Does not remove it at the end.
    pub fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let done = if self.keep.load(Ordering::Relaxed) || std::thread::panicking() {
            eprintln!("kept {}", self.dir.display());
            std::fs::remove_file(self.dir.join(LOCK))
        } else {
            std::fs::remove_dir_all(&self.dir)
        };
        drop(self.lock.take());
        if let Err(error) = done {
            eprintln!("clearing {}: {error}", self.dir.display());
        }
    }
}

/// Where labs have their directories.
pub fn place() -> PathBuf {
    place::variable("P2V_TEST_SCRATCH", "/var/tmp")
}

/// Between a directory's birth and its lock nobody may sweep.
fn no_other_sweeps() -> Result<FileLock> {
    let path = place::test_cache()?.join("ganeti-lab.lock");
    FileLock::wait(&path, "preparing its directory")
}

/// Removes the directories of labs that live no more.
pub fn sweep(place: &Path) -> Result<()> {
    let entries =
        std::fs::read_dir(place).with_context(|| format!("reading {}", place.display()))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let dir = entry.path();
        if !name.to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Not created here: without it the directory is to be kept.
        let Ok(file) = File::open(dir.join(LOCK)) else {
            continue;
        };
        if let Some(_dead) = FileLock::try_lock_file(file, &dir)? {
            std::fs::remove_dir_all(&dir)
                .with_context(|| format!("removing what a killed lab left, {}", dir.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dead_labs_directory_is_swept() {
        let place = tempfile::tempdir().unwrap();
        let make = |name: &str, lock: bool| {
            let dir = place.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            if lock {
                File::create(dir.join(LOCK)).unwrap();
            }
            dir
        };
        let dead = make("p2v-ganeti-lab-dead", true);
        let kept = make("p2v-ganeti-lab-kept", false);
        let other = make("other", true);
        let living = make("p2v-ganeti-lab-living", true);
        let _lock = FileLock::try_lock(&living.join(LOCK)).unwrap().unwrap();
        sweep(place.path()).unwrap();
        assert!(!dead.exists());
        assert!(kept.exists() && other.exists() && living.exists());
    }
}
