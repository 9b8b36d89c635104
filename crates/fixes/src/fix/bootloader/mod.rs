//! The boot loader: the system's own, installed by its own tools onto the disk
//! that the instance starts from.
//!
//! GRUB 2 for a BIOS and for EFI's removable path, which needs no variables of
//! the firmware's; extlinux where the system starts by it; GRUB 0.97 as far as
//! it still can. A boot sector is not copied with files, so all of it is done
//! each time. Where the system brings no boot loader for how the instance
//! starts, or its own cannot be installed, the one of the system in RAM is the
//! last resort.

mod efi;
mod extlinux;
mod last_resort;

use anyhow::{Result, bail};
use p2v_sys::Root;

use crate::cmdline::CommandLines;
use crate::lines::{Line, edit_lines};
use crate::machine::{BootMode, Machine, Resolved};
use crate::system::program;
use crate::{Draft, Step, Verdict};
use last_resort::LastResort;

const DEVICE_MAPS: [&str; 2] = ["boot/grub/device.map", "boot/grub2/device.map"];

/// Plans the boot loader's installation.
pub fn run(machine: &Machine, draft: &mut Draft) -> Result<Verdict> {
    let mut done = Vec::new();
    let planned = match machine.boot {
        BootMode::Direct => {
            return Ok(Verdict::not_needed(
                "the node gives the instance its kernel",
            ));
        }
        BootMode::Efi => efi::plan(machine, draft)?,
        BootMode::Bios => bios(machine, draft, &mut done)?,
    };
    let last_resort = LastResort::plan(machine, draft);
    let Some(text) = planned else {
        return Ok(without_own(machine, draft, last_resort));
    };
    done.push(text);
    if let Some(menu) = menu_step(machine, draft)? {
        draft.step(menu);
    }
    if let Ok(last_resort) = last_resort {
        draft.or_else(step_of(last_resort));
    }
    Ok(Verdict::Changed(done))
}

fn without_own(machine: &Machine, draft: &mut Draft, last: Result<LastResort>) -> Verdict {
    let (how, package) = match machine.boot {
        BootMode::Efi => ("EFI", "grub-efi-amd64 or grub2-efi-x64"),
        BootMode::Bios | BootMode::Direct => ("a BIOS", "grub-pc, grub2-pc or extlinux"),
    };
    match last {
        Ok(last) => {
            draft.step(step_of(last));
            Verdict::Changed(vec![format!("the system has no boot loader for {how}")])
        }
        Err(error) => {
            draft.obstacle(format!(
                "the system has no boot loader for {how}: install {package} in it and run this \
                 again; there is no last resort either: {error:#}"
            ));
            Verdict::not_needed("the system has no boot loader that fits, see below")
        }
    }
}

fn step_of(last_resort: LastResort) -> Step {
    let what = "installing the GRUB of the system in RAM, the last resort";
    Step::new(what, &[]).checked(Box::new(move |root| last_resort.install(root)))
}

fn bios(machine: &Machine, draft: &mut Draft, done: &mut Vec<String>) -> Result<Option<String>> {
    let disk = machine.boot_disk.as_str();
    if disk.is_empty() {
        bail!("it is not known which disk the instance starts from: set boot_disk");
    }
    if let Some(grub) = Grub::of(draft) {
        let has_modules = ["lib", "share"]
            .iter()
            .any(|base| draft.exists(format!("usr/{base}/{}/i386-pc", grub.directory)));
        if has_modules || grub.is_old {
            done.extend(set_device_maps(draft, disk)?);
            draft.step(grub.bios_step(disk));
            return Ok(Some(format!("{} goes onto {disk}", grub.install)));
        }
    }
    extlinux::plan(machine, draft)
}

/// GRUB, by the names that its programs and directories have here.
#[derive(Debug)]
struct Grub {
    install: String,
    /// `grub` or `grub2`, in /boot and /usr/lib.
    directory: &'static str,
    /// 0.97.
    is_old: bool,
}

impl Grub {
    fn of(draft: &Draft) -> Option<Self> {
        if let Some(install) = program(draft, "grub2-install") {
            // Its modules are in /usr/lib/grub all the same, but in SUSE's.
            let own = draft.exists("usr/share/grub2") || draft.exists("usr/lib/grub2");
            let directory = if own { "grub2" } else { "grub" };
            return Some(Self {
                install,
                directory,
                is_old: false,
            });
        }
        let install = program(draft, "grub-install")?;
        let is_old = program(draft, "grub-mkconfig").is_none();
        Some(Self {
            install,
            directory: "grub",
            is_old,
        })
    }

    fn bios_step(&self, disk: &str) -> Step {
        let what = format!("installing GRUB on {disk}");
        let install = self.install.as_str();
        match self.is_old {
            true => Step::new(what, &[install, disk]),
            // 1.99 does not know --target; the default is right, since this
            // machine has been started by a BIOS too.
            false => Step::new(what, &[install, "--recheck", disk]),
        }
    }
}

/// Which disk GRUB's `(hd0)` is; a map of old disks makes its tools fail.
fn set_device_maps(draft: &mut Draft, disk: &str) -> Result<Vec<String>> {
    let mut done = Vec::new();
    for path in DEVICE_MAPS {
        let Some(old) = draft.read(path)? else {
            continue;
        };
        let right = format!("(hd0) {disk}");
        let new = edit_lines(&old, |line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words.as_slice() {
                ["(hd0)", device] if *device == disk => Line::Keep,
                ["(hd0)", _] => Line::Is(right.clone()),
                [drive, _] if drive.starts_with("(hd") => Line::Drop,
                _ => Line::Keep,
            }
        });
        if new != old {
            draft.write(path, new)?;
            done.push(format!("/{path}: {right}"));
        }
    }
    Ok(done)
}

/// The menu, written anew by GRUB 2's tool.
fn menu_step(machine: &Machine, draft: &Draft) -> Result<Option<Step>> {
    let what = "writing GRUB's menu";
    let step = if let Some(path) = program(draft, "update-grub") {
        Step::new(what, &[&path])
    } else if let Some(path) = program(draft, "grub2-mkconfig") {
        let menu = match machine.boot {
            BootMode::Efi => efi::menu(draft)?,
            BootMode::Bios | BootMode::Direct => None,
        };
        let menu = menu.unwrap_or_else(|| "boot/grub2/grub.cfg".to_owned());
        Step::new(what, &[&path, "-o", &format!("/{menu}")])
    } else if let Some(path) = program(draft, "grub-mkconfig") {
        Step::new(what, &[&path, "-o", "/boot/grub/grub.cfg"])
    } else {
        return Ok(None);
    };
    let machine = machine.clone();
    Ok(Some(
        step.checked(Box::new(move |root| names_root(&machine, root))),
    ))
}

/// Whether some menu starts the root that is there.
fn names_root(machine: &Machine, root: &Root) -> Result<String> {
    let draft = Draft::new(root);
    let lines = CommandLines::find(&draft)?;
    let specs = lines.values("root");
    let right = specs.iter().find(|spec| match machine.resolve(spec) {
        Resolved::Right(volume) => volume.mount_point.as_deref() == Some("/"),
        // A btrfs or ZFS that only its own tools understand.
        Resolved::NoDevice => true,
        _ => false,
    });
    match right {
        Some(spec) => Ok(format!("the menu starts root={spec}")),
        None => bail!("no menu starts the root that is there, but {specs:?}"),
    }
}

#[cfg(test)]
mod tests;
