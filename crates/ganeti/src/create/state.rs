//! What the node remembers of an instance: a JSON file each, from which the
//! migrator takes the host keys' fingerprints.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::host_keys::HostKey;

/// Raised when a field changes its meaning.
const VERSION: u32 = 1;

/// The content of INSTANCE.json.
#[derive(Debug, Serialize)]
pub struct InstanceState<'a> {
    /// Version of this format.
    pub version: u32,
    /// The instance's full name.
    pub instance: &'a str,
    /// When create finished, in seconds since 1970.
    pub created: u64,
    /// The suite of its bootstrap root.
    pub suite: &'a str,
    /// The partition style: none, msdos or gpt.
    pub partition_style: &'a str,
    /// The root filesystem's type.
    pub filesystem: &'a str,
    /// The root filesystem's UUID.
    pub root_uuid: &'a str,
    /// The version of the kernel that its boot loader starts.
    pub kernel: &'a str,
    /// The SSH host keys.
    pub host_keys: &'a [HostKey],
}

impl<'a> InstanceState<'a> {
    /// This format's version, for [`InstanceState::version`].
    pub const VERSION: u32 = VERSION;
}

/// Makes the state directory, which others may look into but not write.
pub fn make_directory(directory: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .with_context(|| format!("making the state directory {}", directory.display()))
}

/// Replaces the instance's file in `directory`, whole or not at all. The
/// instance's name has been checked to hold no slash.
pub fn save(directory: &Path, state: &InstanceState) -> Result<PathBuf> {
    let path = directory.join(format!("{}.json", state.instance));
    let doing = || format!("writing {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(doing)?;
    let mut text = serde_json::to_string_pretty(state).with_context(doing)?;
    text.push('\n');
    file.write_all(text.as_bytes()).with_context(doing)?;
    // Public halves only, and the migrator need not be root.
    let readable = std::fs::Permissions::from_mode(0o644);
    file.as_file()
        .set_permissions(readable)
        .with_context(doing)?;
    file.as_file().sync_all().with_context(doing)?;
    file.persist(&path).with_context(doing)?;
    Ok(path)
}
