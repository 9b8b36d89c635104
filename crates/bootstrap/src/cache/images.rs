//! What the cache holds, for who looks after it: each root with its size, its
//! age, whether a create reads it, and what is wrong with it.

use std::fs::File;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, Result};
use p2v_sys::lock::FileLock;
use serde::Serialize;

use super::Cache;
use crate::metadata::Metadata;
use crate::recipe;

/// A root of the cache.
#[derive(Debug, Clone, Serialize)]
pub struct Image {
    /// Its name in the cache.
    pub key: String,
    /// The length of its archive, in bytes.
    pub bytes: u64,
    /// Whether a create reads it just now.
    pub in_use: bool,
    /// What is wrong with it, as far as a glance shows: its contents are for
    /// [`Cache::verify`].
    pub damage: Option<String>,
    /// All that is known of it, if that can be read.
    pub metadata: Option<Metadata>,
}

impl Image {
    /// How long ago it was built; `None` if that is not known.
    pub fn age(&self) -> Option<Duration> {
        self.metadata.as_ref().map(Metadata::age)
    }
}

/// What [`Cache::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte is as it was built.
    Whole,
    /// It is not, and why.
    Damaged(String),
    /// Somebody builds it just now.
    BeingBuilt,
}

impl Cache {
    /// Every root, sorted by key. What is being built, or was when its build
    /// was killed, is none yet. No directory is an empty cache.
    pub fn images(&self) -> Result<Vec<Image>> {
        if !self.dir.exists() {
            return Ok(Vec::new());
        }
        let names = self.names()?;
        let keys = names.iter().filter_map(|name| name.strip_suffix(".json"));
        let keys = keys.filter(|key| recipe::is_key(key));
        Ok(keys.filter_map(|key| self.image(key)).collect())
    }

    /// The root of that key; `None` if there is none.
    pub fn image(&self, key: &str) -> Option<Image> {
        let path = self.archive_path(key);
        let (metadata, mut damage) = match Metadata::read(&self.metadata_path(key)) {
            Ok(None) => return None,
            // The key names the files that are removed.
            Ok(Some(metadata)) if metadata.key != key => (
                None,
                Some(format!("its metadata is that of {}", metadata.key)),
            ),
            Ok(metadata) => (metadata, None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        let bytes = match std::fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) => {
                damage.get_or_insert(format!("examining {}: {error}", path.display()));
                0
            }
        };
        let expected = metadata.as_ref().map_or(bytes, |known| known.archive_bytes);
        if expected != bytes {
            damage.get_or_insert(format!("it has {bytes} bytes instead of {expected}"));
        }
        Some(Image {
            key: key.to_owned(),
            bytes,
            in_use: self.is_read(key),
            damage,
            metadata,
        })
    }

    /// Reads all of a root and compares its checksum.
    ///
    /// # Errors
    /// There is no such root.
    pub fn verify(&self, key: &str) -> Result<Verdict> {
        let damage = match self.find(key) {
            Ok(found) => {
                found.with_context(|| format!("there is no root {key}"))?;
                return Ok(Verdict::Whole);
            }
            Err(damage) => damage,
        };
        // What looks damaged may be about to be replaced.
        match FileLock::try_lock(&self.lock_path(key)) {
            Ok(None) => Ok(Verdict::BeingBuilt),
            Ok(Some(_lock)) => Ok(match self.find(key) {
                Ok(Some(_)) => Verdict::Whole,
                Ok(None) => Verdict::Damaged(format!("{damage:#}")),
                Err(damage) => Verdict::Damaged(format!("{damage:#}")),
            }),
            Err(_) => Ok(Verdict::Damaged(format!("{damage:#}"))),
        }
    }

    /// Whether somebody holds the archive; see [`super::CachedRoot`].
    fn is_read(&self, key: &str) -> bool {
        let path = self.archive_path(key);
        match File::open(&path) {
            Ok(archive) => matches!(FileLock::try_lock_file(archive, &path), Ok(None)),
            Err(_) => false,
        }
    }

    /// Removes a root that nobody reads or builds, if `still` says so when
    /// nobody can any more. Returns whether it is gone.
    pub(super) fn remove_if_free(&self, key: &str, still: impl FnOnce() -> bool) -> Result<bool> {
        let Some(_build) = FileLock::try_lock(&self.lock_path(key))? else {
            return Ok(false);
        };
        let path = self.archive_path(key);
        let _read = match File::open(&path) {
            Ok(archive) => match FileLock::try_lock_file(archive, &path)? {
                Some(lock) => Some(lock),
                None => return Ok(false),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        if !still() {
            return Ok(false);
        }
        self.remove(key)?;
        Ok(true)
    }
}
