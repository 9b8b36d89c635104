//! Booting by EFI from the removable path, which needs no entry in the
//! firmware's variables: an instance's may be lost with every migration.
//!
//! The filesystem is made and filled by dosfstools and mtools, so that the
//! node's kernel need not know FAT.

use std::path::Path;

use anyhow::{Context, Result};
use p2v_sys::Cmd;
use p2v_sys::tools::{self, Missing};

/// What this node lacks for making the partition.
pub fn missing() -> Vec<Missing> {
    tools::missing(&[("mkfs.vfat", "dosfstools"), ("mcopy", "mtools")])
}

/// Makes the EFI system partition on `device` with GRUB's image on it.
///
/// # Errors
/// mkfs.vfat or mcopy is missing or failed, such as for a partition that is too
/// small.
pub fn install(device: &Path, image: &[u8]) -> Result<()> {
    let on = format!("on the EFI system partition {}", device.display());
    Cmd::new("mkfs.vfat", format!("creating FAT {on}"))
        .args(["-F", "32", "-n", "P2V-ESP"])
        .arg(device)
        .run()?;
    mtools("mmd", &format!("making directories {on}"), device)
        .args(["::/EFI", "::/EFI/BOOT"])
        .run()?;
    let scratch = tempfile::NamedTempFile::new().context("making a temporary file")?;
    std::fs::write(scratch.path(), image)
        .with_context(|| format!("writing {}", scratch.path().display()))?;
    mtools("mcopy", &format!("copying GRUB {on}"), device)
        .arg(scratch.path())
        .arg("::/EFI/BOOT/BOOTX64.EFI")
        .run()
}

fn mtools(program: &str, description: &str, device: &Path) -> Cmd {
    Cmd::new(program, description).arg("-i").arg(device)
}
