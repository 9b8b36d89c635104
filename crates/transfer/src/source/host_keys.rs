//! The keys by which the machine's own SSH server is known: they move with it.

use std::path::Path;

use anyhow::Result;

use super::OpenSource;
use super::view::View;

/// Where the usual sshd keeps them.
const DIRECTORY: &str = "etc/ssh";

impl OpenSource {
    /// The fingerprints (`SHA256:...`) of the machine's host keys; none if it
    /// has none. Its root begins at byte `start` of the disk, and may be a
    /// subvolume.
    ///
    /// # Errors
    /// The root cannot be read, or one of the keys is damaged.
    pub fn host_keys(
        &self,
        disk: &Path,
        start: u64,
        subvolume: Option<&str>,
    ) -> Result<Vec<String>> {
        let mounted = self.mount(disk, start)?;
        let view = View::new(mounted.path(), subvolume)?;
        let keys = match view.root().real_path(DIRECTORY)? {
            Some(inside) => p2v_ramboot::ready::fingerprints(&view.root().path().join(inside))?,
            None => Vec::new(),
        };
        drop(view);
        mounted.close()?;
        // Each is followed by its kind.
        let first = |key: String| key.split(' ').next().map(str::to_owned);
        Ok(keys.into_iter().filter_map(first).collect())
    }
}
