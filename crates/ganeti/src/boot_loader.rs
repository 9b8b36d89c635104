//! The boot loader of a disk that has been laid out, and the consoles of its
//! instance.

use anyhow::Result;
use p2v_bootloader::{Console, Platform, Start, bios, efi, image};
use p2v_sys::disk::Disk;
use p2v_sys::tools::Missing;

use crate::layout::Layout;
use crate::settings::PartitionStyle;

/// What this node lacks for making the style's boot loader.
pub fn missing(style: PartitionStyle) -> Vec<Missing> {
    match style {
        PartitionStyle::None => Vec::new(),
        PartitionStyle::Msdos => Platform::Bios.missing(),
        PartitionStyle::Gpt => {
            let mut missing = Platform::Bios.missing();
            missing.extend(Platform::Efi.missing());
            missing.extend(efi::missing());
            missing.dedup();
            missing
        }
    }
}

/// The boot loader last: before it, no firmware boots from this disk.
pub fn install(disk: &Disk, layout: &Layout, start: &Start) -> Result<()> {
    let Some(area) = layout.boot_area else {
        return Ok(());
    };
    tracing::info!("installing the boot loader");
    if let Some(esp) = &layout.esp {
        efi::install(esp.path(), &image::make(Platform::Efi, start)?)?;
    }
    let core = image::make(Platform::Bios, start)?;
    bios::install(disk, area, &core)
}

/// The consoles of an instance; the last one is where init speaks.
pub fn consoles(hypervisor: &str, serial: bool) -> Vec<Console> {
    match hypervisor {
        "xen-pvm" => vec![Console::Screen, Console::Xen],
        _ if serial => vec![Console::Screen, Console::Serial],
        _ => vec![Console::Screen],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consoles_follow_the_hypervisor() {
        use Console::{Screen, Serial, Xen};
        assert_eq!(consoles("kvm", true), [Screen, Serial]);
        assert_eq!(consoles("kvm", false), [Screen]);
        assert_eq!(consoles("xen-pvm", false), [Screen, Xen]);
        assert_eq!(consoles("xen-hvm", true), [Screen, Serial]);
    }
}
