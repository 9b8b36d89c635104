//! Every partition style with every filesystem, looked at without booting; and
//! what `create` makes of the less usual environments.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use p2v_sys::Cmd;
use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_tests::ganeti_env::Nic;
use p2v_tests::image;
use p2v_tests::{Created, GIB, Instance, Lab, MIB, need_root};

const STYLES: &[&str] = &["none", "msdos", "gpt"];

/// GPT types of the partitions: BIOS boot, EFI system, Linux filesystem.
const GPT_TYPES: &[&str] = &[
    "21686148-6449-6E6F-744E-656564454649",
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
];

#[test]
fn ext2() {
    need_root!();
    every_style("ext2");
}

#[test]
fn ext3() {
    need_root!();
    every_style("ext3");
}

#[test]
fn ext4() {
    need_root!();
    every_style("ext4");
}

#[test]
fn xfs() {
    need_root!();
    every_style("xfs");
}

#[test]
fn btrfs() {
    need_root!();
    every_style("btrfs");
}

/// On a disk just as large as `create` says is needed.
fn every_style(filesystem: &str) {
    let supported = std::fs::read_to_string("/proc/filesystems").unwrap();
    if !supported.split_whitespace().any(|word| word == filesystem) {
        p2v_tests::skip(&format!("this kernel has no {filesystem}"));
        return;
    }
    for style in STYLES {
        let lab = Lab::new(&format!("{style}-{filesystem}")).unwrap();
        let name = format!("{style}-{filesystem}.example.org");
        let instance = |disk: &Path| {
            Instance::new(&name, disk)
                .parameter("partition_style", style)
                .parameter("filesystem", filesystem)
        };
        let small = lab.disk("small.img", 100 * MIB).unwrap();
        let needed = size_needed(&lab, &instance(&small));
        let disk = lab.disk("disk.img", needed).unwrap();
        let created = Created::make(&lab, &instance(&disk)).unwrap();
        check_table(&created, style);
        check_filesystem(&created, style, filesystem);
        check_root(&lab, &created);
        lab.assert_nothing_left();
    }
}

/// What the refusal of a small disk names, in bytes.
fn size_needed(lab: &Lab, instance: &Instance) -> u64 {
    let outcome = lab.create(instance).unwrap();
    outcome.assert_refused(&["needs at least"]);
    let words: Vec<&str> = outcome.error_message().split_whitespace().collect();
    let least = words.iter().position(|word| *word == "least").unwrap();
    words[least + 1].parse::<u64>().unwrap() * MIB
}

fn check_table(created: &Created, style: &str) {
    let disk = &created.disk;
    assert_eq!(image::has_boot_code(disk).unwrap(), style != "none");
    if style == "none" {
        assert_eq!(image::label(disk), None);
        return;
    }
    let types: Vec<String> = image::partitions(disk)
        .unwrap()
        .into_iter()
        .inspect(|partition| assert_eq!(partition.extent.offset % MIB, 0))
        .map(|partition| partition.type_code)
        .collect();
    if style == "msdos" {
        assert_eq!(image::label(disk).as_deref(), Some("dos"));
        assert_eq!(types, ["83"]);
    } else {
        assert_eq!(image::label(disk).as_deref(), Some("gpt"));
        assert_eq!(types, GPT_TYPES);
        check_esp(disk);
    }
    Cmd::new("sfdisk", "verifying the partition table")
        .arg("--verify")
        .arg(disk)
        .run()
        .unwrap();
}

/// The removable-media path, read without the kernel's vfat.
fn check_esp(disk: &Path) {
    let esp = image::partitions(disk).unwrap()[1].extent;
    assert_eq!(image::probe(disk, esp).unwrap().kind, "vfat");
    let listing = Cmd::new("mdir", "listing the ESP")
        .args(["-b", "-i"])
        .arg(format!("{}@@{}", disk.display(), esp.offset))
        .arg("::/EFI/BOOT")
        .read()
        .unwrap();
    assert!(listing.to_uppercase().contains("BOOTX64.EFI"), "{listing}");
}

fn check_filesystem(created: &Created, style: &str, filesystem: &str) {
    assert_eq!(created.fact("partition_style").unwrap(), style);
    assert_eq!(created.fact("filesystem").unwrap(), filesystem);
    let found = image::probe(&created.disk, created.root_extent().unwrap()).unwrap();
    assert_eq!(found.kind, filesystem);
    assert_eq!(found.uuid, created.fact("root_uuid").unwrap());
    check_consistency(&created.disk, created.root_extent().unwrap(), filesystem);
}

/// The filesystem's own checker, which finds what an unmount forgot.
fn check_consistency(disk: &Path, extent: Extent, filesystem: &str) {
    let device = LoopDevice::attach(disk, extent, true).unwrap();
    let command = match filesystem {
        "xfs" => Cmd::new("xfs_repair", "checking xfs").arg("-n"),
        "btrfs" => Cmd::new("btrfs", "checking btrfs").args(["check", "--readonly"]),
        _ => Cmd::new("e2fsck", "checking ext").args(["-f", "-n"]),
    };
    command.arg(device.path()).run().unwrap();
    device.close().unwrap();
}

fn check_root(lab: &Lab, created: &Created) {
    let root = created.mount(lab).unwrap();
    let read = |path: &str| {
        std::fs::read_to_string(root.path().join(path))
            .unwrap_or_else(|error| panic!("reading {path}: {error}"))
    };
    assert!(!root.path().join(image::INCOMPLETE).exists());
    assert!(read("etc/hostname").starts_with(created.name.split('.').next().unwrap()));
    assert!(read("etc/hosts").contains(&created.name));
    assert_eq!(read("etc/machine-id").trim().len(), 32);
    assert!(read("root/.ssh/authorized_keys").contains(lab.key().public().trim()));
    let mounts: Vec<String> = read("etc/fstab")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(str::to_owned)
        .collect();
    for line in &mounts {
        let source = line.split_whitespace().next().unwrap();
        assert!(
            !source.starts_with("/dev/") && !source.contains('='),
            "the fstab names a disk: {line}"
        );
    }
    check_kernel(root.path(), created);
    check_host_keys(root.path(), created);
    assert!(root.path().join("usr/sbin/p2v").exists());
    root.close().unwrap();
}

fn check_kernel(root: &Path, created: &Created) {
    let version = created.fact("kernel").unwrap();
    for name in [
        format!("vmlinuz-{version}"),
        format!("ramboot-{version}.img"),
    ] {
        let size = std::fs::metadata(root.join("boot").join(&name))
            .unwrap()
            .len();
        assert!(size > MIB, "{name} has {size} bytes");
    }
}

fn check_host_keys(root: &Path, created: &Created) {
    let keys = created.host_keys();
    assert!(!keys.is_empty());
    let mut files = 0;
    for entry in std::fs::read_dir(root.join("etc/ssh")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.starts_with("ssh_host_") {
            continue;
        }
        let metadata = path.metadata().unwrap();
        assert_eq!(metadata.uid(), 0, "{name}");
        if name.ends_with(".pub") {
            let public = std::fs::read_to_string(&path).unwrap();
            assert!(
                keys.iter().any(|(_, key)| key.trim() == public.trim()),
                "{name}"
            );
            files += 1;
        } else {
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
    assert_eq!(files, keys.len());
    for (fingerprint, _) in &keys {
        assert!(
            created.log.contains(fingerprint),
            "not in the log: {fingerprint}"
        );
    }
}

#[test]
fn a_reinstall_wipes_what_was_there() {
    need_root!();
    let lab = Lab::new("reinstall").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let name = "again.example.org";
    let first = Instance::new(name, &disk)
        .parameter("partition_style", "gpt")
        .parameter("filesystem", "btrfs");
    let first = Created::make(&lab, &first).unwrap();
    let mut second = Instance::new(name, &disk)
        .parameter("partition_style", "none")
        .parameter("filesystem", "ext4");
    second.reinstall = true;
    let second = Created::make(&lab, &second).unwrap();
    assert_eq!(image::label(&disk), None);
    assert!(!image::has_boot_code(&disk).unwrap());
    let signatures = Cmd::new("wipefs", "listing signatures")
        .args(["--noheadings", "--output", "TYPE"])
        .arg(&disk)
        .read()
        .unwrap();
    assert_eq!(signatures, "ext4", "an old signature stayed");
    assert_ne!(
        first.fact("root_uuid").unwrap(),
        second.fact("root_uuid").unwrap()
    );
    assert_ne!(first.host_keys(), second.host_keys());
    lab.assert_nothing_left();
}

#[test]
fn a_block_device() {
    need_root!();
    let lab = Lab::new("block").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let device = LoopDevice::attach(&disk, Extent::default(), false).unwrap();
    let instance = Instance::new("block.example.org", device.path());
    assert_eq!(instance.environment()["DISK_0_BACKEND_TYPE"], "block");
    let created = Created::make(&lab, &instance).unwrap();
    check_table(&created, "msdos");
    device.close().unwrap();
    lab.assert_nothing_left();
}

#[test]
fn two_at_once_do_not_meet_and_one_disk_takes_one() {
    need_root!();
    let lab = Lab::new("two-at-once").unwrap();
    let (one, two) = ("one.example.org", "two.example.org");
    let first = Instance::new(one, &lab.disk("one.img", 2 * GIB).unwrap());
    let second = Instance::new(two, &lab.disk("two.img", 2 * GIB).unwrap());
    // It holds its disk until the hook lets it go on.
    let gate = lab.dir().join("gate");
    let script = format!(
        "#!/bin/sh\ncase $INSTANCE_NAME in one.*) ;; *) exit 0 ;; esac\n\
         while ! [ -e '{}' ]; do sleep 0.1; done\n",
        gate.display()
    );
    lab.hook("25-wait", &script).unwrap();
    let running = lab.start_create(&first).unwrap();
    let minute = std::time::Duration::from_secs(60);
    let start = std::time::Instant::now();
    while !running.log().contains("25-wait") {
        assert!(start.elapsed() < minute, "no hook ran:\n{}", running.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let refused = lab.create(&first).unwrap();
    refused.assert_refused(&["in use"]);
    let created = Created::make(&lab, &second).unwrap();
    std::fs::write(&gate, "").unwrap();
    running.finish(minute).unwrap().assert_success();
    check_filesystem(&created, "msdos", "ext4");
    check_root(&lab, &created);
    assert!(image::has_boot_code(&first.disks[0]).unwrap());
    lab.assert_nothing_left();
}

#[test]
fn older_interfaces() {
    need_root!();
    let lab = Lab::new("older").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    for api in [15, 10] {
        let mut instance = Instance::new("older.example.org", &disk);
        instance.api = api;
        Created::make(&lab, &instance).unwrap();
        assert!(image::has_boot_code(&disk).unwrap());
    }
}

#[test]
fn a_variant_and_a_parameter_go_over_the_configuration() {
    need_root!();
    let lab = Lab::new("layers").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    lab.configure("PARTITION_STYLE=none\nFILESYSTEM=ext2")
        .unwrap();
    lab.write_config(
        "variants/other.conf",
        "PARTITION_STYLE=msdos\nFILESYSTEM=ext3\n",
    )
    .unwrap();
    let mut instance = Instance::new("layers.example.org", &disk).parameter("filesystem", "xfs");
    instance.variant = Some("other".to_owned());
    let created = Created::make(&lab, &instance).unwrap();
    assert_eq!(created.fact("partition_style").unwrap(), "msdos");
    assert_eq!(created.fact("filesystem").unwrap(), "xfs");
}

#[test]
fn addresses_of_ganetis_networks_are_configured() {
    need_root!();
    let lab = Lab::new("network").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let mut instance = Instance::new("net.example.org", &disk);
    instance.nics = vec![
        Nic {
            ip: Some("192.0.2.7".to_owned()),
            network: Some(("192.0.2.0/24".to_owned(), "192.0.2.1".to_owned())),
            network6: Some(("2001:db8:1::/64".to_owned(), "2001:db8:1::1".to_owned())),
        },
        Nic::default(),
    ];
    let created = Created::make(&lab, &instance).unwrap();
    let root = created.mount(&lab).unwrap();
    let text = std::fs::read_to_string(root.path().join("etc/network/interfaces")).unwrap();
    root.close().unwrap();
    for words in [
        "192.0.2.7",
        "192.0.2.1",
        "2001:db8:1:",
        "inet6 static",
        "inet dhcp",
    ] {
        assert!(text.contains(words), "no {words} in:\n{text}");
    }
}

#[test]
fn an_operators_hook_gets_instance_debootstraps_variables() {
    need_root!();
    let lab = Lab::new("hook-variables").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let script = "#!/bin/sh\nset -eu\ntest -d \"$TARGET/etc\"\ntest -b \"$BLOCKDEV\"\n\
         test -b \"$FSYSDEV\"\nprintf '%s\\n' \"$SUITE\" \"$ARCH\" \"$PARTITION_STYLE\" \
         \"$EXTRA_PKGS\" \"$INSTANCE_NAME\" \"$NIC_0_MAC\" > \"$TARGET/etc/from-hook\"\n";
    lab.hook("95-report", script).unwrap();
    // A name that run-parts passes over.
    lab.hook("96-passed.over", "#!/bin/sh\nexit 1\n").unwrap();
    let instance = Instance::new("hooked.example.org", &disk);
    let created = Created::make(&lab, &instance).unwrap();
    let root = created.mount(&lab).unwrap();
    let text = std::fs::read_to_string(root.path().join("etc/from-hook")).unwrap();
    root.close().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mac = instance.environment()["NIC_0_MAC"].clone();
    assert_eq!(lines[0], "bookworm");
    assert_eq!(lines[2], "msdos");
    assert_eq!(lines[lines.len() - 2..], ["hooked.example.org", &mac]);
}

#[test]
fn a_key_may_come_as_a_parameter_alone() {
    need_root!();
    let lab = Lab::new("key-parameter").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    std::fs::remove_file(lab.config_dir().join("authorized_keys")).unwrap();
    let instance = Instance::new("key.example.org", &disk)
        .parameter("authorized_keys", lab.key().public().trim());
    let created = Created::make(&lab, &instance).unwrap();
    let root = created.mount(&lab).unwrap();
    let path = root.path().join("root/.ssh/authorized_keys");
    let text = std::fs::read_to_string(&path).unwrap();
    let mode = path.metadata().unwrap().permissions().mode();
    root.close().unwrap();
    assert!(text.contains(lab.key().public().trim()));
    assert_eq!(mode & 0o777, 0o600);
}
