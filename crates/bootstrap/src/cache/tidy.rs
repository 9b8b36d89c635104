//! Keeping the cache small: what is too old goes, and what killed runs left.

use std::time::Duration;

use anyhow::Result;
use p2v_sys::lock::FileLock;

use super::Cache;
use crate::recipe;
use crate::scratch;

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Cache {
    /// Drops what is too old, and what killed runs left. Failing at this does
    /// not fail a create.
    pub(super) fn tidy(&self) -> Result<()> {
        if let Some(days) = self.policy.clean_days {
            for metadata in self.list()?.iter().filter(|m| m.age() >= DAY * days) {
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
            }
        }
        Ok(())
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
