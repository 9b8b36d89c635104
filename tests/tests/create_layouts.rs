//! Every partition style with every filesystem, on files and on a block device,
//! looked at without booting.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use p2v_sys::Cmd;
use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_tests::{Created, GIB, Instance, Lab, MIB, image, need_root};

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
