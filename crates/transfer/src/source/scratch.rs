//! Empty directories to mount on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A directory of our own. It is removed when this is dropped, if it is empty
/// then: never what something may still be mounted on.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one.
    pub fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("p2v-source-").tempdir();
        let path = directory.context("making a directory to mount on")?.keep();
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.path) {
            tracing::warn!("removing {}: {error}", self.path.display());
        }
    }
}
