//! EFI's removable path: what a firmware starts that knows of no system.

use anyhow::{Result, bail};

use super::Grub;
use crate::machine::Machine;
use crate::{Draft, Step};

/// The loader's path on the EFI system partition, as systems write it there;
/// vfat has no case, but the copy may be on another filesystem.
pub const REMOVABLE: [&str; 3] = [
    "EFI/BOOT/BOOTX64.EFI",
    "EFI/boot/bootx64.efi",
    "EFI/BOOT/bootx64.efi",
];

/// Where the EFI system partition may be mounted.
const MOUNT_POINTS: [&str; 3] = ["/boot/efi", "/efi", "/boot"];

/// Plans what puts a loader there.
pub fn plan(machine: &Machine, draft: &mut Draft) -> Result<Option<String>> {
    let point = mount_point(machine)?;
    let installed = REMOVABLE
        .iter()
        .any(|path| draft.exists(format!("{point}/{path}")));
    let grub = Grub::of(draft).filter(|grub| {
        // Red Hat's and SUSE's signed loaders must not be replaced by one that
        // grub2-install makes; their shim is on the removable path anyway.
        grub.install.ends_with("/grub-install") && draft.exists("usr/lib/grub/x86_64-efi")
    });
    match grub {
        Some(grub) => {
            let directory = format!("--efi-directory={point}");
            let step = Step::new(
                "installing GRUB on EFI's removable path",
                &[
                    &grub.install,
                    "--target=x86_64-efi",
                    &directory,
                    "--removable",
                    "--no-nvram",
                    "--recheck",
                ],
            );
            let point = point.to_owned();
            draft.step(step.checked(Box::new(move |root| {
                let there = |path: &&&str| root.exists(format!("{point}/{path}"));
                match REMOVABLE.iter().find(there) {
                    Some(path) => Ok(format!("{point}/{path} is there")),
                    None => bail!("there is no {point}/{}", REMOVABLE[0]),
                }
            })));
            Ok(Some(format!(
                "{} goes onto EFI's removable path",
                grub.install
            )))
        }
        None => Ok(installed.then(|| "the loader on EFI's removable path came along".to_owned())),
    }
}

/// Where the EFI system partition is mounted in the system.
pub fn mount_point(machine: &Machine) -> Result<&'static str> {
    let is_esp = |point: &&&str| {
        let volume = machine.mounted_on(point);
        volume.is_some_and(|volume| volume.kind == "vfat")
    };
    match MOUNT_POINTS.iter().find(is_esp) {
        Some(point) => Ok(point),
        None => bail!(
            "no EFI system partition is mounted on {}",
            MOUNT_POINTS.join(", ")
        ),
    }
}

/// The menu of Red Hat's systems before 9: on the EFI system partition. Later
/// ones have a stub there, which is not to be overwritten.
pub fn menu(draft: &Draft) -> Result<Option<String>> {
    for vendor in draft.list("boot/efi/EFI")? {
        let path = format!("boot/efi/EFI/{vendor}/grub.cfg");
        let text = draft.text(&path)?;
        if text.is_some_and(|text| text.contains("menuentry") || text.contains("blscfg")) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
