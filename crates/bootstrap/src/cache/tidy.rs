//! Keeping the cache small: what is too old goes, and what killed runs left.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use p2v_sys::lock::FileLock;

use super::Cache;
use crate::recipe;
use crate::scratch;

/// How the names of the initrds begin that create keeps beside the roots; 32
/// hex digits follow, for an image of GRUB's after `grub-`, and `.img`. They age
/// like the roots.
pub const INITRD_PREFIX: &str = "initrd-";

/// How many hex digits follow it. Where the cache is a link to elsewhere, an
/// `initrd-6.1.img` beside may be anybody's.
const INITRD_HASH_LENGTH: usize = 32;

/// How the names of temporary files begin, how many letters and digits follow,
/// and when one is a killed run's.
const TEMPORARY_PREFIX: &str = ".tmp";
const TEMPORARY_LENGTH: usize = 6;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An initrd, or an image of GRUB's, that create keeps beside the roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initrd {
    /// Its file's name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// How long ago it was made.
    pub age: Duration,
}

impl Cache {
    /// Drops what is too old, and what killed runs left. Failing at this does
    /// not fail a create.
    pub(super) fn tidy(&self) -> Result<()> {
        if let Some(days) = self.policy.clean_days {
            let most = DAY * days;
            let is_old = |age: Option<Duration>| age.is_some_and(|age| age >= most);
            for image in self.images()?.iter().filter(|image| is_old(image.age())) {
                self.if_unused(&image.key, || {
                    tracing::info!("dropping the bootstrap root {}: too old", image.key);
                    self.remove(&image.key)
                });
            }
            for initrd in self.initrds()?.iter().filter(|it| it.age >= most) {
                self.drop_file(&initrd.name);
            }
        }
        self.sweep()
    }

    /// Drops what killed runs left.
    pub(super) fn sweep(&self) -> Result<()> {
        for name in self.names()? {
            if let Some(key) = scratch::key_of(name.as_ref()) {
                self.if_unused(key, || scratch::remove(&self.dir.join(&name)));
            } else if let Some(key) = name.strip_suffix(".tar.zst") {
                self.drop_orphan(key);
            } else if is_temporary(&name) && age_of(&self.dir.join(&name)) >= Some(DAY) {
                self.drop_file(&name);
            }
        }
        Ok(())
    }

    /// The initrds beside the roots, sorted by name; no directory is an empty
    /// cache.
    pub fn initrds(&self) -> Result<Vec<Initrd>> {
        if !self.dir.exists() {
            return Ok(Vec::new());
        }
        let names = self.names()?.into_iter().filter(|name| is_initrd(name));
        let initrds = names.filter_map(|name| {
            let path = self.dir.join(&name);
            Some(Initrd {
                bytes: std::fs::symlink_metadata(&path).ok()?.len(),
                age: age_of(&path)?,
                name,
            })
        });
        Ok(initrds.collect())
    }

    /// Whoever reads it just now has it open.
    fn drop_file(&self, name: &str) {
        if let Err(error) = self.remove_file(&self.dir.join(name)) {
            tracing::warn!("tidying the cache: {error:#}");
        }
    }

    /// Removes an archive without metadata: a run was killed between the two
    /// renames. No recipe may ever ask for its key again, so it would stay.
    fn drop_orphan(&self, key: &str) {
        let described = || self.metadata_path(key).exists();
        if recipe::is_key(key) && !described() {
            self.if_unused(key, || {
                // Only under the lock is it what it seems.
                if described() {
                    Ok(())
                } else {
                    self.remove(key)
                }
            });
        }
    }

    fn if_unused(&self, key: &str, work: impl FnOnce() -> Result<()>) {
        let result = match FileLock::try_lock(&self.lock_path(key)) {
            Ok(Some(_lock)) => work(),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::warn!("tidying the cache: {error:#}");
        }
    }
}

fn is_initrd(name: &str) -> bool {
    let hash = name.strip_prefix(INITRD_PREFIX);
    let hash = hash.and_then(|rest| rest.strip_suffix(".img"));
    let hash = hash.map(|rest| rest.strip_prefix("grub-").unwrap_or(rest));
    hash.is_some_and(|hash| {
        hash.len() == INITRD_HASH_LENGTH && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn is_temporary(name: &str) -> bool {
    let random = name.strip_prefix(TEMPORARY_PREFIX);
    random.is_some_and(|random| {
        random.len() == TEMPORARY_LENGTH && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// How long ago a regular file was written; `None` for anything else, and if
/// the clock has been set back.
fn age_of(path: &Path) -> Option<Duration> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let written = metadata.is_file().then(|| metadata.modified().ok())??;
    written.elapsed().ok()
}
