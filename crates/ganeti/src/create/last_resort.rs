//! The boot loader of last resort, for the fixes: GRUB's images, made on the
//! node, so that the instance needs no GRUB of its own.

use std::path::Path;

use anyhow::Result;
use p2v_bootloader::{Platform, Start, image};
use p2v_bootstrap::INITRD_PREFIX;
use p2v_sys::Root;

use super::kernel::sealed;

/// Where the images are in the root.
const DIRECTORY: &str = "/usr/share/p2v-target/start";

/// Puts the images onto the root, from the cache directory where it holds
/// them. What this node has no GRUB for is left out.
pub fn install(root: &Root, cache: &Path) -> Result<()> {
    let images = [(Platform::Bios, "core.img"), (Platform::Efi, "grub.efi")];
    for (platform, name) in images {
        if let Some(missing) = platform.missing().first() {
            tracing::debug!("no last resort for systems without a boot loader: {missing}");
            continue;
        }
        let image = image_of(platform, cache)?;
        root.write(format!("{DIRECTORY}/{name}"), image, 0o644)?;
        if platform == Platform::Bios {
            root.write(
                format!("{DIRECTORY}/boot.img"),
                image::boot_sector()?,
                0o644,
            )?;
        }
    }
    Ok(())
}

fn image_of(platform: Platform, cache: &Path) -> Result<Vec<u8>> {
    let start = Start::of_marked();
    // The prefix is that of what ages like the roots.
    let key = image::key(platform, &start)?;
    let path = cache.join(format!("{INITRD_PREFIX}grub-{key}.img"));
    if let Some(image) = sealed::read(&path)? {
        return Ok(image);
    }
    let image = image::make(platform, &start)?;
    if let Err(error) = sealed::write(&path, &image) {
        tracing::warn!("keeping GRUB's image for the next create: {error:#}");
    }
    Ok(image)
}
