//! How the system starts: by a boot sector, or by EFI's loader.

use p2v_fixes::machine::BootMode;
use p2v_sys::Root;

use super::Files;
use crate::source::findings::Findings;

/// The loaders, and what of theirs is on a disk that they start.
const LOADERS: [(&str, &[&str]); 7] = [
    (
        "grub2",
        &[
            "boot/grub/grub.cfg",
            "boot/grub2/grub.cfg",
            "boot/efi/EFI/grub/grub.cfg",
        ],
    ),
    (
        "grub-legacy",
        &["boot/grub/menu.lst", "boot/grub/grub.conf"],
    ),
    (
        "extlinux",
        &[
            "boot/extlinux/extlinux.conf",
            "extlinux.conf",
            "boot/extlinux.conf",
            "boot/syslinux/syslinux.cfg",
            "boot/syslinux/extlinux.conf",
        ],
    ),
    ("lilo", &["etc/lilo.conf"]),
    (
        "systemd-boot",
        &[
            "boot/loader/loader.conf",
            "boot/efi/loader/loader.conf",
            "efi/loader/loader.conf",
        ],
    ),
    ("refind", &["boot/efi/EFI/refind/refind.conf"]),
    ("elilo", &["boot/efi/EFI/debian/elilo.conf"]),
];

/// Where kernels' command lines are kept.
const LINES: [&str; 12] = [
    "boot/grub/grub.cfg",
    "boot/grub2/grub.cfg",
    "boot/grub/menu.lst",
    "boot/grub/grub.conf",
    "boot/extlinux/extlinux.conf",
    "boot/extlinux.conf",
    "extlinux.conf",
    "boot/syslinux/syslinux.cfg",
    "etc/lilo.conf",
    "etc/default/grub",
    "etc/kernel/cmdline",
    "etc/default/extlinux",
];

/// The boot loaders that are installed.
pub fn loaders(files: &Files) -> Vec<String> {
    let installed = |paths: &[&str]| paths.iter().any(|path| files.has(path));
    let found = LOADERS.iter().filter(|(_, paths)| installed(paths));
    found.map(|(name, _)| (*name).to_owned()).collect()
}

/// What boot loaders' configurations say after `root=`.
pub fn named_roots(root: &Root) -> Vec<String> {
    let mut found = Vec::new();
    for path in LINES {
        // One that cannot be read is remarked elsewhere, or of no use.
        let text = root.read_text(path).ok().flatten().unwrap_or_default();
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let quotes = |letter: char| letter.is_ascii_whitespace() || "\"'".contains(letter);
        for word in lines.flat_map(|line| line.split(quotes)) {
            let value = word.strip_prefix("root=").unwrap_or_default();
            if value.starts_with("/dev/") && !found.contains(&value.to_owned()) {
                found.push(value.to_owned());
            }
        }
    }
    found
}

/// What tells how the machine's firmware starts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Firmware {
    /// There is an EFI system partition with a loader in it.
    pub efi_loader: bool,
    /// There is one that could not be looked into.
    pub efi_unknown: bool,
    /// fstab mounts one.
    pub efi_mounted: bool,
    /// There is code in a boot sector that can start the disk.
    pub boot_code: bool,
    /// This machine itself was started by EFI (`Some(true)`) or not; none where
    /// it is another machine's image.
    pub here: Option<bool>,
}

/// How the system starts.
pub fn mode(firmware: Firmware, findings: &mut Findings) -> BootMode {
    let efi_possible = firmware.efi_loader
        || firmware.efi_unknown && (firmware.efi_mounted || !firmware.boot_code);
    if firmware.efi_unknown && !firmware.efi_loader {
        findings.remark(
            "the EFI system partition could not be looked into (install mtools)".to_owned(),
        );
    }
    match (efi_possible, firmware.boot_code) {
        (true, true) => {
            let efi = firmware.here.unwrap_or(firmware.efi_mounted);
            let (mode, name) = match efi {
                true => (BootMode::Efi, "EFI"),
                false => (BootMode::Bios, "a BIOS"),
            };
            findings.remark(format!(
                "the machine could start by EFI and by a BIOS; it is taken to start by {name}"
            ));
            mode
        }
        (true, false) => BootMode::Efi,
        (false, true) => BootMode::Bios,
        (false, false) => {
            findings.remark("no boot loader was found on the disks".to_owned());
            match firmware.here {
                Some(true) => BootMode::Efi,
                _ => BootMode::Bios,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_how_it_starts() {
        let none = Firmware::default();
        let efi = Firmware {
            efi_loader: true,
            ..none
        };
        let code = Firmware {
            boot_code: true,
            ..none
        };
        let both = Firmware {
            boot_code: true,
            ..efi
        };
        let here = |firmware, efi| Firmware {
            here: Some(efi),
            ..firmware
        };
        let mounted = Firmware {
            efi_mounted: true,
            ..both
        };
        let unknown = Firmware {
            efi_unknown: true,
            ..code
        };
        for (firmware, expected, remarks) in [
            (none, BootMode::Bios, 1),
            (here(none, true), BootMode::Efi, 1),
            (efi, BootMode::Efi, 0),
            // A live medium was started in the other way.
            (here(efi, false), BootMode::Efi, 0),
            (code, BootMode::Bios, 0),
            (here(code, true), BootMode::Bios, 0),
            (both, BootMode::Bios, 1),
            (here(both, true), BootMode::Efi, 1),
            (mounted, BootMode::Efi, 1),
            (here(mounted, false), BootMode::Bios, 1),
            (unknown, BootMode::Bios, 1),
        ] {
            let mut findings = Findings::default();
            assert_eq!(mode(firmware, &mut findings), expected, "{firmware:?}");
            assert_eq!(findings.remarks.len(), remarks, "{firmware:?}");
        }
    }
}
