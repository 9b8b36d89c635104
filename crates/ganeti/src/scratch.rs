//! Directories of a run's own, under the node's state directory. Each run sees
//! only its own: it mounts them in a namespace that ends with it.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Error, Result};
use nix::mount::MsFlags;
use p2v_sys::Mount;

use crate::settings::SettingsPaths;

/// Makes a directory of the state directory, which others may look into but
/// not write, if need be.
pub fn make_directory(directory: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .with_context(|| format!("making the state directory {}", directory.display()))
}

/// A private tmpfs for what must not reach a disk, such as host keys in the
/// making, and for temporary files. It is gone with the namespace.
pub fn mount(paths: &SettingsPaths) -> Result<Mount> {
    let directory = paths.scratch_dir();
    make_directory(&directory)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let mount = Mount::new("tmpfs", &directory, "tmpfs", flags, "mode=0700")?;
    tempfile::env::override_temp_dir(&directory)
        .map_err(|earlier| Error::msg(format!("the temporary directory is {earlier:?} already")))?;
    Ok(mount)
}
