//! The kernel of the root, its ramboot initrd, and the menu that boots them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use p2v_bootloader::Menu;
use p2v_bootloader::menu::{GRUB_CFG, version_key};
use p2v_bootstrap::INITRD_PREFIX;
use p2v_ramboot::builder::{self, Compression, InitrdRequest};
use p2v_sys::Root;

/// A kernel on the root, by its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// As in `uname -r`.
    pub version: String,
}

impl Kernel {
    /// The newest kernel in /boot that has its modules beside it: a hook may
    /// have added one to that of the bootstrap root.
    pub fn newest(root: &Root) -> Result<Self> {
        let mut versions: Vec<String> = root
            .list("/boot")?
            .into_iter()
            .filter_map(|name| name.to_str()?.strip_prefix("vmlinuz-").map(str::to_owned))
            .filter(|version| root.exists(format!("/lib/modules/{version}/modules.dep")))
            .collect();
        versions.sort_by_key(|version| version_key(version));
        let version = versions.pop().with_context(|| {
            format!(
                "looking for a kernel with its modules in {}/boot: none there; \
                 EXTRA_PKGS or a hook must have removed it",
                root.path().display()
            )
        })?;
        Ok(Self { version })
    }

    /// Its path on the root filesystem.
    pub fn path(&self) -> String {
        format!("/boot/vmlinuz-{}", self.version)
    }

    /// Its ramboot initrd's path on the root filesystem.
    pub fn initrd_path(&self) -> String {
        format!("/boot/ramboot-{}.img", self.version)
    }
}

/// Puts the kernel's ramboot initrd and the menu onto the root, the initrd
/// from the cache directory where it holds the same one.
pub fn install(root: &Root, kernel: &Kernel, menu: &Menu, cache: &Path) -> Result<()> {
    let initrd = initrd(root, kernel, cache)?;
    root.write(kernel.initrd_path(), initrd, 0o644)?;
    root.write(GRUB_CFG, menu.grub_cfg(), 0o644)
}

/// Takes the initrd from the cache, or builds it there.
fn initrd(root: &Root, kernel: &Kernel, cache: &Path) -> Result<Vec<u8>> {
    let binary = builder::init_binary()?;
    let path = cache.join(format!(
        "{INITRD_PREFIX}{}.img",
        initrd_key(root, kernel, &binary)?
    ));
    if let Some(initrd) = sealed::read(&path)? {
        return Ok(initrd);
    }
    tracing::info!("building the ramboot initrd for {}", kernel.version);
    let scratch = tempfile::tempdir().context("making a scratch directory")?;
    let output = scratch.path().join("initrd");
    builder::build(&InitrdRequest {
        root: root.path().to_owned(),
        kernel: kernel.version.clone(),
        output: output.clone(),
        modules: Vec::new(),
        compression: Compression::Zstd,
        force: false,
        self_contained: false,
        init_binary: binary,
    })?;
    let initrd = std::fs::read(&output).with_context(|| format!("reading {}", output.display()))?;
    // The cache saves half a second: that it cannot be written is no failure.
    if let Err(error) = sealed::write(&path, &initrd) {
        tracing::warn!("keeping the initrd for the next create: {error:#}");
    }
    Ok(initrd)
}

/// The path of the running binary.
pub fn own_binary() -> Result<PathBuf> {
    std::env::current_exe().context("finding the running binary")
}

/// A name for everything that the initrd is made of: the modules' indexes
/// change with the modules, and signed modules never change within a version.
fn initrd_key(root: &Root, kernel: &Kernel, binary: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let binary = std::fs::read(binary).with_context(|| format!("reading {}", binary.display()))?;
    hasher.update(blake3::hash(&binary).as_bytes());
    hasher.update(kernel.version.as_bytes());
    for index in ["dep", "alias", "softdep", "builtin"] {
        let path = format!("/lib/modules/{}/modules.{index}", kernel.version);
        let text = root.read(path)?.unwrap_or_default();
        hasher.update(blake3::hash(&text).as_bytes());
    }
    Ok(hasher.finalize().to_hex()[..32].to_owned())
}

/// Files that carry their own checksum, so that a damaged one is not used.
pub(super) mod sealed {
    use std::io::Write;
    use std::path::Path;

    use anyhow::{Context, Result};

    const HASH_LENGTH: usize = 32;

    /// The content of a sealed file; `None` if there is none or it is damaged.
    pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
        let mut bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("reading {}", path.display()));
            }
        };
        let Some(length) = bytes.len().checked_sub(HASH_LENGTH) else {
            return Ok(None);
        };
        let sealed = bytes.split_off(length);
        if blake3::hash(&bytes).as_bytes() != sealed.as_slice() {
            tracing::warn!("{} is damaged and is made anew", path.display());
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    /// Writes a sealed file, whole or not at all.
    pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
        let doing = || format!("writing {}", path.display());
        let directory = path.parent().with_context(doing)?;
        let mut file = tempfile::NamedTempFile::new_in(directory).with_context(doing)?;
        file.write_all(bytes).with_context(doing)?;
        file.write_all(blake3::hash(bytes).as_bytes())
            .with_context(doing)?;
        file.persist(path).with_context(doing)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_with_modules_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(Kernel::newest(&root).is_err());
        for version in ["6.1.0-9-amd64", "6.1.0-10-amd64", "6.2.0-1-amd64"] {
            root.write(format!("/boot/vmlinuz-{version}"), "", 0o644)
                .unwrap();
        }
        for version in ["6.1.0-9-amd64", "6.1.0-10-amd64"] {
            let path = format!("/lib/modules/{version}/modules.dep");
            root.write(path, "", 0o644).unwrap();
        }
        let newest = Kernel::newest(&root).unwrap();
        assert_eq!(newest.version, "6.1.0-10-amd64");
    }

    #[test]
    fn a_damaged_cached_initrd_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("initrd");
        sealed::write(&path, b"content").unwrap();
        assert_eq!(sealed::read(&path).unwrap().unwrap(), b"content");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(sealed::read(&path).unwrap(), None);
    }
}
