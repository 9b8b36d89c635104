//! An instance's disk made reachable on this node, whatever Ganeti calls it: a
//! block device, a file, or a URI in QEMU's words.
//!
//! Where Ganeti gives both a path and a URI (Gluster, say), the path serves.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use p2v_sys::mount::points_below;
use p2v_sys::userspace_disk::{Access, UserspaceDisk};

use crate::job::Disk;
use crate::scratch::make_directory;
use crate::settings::SettingsPaths;

/// A disk that programs on this node can open, as long as this lives.
#[derive(Debug)]
pub struct AttachedDisk {
    path: PathBuf,
    userspace: Option<UserspaceDisk>,
}

impl AttachedDisk {
    /// Makes `disk` reachable.
    pub fn open(disk: &Disk, paths: &SettingsPaths) -> Result<Self> {
        Self::open_for(disk, Access::ReadWrite, paths)
    }

    /// Makes `disk` reachable, to be read only.
    pub fn open_to_read(disk: &Disk, paths: &SettingsPaths) -> Result<Self> {
        Self::open_for(disk, Access::ReadOnly, paths)
    }

    fn open_for(disk: &Disk, access: Access, paths: &SettingsPaths) -> Result<Self> {
        match (&disk.path, &disk.uri) {
            (Some(path), _) => Ok(Self {
                path: path.clone(),
                userspace: None,
            }),
            (None, Some(uri)) => Self::attach(uri, access, paths),
            (None, None) => bail!("attaching a disk: it has neither a path nor a URI"),
        }
    }

    fn attach(uri: &str, access: Access, paths: &SettingsPaths) -> Result<Self> {
        let directory = free_directory(paths)?;
        // Ganeti hands the URI to QEMU as `file=URI` among other options, in
        // which two commas mean one.
        let userspace = UserspaceDisk::attach(&uri.replace(",,", ","), access, &directory)?;
        let path = userspace.path().to_owned();
        tracing::info!(
            "attached the disk {} as {}",
            userspace.name(),
            path.display()
        );
        Ok(Self {
            path,
            userspace: Some(userspace),
        })
    }

    /// The block device or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The error of work on the disk, with the reason if the disk can no
    /// longer be reached: what fails then only says "input/output error".
    pub fn explain(&mut self, error: Error) -> Error {
        match self.userspace.as_mut().map(UserspaceDisk::check) {
            Some(Err(reason)) => error.context(format!("{reason:#}")),
            Some(Ok(())) | None => error,
        }
    }

    /// Lets the disk go; what was written to it has reached it then.
    pub fn close(self) -> Result<()> {
        self.userspace.map_or(Ok(()), UserspaceDisk::close)
    }
}

/// A directory to show a disk in: others of this run may have one already. It
/// stays, and is empty to everybody else.
fn free_directory(paths: &SettingsPaths) -> Result<PathBuf> {
    let mut number = 0;
    loop {
        let directory = paths.disk_dir(number);
        make_directory(&directory)?;
        let mounted = points_below(&directory).context("looking for a free directory")?;
        if mounted.is_empty() {
            return Ok(directory);
        }
        number += 1;
    }
}
