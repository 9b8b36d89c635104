//! Which boot loader's tools each distribution runs, on roots of empty files.

use super::*;
use crate::testing::{TestRoot, machine};

const BIOS: &str = r#"{"boot_disk": "/dev/vda", "volumes": [{"device": "/dev/vda1", "kind": "ext4",
    "uuid": "aaaa", "partuuid": "12345678-01", "mount_point": "/"}]}"#;
const EFI: &str = r#"{"boot": "efi", "boot_disk": "/dev/vda", "volumes": [
    {"device": "/dev/vda2", "kind": "ext4", "uuid": "aaaa", "mount_point": "/"},
    {"device": "/dev/vda1", "kind": "vfat", "uuid": "AAAA-BBBB", "mount_point": "/boot/efi"}]}"#;

fn planned(machine_text: &str, files: &[&str]) -> (Vec<String>, Vec<String>) {
    let files: Vec<_> = files.iter().map(|path| (*path, "menuentry\n")).collect();
    let test = TestRoot::new(&files);
    let mut draft = test.draft();
    run(&machine(machine_text), &mut draft).unwrap();
    let steps = draft.take_steps();
    let commands = steps.iter().map(|step| step.argv.join(" ")).collect();
    (commands, draft.take_obstacles())
}

/// The machine, its programs, more files, the commands.
type Case = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

const DEBIAN: &[&str] = &[
    "usr/sbin/grub-install",
    "usr/sbin/grub-mkconfig",
    "usr/sbin/update-grub",
];

const RED_HAT: &[&str] = &["usr/sbin/grub2-install", "usr/sbin/grub2-mkconfig"];

const CASES: [Case; 7] = [
    (
        BIOS,
        DEBIAN,
        &["usr/lib/grub/i386-pc/x.mod"],
        &[
            "/usr/sbin/grub-install --recheck /dev/vda",
            "/usr/sbin/update-grub",
        ],
    ),
    (
        BIOS,
        RED_HAT,
        &["usr/lib/grub/i386-pc/x.mod"],
        &[
            "/usr/sbin/grub2-install --recheck /dev/vda",
            "/usr/sbin/grub2-mkconfig -o /boot/grub2/grub.cfg",
        ],
    ),
    (
        BIOS,
        &["usr/sbin/grub2-install"],
        &["usr/share/grub2/i386-pc/x.mod"],
        &["/usr/sbin/grub2-install --recheck /dev/vda"],
    ),
    (
        BIOS,
        &["sbin/grub-install"],
        &["boot/grub/menu.lst"],
        &["/sbin/grub-install /dev/vda"],
    ),
    (
        EFI,
        DEBIAN,
        &["usr/lib/grub/x86_64-efi/x.mod"],
        &[
            "/usr/sbin/grub-install --target=x86_64-efi --efi-directory=/boot/efi --removable --no-nvram --recheck",
            "/usr/sbin/update-grub",
        ],
    ),
    (
        EFI,
        RED_HAT,
        &[
            "boot/efi/EFI/BOOT/BOOTX64.EFI",
            "boot/efi/EFI/centos/grub.cfg",
        ],
        &["/usr/sbin/grub2-mkconfig -o /boot/efi/EFI/centos/grub.cfg"],
    ),
    (
        BIOS,
        &["usr/bin/extlinux"],
        &[
            "boot/extlinux/extlinux.conf",
            "usr/lib/syslinux/mbr/mbr.bin",
        ],
        &[
            "/usr/bin/extlinux --install /boot/extlinux",
            "dd if=/usr/lib/syslinux/mbr/mbr.bin of=/dev/vda bs=440 count=1 conv=notrunc",
        ],
    ),
];

#[test]
fn each_distributions_tools() {
    for (machine, programs, files, expected) in CASES {
        let (steps, obstacles) = planned(machine, &[programs, files].concat());
        assert_eq!(steps, expected);
        assert!(obstacles.is_empty());
    }
}

#[test]
fn none_that_fits_is_an_obstacle() {
    for (machine, files) in [
        (
            BIOS,
            &[
                "usr/sbin/grub-install",
                "usr/sbin/grub-mkconfig",
                "usr/lib/grub/x86_64-efi/x",
            ][..],
        ),
        (BIOS, &[]),
        (EFI, &["usr/sbin/grub-install", "usr/lib/grub/i386-pc/x"]),
    ] {
        let (steps, obstacles) = planned(machine, files);
        assert!(steps.is_empty());
        assert!(obstacles[0].contains("no boot loader"), "{obstacles:?}");
    }
}

#[test]
fn the_device_map_and_the_check_of_the_menu() {
    let test = TestRoot::new(&[
        ("usr/sbin/grub-install", ""),
        ("usr/sbin/grub-mkconfig", ""),
        ("usr/lib/grub/i386-pc/x", ""),
        (
            "boot/grub/device.map",
            "# map\n(hd0)\t/dev/disk/by-id/ata-X\n(hd1) /dev/sdb\n",
        ),
        ("boot/grub/grub.cfg", "linux /vmlinuz root=UUID=dead ro\n"),
    ]);
    let mut draft = test.draft();
    run(&machine(BIOS), &mut draft).unwrap();
    let map = draft.text("boot/grub/device.map").unwrap().unwrap();
    assert_eq!(map, "# map\n(hd0) /dev/vda\n");
    let steps = draft.take_steps();
    let check = steps[1].check.as_ref().unwrap();
    assert!(check(&test.root).is_err());
    test.root
        .write(
            "boot/grub/grub.cfg",
            "linux /vmlinuz root=UUID=aaaa ro\n",
            0o644,
        )
        .unwrap();
    assert_eq!(check(&test.root).unwrap(), "the menu starts root=UUID=aaaa");
}
