//! Which filesystem is the root, and what is mounted where.

use std::path::Path;

use super::image::*;
use p2v_sys::Cmd;

/// The kernel, and mkfs, know every btrfs by its UUID: tests run side by side.
const SUBVOLUMES: &str = "11111111-2222-3333-4444-555555555501";
const DEFAULT: &str = "11111111-2222-3333-4444-555555555502";

fn subvolume(path: &Path) {
    let make = Cmd::new("btrfs", "making a subvolume").args(["-q", "subvolume", "create"]);
    make.arg(path).run().unwrap();
}

#[test]
fn subvolumes_of_a_btrfs() {
    p2v_testing::need_private_mounts!();
    let image = Image::partitioned(400, "label: gpt\nsize=50M\nsize=300M\n");
    image.make(1, "mkfs.ext2", &["-q", "-L", "boot"]).make(
        2,
        "mkfs.btrfs",
        &["-q", "-U", SUBVOLUMES],
    );
    let fstab = format!(
        "UUID={SUBVOLUMES} / btrfs noatime,subvol=@rootfs,compress=zstd 0 0\n\
         UUID={SUBVOLUMES} /home btrfs subvol=/@home\n\
         UUID={SUBVOLUMES} /srv btrfs subvolid=258\n\
         UUID={SUBVOLUMES} /mnt/top btrfs noauto,subvol=/\n\
         LABEL=boot /boot auto\n"
    );
    image.fill(2, "btrfs", "", |top| {
        for name in ["@rootfs", "@home", "@srv", "@old"] {
            subvolume(&top.join(name));
        }
        system(&top.join("@rootfs"), &fstab);
        // A copy of it that a person made before an upgrade.
        system(&top.join("@old"), &fstab);
        std::fs::remove_file(top.join("@rootfs/boot/vmlinuz-6.1.0-18-amd64")).unwrap();
    });
    image.fill(1, "ext2", "", |boot| {
        std::fs::write(boot.join("vmlinuz-5.10.0-9-amd64"), "").unwrap();
        std::fs::write(boot.join("vmlinuz-6.1.0-18-amd64"), "").unwrap();
        std::fs::create_dir(boot.join("extlinux")).unwrap();
        std::fs::write(boot.join("extlinux/extlinux.conf"), "").unwrap();
    });
    let source = image.inspected();
    assert_eq!(source.obstacles, [""; 0]);
    assert_told(&source.remarks, "(subvolume @rootfs) is taken");
    let expected = ["/:@rootfs", "/srv:@srv", "/home:@home", "/mnt/top"];
    assert_eq!(mounts(area(&source, 2)), expected);
    assert_eq!(mounts(area(&source, 1)), ["/boot"]);
    // Found on the other filesystem, where the system has it.
    let versions: Vec<&str> = source
        .system
        .kernels
        .iter()
        .map(|it| it.version.as_str())
        .collect();
    assert_eq!(versions, ["5.10.0-9-amd64", "6.1.0-18-amd64"]);
    assert!(source.system.kernels[1].modules && !source.system.kernels[0].modules);
    assert_eq!(source.system.boot_loaders, ["extlinux"]);
}

#[test]
fn the_default_subvolume_that_fstab_does_not_name() {
    p2v_testing::need_private_mounts!();
    let image = Image::new(200);
    image.make(0, "mkfs.btrfs", &["-q", "-U", DEFAULT]);
    image.fill(0, "btrfs", "", |top| {
        subvolume(&top.join("@"));
        std::fs::create_dir(top.join("@/snapshots")).unwrap();
        let root = top.join("@/snapshots/1");
        subvolume(&root);
        system(&root, &format!("UUID={DEFAULT} / btrfs\n"));
        let set = Cmd::new("btrfs", "choosing it").args(["subvolume", "set-default"]);
        set.arg(&root).run().unwrap();
    });
    let source = image.inspected();
    assert_eq!(source.obstacles, [""; 0]);
    assert_eq!(mounts(area(&source, 0)), ["/:@/snapshots/1"]);
    assert_eq!(source.system.hostname.as_deref(), Some("oldbox"));
}

#[test]
fn a_usr_of_its_own() {
    p2v_testing::need_private_mounts!();
    let image = Image::partitioned(200, "label: dos\nsize=60M\nsize=60M\nsize=60M\n");
    for number in [1, 2, 3] {
        let label = format!("fs{number}");
        image.make(number, "mkfs.ext4", &["-q", "-L", &label]);
    }
    // With the links of a merged /usr, which lead nowhere on the root itself.
    image.fill(1, "ext4", "", |root| {
        for directory in ["etc", "usr", "var", "boot"] {
            std::fs::create_dir(root.join(directory)).unwrap();
        }
        for name in ["sbin", "lib", "bin"] {
            link(&format!("usr/{name}"), &root.join(name));
        }
        link("../usr/lib/os-release", &root.join("etc/os-release"));
        let fstab = "LABEL=fs1 / ext4\nLABEL=fs2 /usr ext4\nLABEL=fs3 /var ext4\n";
        std::fs::write(root.join("etc/fstab"), fstab).unwrap();
        std::fs::write(root.join("boot/vmlinuz-6.1.0-1-amd64"), "").unwrap();
    });
    image.fill(2, "ext4", "", |usr| {
        for directory in ["sbin", "lib/systemd", "lib/modules/6.1.0-1-amd64", "bin"] {
            std::fs::create_dir_all(usr.join(directory)).unwrap();
        }
        std::fs::write(usr.join("lib/os-release"), "ID=debian\nNAME=Debian\n").unwrap();
        std::fs::write(usr.join("lib/systemd/systemd"), "").unwrap();
        link("../lib/systemd/systemd", &usr.join("sbin/init"));
    });
    let source = image.inspected();
    assert_eq!(source.obstacles, [""; 0]);
    assert_eq!(mounts(area(&source, 1)), ["/"]);
    assert_eq!(mounts(area(&source, 2)), ["/usr"]);
    assert_eq!(mounts(area(&source, 3)), ["/var"]);
    assert_eq!(source.system.distribution.as_deref(), Some("debian"));
    assert_eq!(source.system.init.as_deref(), Some("systemd"));
    assert!(source.system.kernels[0].modules);
}

#[test]
fn old_kernels_names_are_believed_where_they_fit_one_disk() {
    p2v_testing::need_private_mounts!();
    let table = "label: dos\nsize=60M\nsize=20M\n";
    let disks = [
        Image::partitioned(100, table),
        Image::partitioned(100, table),
    ];
    let [data, root] = &disks;
    for disk in &disks {
        disk.make(1, "mkfs.ext4", &["-q"])
            .make(2, "mkswap", &["-q"]);
    }
    let fstab = "/dev/hda1 / ext3\n/dev/hda2 none swap\n/dev/hdb1 /data ext3\n\
        /dev/hdb2 none swap\n/dev/hdc1 /lost ext3\n/dev/mapper/vg-x /var ext4\n";
    root.fill(1, "ext4", "", |root| system(root, fstab));
    let source = inspected(&[&data.path, &root.path]);
    // The root's comes first.
    assert_eq!(source.disks[0].path, root.path);
    assert_eq!(source.disks[0].names, ["/dev/hda"]);
    assert_eq!(mounts(area(&source, 1)), ["/"]);
    assert!(has_name(area(&source, 2), "/dev/hda2"));
    assert_eq!(source.disks[1].names, ["/dev/hdb"]);
    assert_eq!(mounts(area_of(&source.disks[1], 1)), ["/data"]);
    assert_told(&source.remarks, "/dev/hdc1 on /lost");
    assert_told(&source.obstacles, "/dev/mapper/vg-x on /var");

    // Alone, the root's disk is no other disk too.
    let source = inspected(&[&root.path]);
    assert_eq!(source.disks[0].names, ["/dev/hda"]);
    assert_eq!(mounts(area(&source, 1)), ["/"]);
    assert_told(&source.remarks, "/dev/hdb1 on /data");

    // Three of a kind: nobody can tell which of two is the one.
    let third = Image::partitioned(100, table);
    third
        .make(1, "mkfs.ext4", &["-q"])
        .make(2, "mkswap", &["-q"]);
    let source = inspected(&[&data.path, &root.path, &third.path]);
    assert_told(&source.remarks, "may be any of 2 disks");
    assert!(source.disks[1].names.is_empty());
}

#[test]
fn udevs_names_are_believed_where_they_fit() {
    p2v_testing::need_private_mounts!();
    let image = Image::partitioned(100, "label: dos\nsize=60M\nsize=20M\n");
    image
        .make(1, "mkfs.ext4", &["-q"])
        .make(2, "mkswap", &["-q"]);
    let fstab = "/dev/sda1 / ext4\n\
        /dev/disk/by-id/ata-X-part2 none swap\n\
        /dev/disk/by-path/pci-1-part2 none swap\n\
        /dev/disk/by-id/usb-Y-part1 /backup ext4 nofail\n";
    image.fill(1, "ext4", "", |root| system(root, fstab));
    let source = image.inspected();
    assert_eq!(source.obstacles, [""; 0]);
    assert_eq!(mounts(area(&source, 1)), ["/"]);
    for (number, name, known) in [
        (1, "/dev/sda1", true),
        (2, "/dev/sda2", true),
        (2, "/dev/disk/by-id/ata-X-part2", true),
        (1, "/dev/disk/by-path/pci-1-part1", true),
        (1, "/dev/disk/by-id/usb-Y-part1", false),
    ] {
        assert_eq!(has_name(area(&source, number), name), known, "{name}");
    }
    assert_told(&source.remarks, "usb-Y-part1 on /backup, which none");
}

#[test]
fn one_name_for_two_partitions_is_an_obstacle() {
    p2v_testing::need_private_mounts!();
    let image = Image::partitioned(200, "label: dos\nsize=60M\nsize=60M\nsize=60M\n");
    image
        .make(1, "mkfs.ext4", &["-q", "-U", UUID])
        .make(2, "mkfs.ext4", &["-q", "-L", "data"])
        .make(3, "mkfs.ext4", &["-q", "-L", "data"]);
    let fstab = format!("UUID={UUID} / ext4\nLABEL=data /data ext4\n");
    image.fill(1, "ext4", "", |root| system(root, &fstab));
    let source = image.inspected();
    assert_told(
        &source.obstacles,
        "LABEL=data in the system's fstab names more than one",
    );
}
