//! The system's tree as the system itself sees it: its filesystems mounted in
//! each other, read-only. Paths are resolved inside, wherever links point.

use std::path::Path;

use anyhow::{Context, Result};
use p2v_sys::{Mount, Root};

use super::scratch::Scratch;

/// The tree, until this is dropped.
#[derive(Debug)]
pub struct View {
    root: Option<Root>,
    binds: Vec<Mount>,
    directory: Scratch,
}

impl View {
    /// With a subvolume (or the whole) of a mounted filesystem as the root.
    pub fn new(source: &Path, subvolume: Option<&str>) -> Result<Self> {
        let directory = Scratch::new()?;
        let bind = bind(source, subvolume, directory.path())?;
        // A guard first: opening may fail.
        let mut view = Self {
            root: None,
            binds: vec![bind],
            directory,
        };
        view.root = Some(Root::open(view.directory.path())?);
        Ok(view)
    }

    /// Mounts another one on the directory `path`, if there is one.
    pub fn add(&mut self, path: &str, source: &Path, subvolume: Option<&str>) -> Result<()> {
        let Some(place) = self.root().real_path(path)? else {
            return Ok(());
        };
        // Nothing here can be changed, so the path stays what it is.
        let target = self.directory.path().join(place);
        if target.is_dir() {
            self.binds.push(bind(source, subvolume, &target)?);
        }
        Ok(())
    }

    /// Its top.
    pub fn root(&self) -> &Root {
        self.root.as_ref().expect("it is open until the drop")
    }
}

fn bind(source: &Path, subvolume: Option<&str>, target: &Path) -> Result<Mount> {
    let top = Root::open(source)?;
    let inside = top.real_path(subvolume.unwrap_or("."))?;
    let inside = inside.with_context(|| {
        let name = subvolume.unwrap_or_default();
        format!("looking for the subvolume {name} in {}", source.display())
    })?;
    Mount::bind(&source.join(inside), target)
}

impl Drop for View {
    fn drop(&mut self) {
        // An open root keeps its mount busy; the last mount goes first.
        self.root = None;
        while self.binds.pop().is_some() {}
    }
}
