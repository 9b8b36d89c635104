//! The initrd's file: checked before any work, and replaced in one step.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A file that can be written.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    temporary: PathBuf,
}

impl Output {
    /// Checks that the file may be written: it is not there, or `force` says
    /// to replace it, and its directory takes files. Removes what a killed
    /// run left beside it.
    pub(super) fn prepare(path: &Path, force: bool) -> Result<Self> {
        let Some(name) = path.file_name() else {
            bail!(
                "writing {}: the path names no file: give one with --output",
                path.display()
            );
        };
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("examining {}", path.display()));
            }
            // Not a device or a directory, whatever is asked for.
            Ok(metadata) if !metadata.is_file() && !metadata.is_symlink() => {
                bail!(
                    "writing {}: it is not a regular file: give one with --output",
                    path.display()
                );
            }
            Ok(_) if !force => {
                bail!("writing {}: it exists; --force replaces it", path.display());
            }
            Ok(_) => {}
        }
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        sweep(dir, name);
        let mut temporary = temporary_prefix(name);
        temporary.push(std::process::id().to_string());
        let output = Self {
            path: path.to_owned(),
            temporary: dir.join(temporary),
        };
        // Permissions do not tell: the file system may be read-only.
        output.create().map(drop)?;
        output.discard();
        Ok(output)
    }

    /// Lets `content` write the file, gives it `mode` and puts it in its place,
    /// or leaves nothing behind. Returns its length in bytes.
    pub(super) fn write(
        self,
        mode: u32,
        content: impl FnOnce(&mut File) -> Result<()>,
    ) -> Result<u64> {
        let mut file = self.create()?;
        let written = content(&mut file).and_then(|()| Ok(self.put(&file, mode)?));
        if written.is_err() {
            self.discard();
        }
        let length = written.with_context(|| format!("writing {}", self.path.display()))?;
        // So that the name, too, outlives a crash of the machine.
        File::open(self.dir())
            .and_then(|dir| dir.sync_all())
            .with_context(|| format!("syncing {}", self.dir().display()))?;
        Ok(length)
    }

    fn put(&self, file: &File, mode: u32) -> std::io::Result<u64> {
        file.set_permissions(PermissionsExt::from_mode(mode))?;
        file.sync_all()?;
        let length = file.metadata()?.len();
        std::fs::rename(&self.temporary, &self.path)?;
        Ok(length)
    }

    fn dir(&self) -> &Path {
        self.temporary.parent().unwrap_or(Path::new("."))
    }

    fn create(&self) -> Result<File> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.temporary)
            .with_context(|| {
                format!(
                    "writing {}: creating a file in {}",
                    self.path.display(),
                    self.dir().display()
                )
            })
    }

    fn discard(&self) {
        if let Err(error) = std::fs::remove_file(&self.temporary) {
            tracing::warn!("removing {}: {error}", self.temporary.display());
        }
    }
}

fn temporary_prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".p2v-");
    prefix
}

/// Removes the temporary files of runs that are gone. Best effort: what cannot
/// be removed here makes the creation fail, or is in nobody's way.
fn sweep(dir: &Path, name: &OsStr) {
    let prefix = temporary_prefix(name);
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let file = entry.file_name();
        let process = file
            .to_str()
            .zip(prefix.to_str())
            .and_then(|(file, prefix)| file.strip_prefix(prefix))
            .and_then(|rest| rest.parse::<u32>().ok());
        let ended = |process: u32| !Path::new("/proc").join(process.to_string()).exists();
        if process.is_some_and(ended) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
