//! Keeping the cache small: what is too old goes, and what killed runs left.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use p2v_sys::lock::FileLock;

use super::Cache;
use crate::recipe;
use crate::scratch;

/// How the names of the initrds begin that create keeps beside the roots,
/// `.img` being the end. They age like the roots.
pub const INITRD_PREFIX: &str = "initrd-";

/// How the names of temporary files begin, and when one is a killed run's.
const TEMPORARY_PREFIX: &str = ".tmp";
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Cache {
    /// Drops what is too old, and what killed runs left. Failing at this does
    /// not fail a create.
    pub(super) fn tidy(&self) -> Result<()> {
        let most = self.policy.clean_days.map(|days| DAY * days);
        if let Some(most) = most {
            for metadata in self.list()?.iter().filter(|m| m.age() >= most) {
                self.if_unused(&metadata.key, || {
                    tracing::info!("dropping the bootstrap root {}: too old", metadata.key);
                    self.remove(&metadata.key)
                });
            }
        }
        for name in self.names()? {
            if let Some(key) = scratch::key_of(name.as_ref()) {
                self.if_unused(key, || scratch::remove(&self.dir.join(&name)));
            } else if let Some(key) = name.strip_suffix(".tar.zst") {
                self.drop_orphan(key);
            } else if name.starts_with(INITRD_PREFIX) && name.ends_with(".img") {
                self.drop_from(&name, most);
            } else if name.starts_with(TEMPORARY_PREFIX) {
                self.drop_from(&name, Some(DAY));
            }
        }
        Ok(())
    }

    /// Removes a file of that age or more. Whoever reads it just now has it
    /// open.
    fn drop_from(&self, name: &str, age: Option<Duration>) {
        let path = self.dir.join(name);
        if age.is_some_and(|age| age_of(&path) >= Some(age)) {
            let removed = std::fs::remove_file(&path);
            if let Err(error) = removed.with_context(|| format!("removing {}", path.display())) {
                tracing::warn!("tidying the cache: {error:#}");
            }
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

/// How long ago a regular file was written; `None` for anything else, and if
/// the clock has been set back.
fn age_of(path: &Path) -> Option<Duration> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let written = metadata.is_file().then(|| metadata.modified().ok())??;
    written.elapsed().ok()
}
