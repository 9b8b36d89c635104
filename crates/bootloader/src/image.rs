//! GRUB's image with the modules it needs, made by the node's `grub-mkimage`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use p2v_sys::Cmd;
use p2v_sys::tools::{self, Missing};

use crate::start::Start;

/// Where Debian's grub-*-bin packages put the modules, a directory a platform.
const GRUB_LIB: &str = "/usr/lib/grub";

/// What both platforms need: to find a filesystem by its UUID, to read it, and
/// to boot a kernel from it.
const MODULES: &[&str] = &[
    "btrfs",
    "configfile",
    "echo",
    "ext2",
    "halt",
    "linux",
    "ls",
    "normal",
    "part_gpt",
    "part_msdos",
    "reboot",
    "search",
    "search_fs_uuid",
    "serial",
    "sleep",
    "terminal",
    "test",
    "xfs",
];

/// The firmware that an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// PC BIOS.
    Bios,
    /// 64-bit EFI on x86.
    Efi,
}

impl Platform {
    /// GRUB's name of it, also the modules' directory.
    fn name(self) -> &'static str {
        match self {
            Self::Bios => "i386-pc",
            Self::Efi => "x86_64-efi",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Bios => "grub-pc-bin",
            Self::Efi => "grub-efi-amd64-bin",
        }
    }

    fn own_modules(self) -> &'static [&'static str] {
        match self {
            Self::Bios => &["biosdisk"],
            Self::Efi => &["efi_gop", "efi_uga"],
        }
    }

    pub(crate) fn directory(self) -> PathBuf {
        Path::new(GRUB_LIB).join(self.name())
    }

    /// What this node lacks for making the image.
    pub fn missing(self) -> Vec<Missing> {
        let modules = self.directory();
        let mut missing = tools::missing(&[("grub-mkimage", "grub-common")]);
        if !modules.join("kernel.img").exists() {
            missing.push(Missing {
                what: format!("{} (GRUB's modules)", modules.display()),
                package: self.package(),
            });
        }
        missing
    }
}

/// A name for what the image is made of: another GRUB makes another image.
pub fn key(platform: Platform, start: &Start) -> Result<String> {
    let mut parts = start.commands();
    for module in MODULES.iter().chain(start.modules()) {
        parts += module;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(parts.as_bytes());
    for name in ["kernel.img", "normal.mod"] {
        let path = platform.directory().join(name);
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        hasher.update(&bytes);
    }
    Ok(hasher.finalize().to_hex()[..32].to_owned())
}

/// GRUB's boot sector, into which a place is written.
pub fn boot_sector() -> Result<Vec<u8>> {
    let path = Platform::Bios.directory().join("boot.img");
    std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
}

/// Makes the image that begins with `start`.
pub fn make(platform: Platform, start: &Start) -> Result<Vec<u8>> {
    let doing = || format!("making GRUB's {} image", platform.name());
    let scratch = tempfile::tempdir().with_context(doing)?;
    let config = scratch.path().join("embedded.cfg");
    let output = scratch.path().join("image");
    std::fs::write(&config, start.commands()).with_context(doing)?;
    Cmd::new("grub-mkimage", doing())
        .args(["--format", platform.name(), "--prefix", "/boot/grub"])
        .arg("--directory")
        .arg(platform.directory())
        .arg("--config")
        .arg(&config)
        .arg("--output")
        .arg(&output)
        .args(MODULES)
        .args(start.modules())
        .args(platform.own_modules())
        .run()?;
    std::fs::read(&output).with_context(doing)
}
