//! The cache: a directory with two files a root, KEY.tar.zst and KEY.json.
//!
//! Both appear by a rename when they are complete, the JSON last, so there is
//! nothing half-written to be found. Whoever builds holds the lock KEY.lock:
//! two creates at once build once, and what is left of a build whose lock is
//! free is left of a killed one.
//!
//! A root holds no secrets, but whoever may write here decides what every
//! instance runs: the directory must be ours and nobody else's to write.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use p2v_sys::lock::{FileLock, SharedFile};

mod build;
mod images;
mod prune;
mod root;
mod tidy;

pub use images::{Image, Verdict};
pub use prune::{Outcome, Pruned, Rules};
pub use root::CachedRoot;
pub use tidy::{INITRD_PREFIX, Initrd};

use crate::metadata::Metadata;
use crate::recipe::Recipe;
use crate::source::{Debian, Source};

/// When roots are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachePolicy {
    /// Whether a newly built root is kept (GENERATE_CACHE). An existing one is
    /// used in any case.
    pub generate: bool,
    /// The age in days from which a root is built anew (CLEAN_CACHE); `None`
    /// means never.
    pub clean_days: Option<u32>,
}

/// A directory of bootstrap roots.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    policy: CachePolicy,
}

impl Cache {
    /// The cache in `dir`, which is made if need be.
    pub fn new(dir: impl Into<PathBuf>, policy: CachePolicy) -> Self {
        Self {
            dir: dir.into(),
            policy,
        }
    }

    /// The same cache, which keeps what it builds.
    #[must_use]
    pub fn keeping(mut self) -> Self {
        self.policy.generate = true;
        self
    }

    /// Finds and verifies the root that `recipe` describes, or builds it from
    /// Debian's packages, which takes minutes.
    ///
    /// # Errors
    /// The recipe makes no sense, others may write to the cache's directory,
    /// the mirror cannot be reached or lacks a package, the cache is full; or
    /// there is no such root, and the policy is not to make one. Each says what
    /// to do.
    pub fn obtain(&self, recipe: &Recipe) -> Result<CachedRoot> {
        self.obtain_from(recipe, &Debian::default())
    }

    /// Builds the root that `recipe` describes, also where there is one, which
    /// stays until the new one is complete.
    pub fn rebuild(&self, recipe: &Recipe) -> Result<CachedRoot> {
        self.rebuild_from(recipe, &Debian::default())
    }

    /// Like [`Cache::rebuild`], from another source.
    pub fn rebuild_from(&self, recipe: &Recipe, source: &dyn Source) -> Result<CachedRoot> {
        recipe.check()?;
        self.make_directory()?;
        self.tidy()?;
        let key = recipe.key();
        let _lock = self.lock_build(&key)?;
        self.build_explained(&key, recipe, source)
    }

    /// Like [`Cache::obtain`], from another source.
    pub fn obtain_from(&self, recipe: &Recipe, source: &dyn Source) -> Result<CachedRoot> {
        recipe.check()?;
        self.make_directory()?;
        self.tidy()?;
        let key = recipe.key();
        // What looks damaged may be about to be replaced: only under the lock
        // is it what it seems.
        if let Ok(Some(root)) = self.find(&key) {
            return Ok(root);
        }
        let _lock = self.lock_build(&key)?;
        match self.find(&key) {
            Ok(Some(root)) => return Ok(root),
            Err(why) => {
                tracing::warn!("building the bootstrap root {key} anew: {why:#}");
                self.remove(&key)?;
            }
            Ok(None) => {}
        }
        self.build_explained(&key, recipe, source)
    }

    fn lock_build(&self, key: &str) -> Result<FileLock> {
        let what = format!("building the bootstrap root {key}");
        FileLock::wait(&self.lock_path(key), &what)
    }

    fn build_explained(
        &self,
        key: &str,
        recipe: &Recipe,
        source: &dyn Source,
    ) -> Result<CachedRoot> {
        self.build(key, recipe, source)
            .map_err(|error| self.explain_full_disk(error, source))
            .with_context(|| format!("building the bootstrap root in {}", self.dir.display()))
    }

    /// Makes the directory, or checks that nobody else writes to it.
    fn make_directory(&self) -> Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .with_context(|| format!("making the cache directory {}", self.dir.display()))?;
        self.check_directory()
    }

    /// Fails if anybody else may write to the directory, or there is none.
    pub fn check_directory(&self) -> Result<()> {
        let checking = || format!("checking the cache directory {}", self.dir.display());
        // Through a link: an admin may have moved it to a larger disk.
        let metadata = std::fs::metadata(&self.dir).with_context(checking)?;
        let us = nix::unistd::geteuid().as_raw();
        if is_others(metadata.uid(), metadata.mode(), us) {
            bail!(
                "{}: others may write to it (owner {}, mode {:o}), and so into every instance: \
                 chown it to {us} and chmod it to 700",
                checking(),
                metadata.uid(),
                metadata.mode() & 0o7777,
            );
        }
        Ok(())
    }

    /// Finds and verifies a root; an error means that it is damaged.
    fn find(&self, key: &str) -> Result<Option<CachedRoot>> {
        let path = self.archive_path(key);
        let metadata = Metadata::read(&self.metadata_path(key))?;
        let archive = match File::open(&path) {
            Ok(archive) => Some(archive),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        match (metadata, archive) {
            (None, None) => Ok(None),
            (None, Some(_)) => bail!("reading {}: its metadata is missing", path.display()),
            (Some(_), None) => bail!("reading {}: it is missing", path.display()),
            (Some(metadata), Some(archive)) => {
                let archive = SharedFile::hold(archive, &path)?;
                let checking = || format!("checking {}", path.display());
                let links = archive.file().metadata().with_context(checking)?.nlink();
                if links == 0 {
                    // Pruned since it was opened.
                    return Ok(None);
                }
                verify(key, &metadata, archive.file()).with_context(checking)?;
                Ok(Some(CachedRoot { archive, metadata }))
            }
        }
    }

    /// Removes a root, the metadata first: an archive without is not found.
    fn remove(&self, key: &str) -> Result<()> {
        self.remove_file(&self.metadata_path(key))?;
        self.remove_file(&self.archive_path(key))
    }

    /// Removes a file; none is no error.
    fn remove_file(&self, path: &Path) -> Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn names(&self) -> Result<Vec<String>> {
        let reading = || format!("reading the cache directory {}", self.dir.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir).with_context(reading)? {
            let name = entry.with_context(reading)?.file_name();
            names.extend(name.into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn archive_path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.tar.zst"))
    }

    fn metadata_path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.json"))
    }

    fn lock_path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.lock"))
    }
}

/// Whether somebody else than root and us may write to what has this owner and
/// mode. Root may in any case.
fn is_others(owner: u32, mode: u32, us: u32) -> bool {
    ![0, us].contains(&owner) || mode & 0o022 != 0
}

fn verify(key: &str, metadata: &Metadata, archive: &File) -> Result<()> {
    if metadata.key != key {
        bail!("its metadata is that of {}", metadata.key);
    }
    let length = archive.metadata().context("examining it")?.len();
    if length != metadata.archive_bytes {
        bail!(
            "it has {length} bytes instead of {}",
            metadata.archive_bytes
        );
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(archive).context("reading it")?;
    if hasher.finalize().to_hex().as_str() != metadata.archive_blake3 {
        bail!("its checksum is wrong");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_others;

    #[test]
    fn a_directory_of_roots_is_nobody_elses() {
        for (owner, mode, us, expected) in [
            (0, 0o40700, 0, false),
            (0, 0o40755, 1000, false),
            (1000, 0o40700, 1000, false),
            (1000, 0o40700, 0, true),
            (1000, 0o40700, 1001, true),
            (0, 0o40770, 0, true),
            (1000, 0o41777, 1000, true),
        ] {
            assert_eq!(
                is_others(owner, mode, us),
                expected,
                "{owner} {mode:o} {us}"
            );
        }
    }
}
