//! What is known of a cached root, kept as JSON beside its archive.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The version of this file's shape.
pub(crate) const VERSION: u32 = 1;

/// What is known of a cached root. The proxy is not: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// The version of this shape.
    pub version: u32,
    /// The recipe's key.
    pub key: String,
    /// The Debian suite.
    pub suite: String,
    /// The Debian architecture.
    pub arch: String,
    /// The mirror, unless it was the tool's default.
    pub mirror: Option<String>,
    /// The components.
    pub components: Vec<String>,
    /// The packages that were named to the tool.
    pub packages: Vec<String>,
    /// What built it.
    pub tool: String,
    /// The version of its kernel, as in `6.1.0-31-amd64`.
    pub kernel: String,
    /// When it was built, in seconds since 1970.
    pub built_at: u64,
    /// Length of the archive in bytes.
    pub archive_bytes: u64,
    /// BLAKE3 of the archive, in hex.
    pub archive_blake3: String,
    /// Room that the tree takes, in bytes; see [`crate::archive::Packed`].
    pub unpacked_bytes: u64,
    /// Number of inodes.
    pub inodes: u64,
}

impl Metadata {
    /// Reads and checks the file `path`; `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let reading = || format!("reading {}", path.display());
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(reading),
        };
        let metadata: Self = serde_json::from_slice(&text).with_context(reading)?;
        if metadata.version != VERSION {
            bail!("{}: its version {} is unknown", reading(), metadata.version);
        }
        Ok(Some(metadata))
    }

    /// How long ago it was built; zero if the clock has been set back, or the
    /// file says what cannot be.
    pub fn age(&self) -> Duration {
        let built = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.built_at));
        let age = built.and_then(|built| SystemTime::now().duration_since(built).ok());
        age.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_in_a_damaged_file_ends_the_program() {
        let mut text = serde_json::json!({
            "version": VERSION, "key": "a-b-c", "suite": "bookworm", "arch": "amd64",
            "mirror": null, "components": [], "packages": [], "tool": "mmdebstrap",
            "kernel": "6.1", "built_at": 0, "archive_bytes": 1, "archive_blake3": "",
            "unpacked_bytes": 1, "inodes": 1,
        });
        let mut age = |built_at: u64| {
            text["built_at"] = built_at.into();
            serde_json::from_value::<Metadata>(text.clone())
                .unwrap()
                .age()
        };
        assert!(age(0) > Duration::from_secs(1 << 30));
        for future in [u64::MAX, u64::MAX / 2, i64::MAX as u64] {
            assert_eq!(age(future), Duration::ZERO, "{future}");
        }
    }
}
