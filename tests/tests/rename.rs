//! `rename` on disks of every layout, as Ganeti calls it: what must change
//! changes, and nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_tests::guest::{self, assert_root, edit, extent, format, make_root, partition};
use p2v_tests::{Created, GIB, Instance, Lab, MIB, image, need_root};

const OLD: &str = "old.example.com";
const NEW: &str = "new.example.org";

/// A lab with a new disk image, and the renamed instance that has it.
fn ready(test: &str, size: u64) -> (Lab, PathBuf, Instance) {
    let lab = Lab::new(test).unwrap();
    let disk = lab.disk("disk.img", size).unwrap();
    let instance = Instance::new(NEW, &disk);
    (lab, disk, instance)
}

/// A whole disk with an ext4 and a root in it.
fn ready_with_root(test: &str, hostname: &str) -> (Lab, PathBuf, Instance) {
    let (lab, disk, instance) = ready(test, 64 * MIB);
    format(&disk, Extent::default(), "mkfs.ext4", &["-q"]).unwrap();
    let root = |top: &Path| make_root(top, OLD, hostname);
    edit(&disk, Extent::default(), ("ext4", ""), root).unwrap();
    (lab, disk, instance)
}

/// Renames twice. The second time nothing is left to do, and nothing written.
#[track_caller]
fn rename_twice(lab: &Lab, instance: &Instance, disk: &Path, words: &str) {
    let outcome = lab.rename(instance, OLD).unwrap();
    outcome.assert_success();
    assert!(outcome.log.contains(words), "{words}: {}", outcome.log);
    lab.assert_nothing_left();
    let before = image::hash(disk).unwrap();
    let outcome = lab.rename(instance, OLD).unwrap();
    assert!(
        outcome.assert_success().log.contains("nothing to change"),
        "{}",
        outcome.log
    );
    assert_eq!(image::hash(disk).unwrap(), before, "written without need");
    lab.assert_nothing_left();
}

#[test]
fn a_root_behind_boot_home_and_swap_in_logical_partitions() {
    need_root!();
    let (lab, disk, instance) = ready("logical", 256 * MIB);
    let table = "label: dos\nsize=32M, type=83, bootable\ntype=5\n\
        size=16M, type=82\nsize=64M, type=83\nsize=96M, type=83\n";
    partition(&disk, table).unwrap();
    let at = |number| extent(&disk, number).unwrap();
    format(&disk, at(1), "mkfs.ext2", &["-q"]).unwrap();
    format(&disk, at(3), "mkswap", &[]).unwrap();
    format(&disk, at(4), "mkfs.ext4", &["-q"]).unwrap();
    format(&disk, at(5), "mkfs.ext4", &["-q"]).unwrap();
    let home = |top: &Path| std::fs::write(top.join("hostname"), OLD).unwrap();
    edit(&disk, at(4), ("ext4", ""), home).unwrap();
    let root = |top: &Path| make_root(top, OLD, "old");
    edit(&disk, at(5), ("ext4", ""), root).unwrap();
    rename_twice(&lab, &instance, &disk, "partition 5");
    edit(&disk, at(5), ("ext4", ""), |top| {
        assert_root(top, NEW, "new")
    })
    .unwrap();
    let home = |top: &Path| std::fs::read_to_string(top.join("hostname")).unwrap();
    assert_eq!(edit(&disk, at(4), ("ext4", ""), home).unwrap(), OLD);
}

#[test]
fn a_root_of_xfs_in_a_gpt() {
    need_root!();
    let (lab, disk, instance) = ready("xfs", 512 * MIB);
    partition(
        &disk,
        "label: gpt\nsize=64M, type=uefi\nsize=32M\nsize=350M\n",
    )
    .unwrap();
    let at = |number| extent(&disk, number).unwrap();
    format(&disk, at(1), "mkfs.vfat", &[]).unwrap();
    format(&disk, at(2), "mkfs.ext3", &["-q"]).unwrap();
    format(&disk, at(3), "mkfs.xfs", &["-q"]).unwrap();
    edit(&disk, at(3), ("xfs", ""), |top| make_root(top, OLD, OLD)).unwrap();
    rename_twice(&lab, &instance, &disk, "partition 3");
    edit(&disk, at(3), ("xfs", ""), |top| assert_root(top, NEW, NEW)).unwrap();
}

#[test]
fn whole_disks_and_a_root_on_the_second_disk() {
    need_root!();
    for kind in ["ext2", "ext3"] {
        let (lab, data, mut instance) = ready(kind, 64 * MIB);
        format(&data, Extent::default(), "mkfs.ext4", &["-q"]).unwrap();
        let disk = lab.disk("second.img", 64 * MIB).unwrap();
        instance.disks.push(disk.clone());
        format(&disk, Extent::default(), &format!("mkfs.{kind}"), &["-q"]).unwrap();
        let root = |top: &Path| make_root(top, OLD, OLD);
        edit(&disk, Extent::default(), (kind, ""), root).unwrap();
        let before = image::hash(&data).unwrap();
        rename_twice(&lab, &instance, &disk, "second.img");
        assert_eq!(image::hash(&data).unwrap(), before);
        let check = |top: &Path| assert_root(top, NEW, NEW);
        edit(&disk, Extent::default(), (kind, ""), check).unwrap();
    }
}

#[test]
fn roots_in_subvolumes_of_btrfs() {
    need_root!();
    for (subvolume, is_default) in [
        ("@", false),
        ("@rootfs", false),
        ("root", false),
        ("any", true),
    ] {
        let (lab, disk, instance) = ready("btrfs", 256 * MIB);
        format(&disk, Extent::default(), "mkfs.btrfs", &["-q"]).unwrap();
        let make = |top: &Path| {
            let place = top.join(subvolume);
            btrfs(&["subvolume", "create"], &top.join("@home"));
            btrfs(&["subvolume", "create"], &place);
            make_root(&place, OLD, "old");
            if is_default {
                btrfs(&["subvolume", "set-default"], &place);
            }
        };
        edit(&disk, Extent::default(), ("btrfs", ""), make).unwrap();
        rename_twice(&lab, &instance, &disk, "changed on");
        let check = |top: &Path| assert_root(top, NEW, "new");
        let options = format!("subvol={subvolume}");
        edit(&disk, Extent::default(), ("btrfs", &options), check).unwrap();
    }
}

fn btrfs(words: &[&str], path: &Path) {
    let command = p2v_sys::Cmd::new("btrfs", "making a subvolume").args(words);
    command.arg(path).run().unwrap();
}

#[test]
fn of_two_roots_the_one_that_its_fstab_mounts() {
    need_root!();
    let (lab, disk, instance) = ready("two-roots", 160 * MIB);
    partition(&disk, "label: gpt\nsize=64M\nsize=64M\n").unwrap();
    let uuid = "6f4a1f6e-3a10-4f5c-8a3a-0c3f5d0b6a11";
    let at = |number| extent(&disk, number).unwrap();
    format(&disk, at(1), "mkfs.ext4", &["-q"]).unwrap();
    format(&disk, at(2), "mkfs.ext4", &["-q", "-U", uuid]).unwrap();
    edit(&disk, at(1), ("ext4", ""), |top| make_root(top, OLD, OLD)).unwrap();
    let second = |top: &Path| {
        make_root(top, OLD, OLD);
        std::fs::remove_file(top.join("etc/os-release")).unwrap();
        std::fs::write(top.join("etc/fstab"), format!("UUID={uuid} / ext4\n")).unwrap();
    };
    edit(&disk, at(2), ("ext4", ""), second).unwrap();
    let outcome = lab.rename(&instance, OLD).unwrap();
    outcome.assert_success();
    for words in ["found 2 roots", "fstab", "changed on partition 2"] {
        assert!(outcome.log.contains(words), "{}", outcome.log);
    }
    edit(&disk, at(1), ("ext4", ""), |top| assert_root(top, OLD, OLD)).unwrap();
    edit(&disk, at(2), ("ext4", ""), |top| assert_root(top, NEW, NEW)).unwrap();
}

#[test]
fn a_name_of_its_own_stays_unless_the_policy_says_otherwise() {
    need_root!();
    let (lab, disk, instance) = ready_with_root("own-name", "db7.lab");
    let before = image::hash(&disk).unwrap();
    let outcome = lab.rename(&instance, OLD).unwrap();
    let words = "name of its own, `db7.lab`: left alone";
    assert!(
        outcome.assert_success().log.contains(words),
        "{}",
        outcome.log
    );
    assert_eq!(image::hash(&disk).unwrap(), before, "it was written");
    // A setting that create would refuse keeps nothing from its name.
    let wrong = instance.clone().parameter("suite", "/");
    let outcome = lab.rename(&wrong, OLD).unwrap();
    assert!(
        outcome.assert_success().log.contains(words),
        "{}",
        outcome.log
    );
    let instance = instance.parameter("hostname_policy", "instance");
    rename_twice(
        &lab,
        &instance,
        &disk,
        "/etc/hostname, /etc/mailname, /etc/hosts",
    );
    let check = |top: &Path| assert_root(top, NEW, NEW);
    edit(&disk, Extent::default(), ("ext4", ""), check).unwrap();
}

#[test]
fn nothing_to_rename() {
    need_root!();
    let (lab, disk, mut instance) = ready("nothing", 64 * MIB);
    let says = |instance: &Instance, old: &str, words: &str| {
        let outcome = lab.rename(instance, old).unwrap();
        let log = &outcome.assert_success().log;
        assert!(log.contains(words), "{log}");
    };
    says(&instance, OLD, "the disks hold no system");
    says(&instance, NEW, "keeps its name");
    format(&disk, Extent::default(), "mkfs.ext4", &["-q"]).unwrap();
    says(&instance, OLD, "the disks hold no system");
    instance.disks.clear();
    says(&instance, OLD, "has no disk");
    lab.assert_nothing_left();
}

#[test]
fn what_is_not_looked_into_is_named() {
    need_root!();
    let (lab, disk, instance) = ready("closed", 160 * MIB);
    partition(&disk, "label: gpt\nsize=64M\nsize=64M\n").unwrap();
    let at = |number| extent(&disk, number).unwrap();
    write_at(&disk, at(2).offset, b"LUKS\xba\xbe\0\x01");
    format(&disk, at(1), "mkfs.ext4", &["-q"]).unwrap();
    let before = image::hash(&disk).unwrap();
    let outcome = lab.rename(&instance, OLD).unwrap();
    outcome.assert_refused(&[
        "partition 2",
        "LUKS",
        "nothing was changed",
        "inside the instance",
    ]);
    write_at(&disk, at(2).offset, &[0; 8]);
    let lvm = p2v_testing::signature::lvm_label();
    write_at(&disk, at(2).offset + 512, &lvm);
    let outcome = lab.rename(&instance, OLD).unwrap();
    outcome.assert_refused(&["partition 2", "a physical volume of LVM"]);
    write_at(&disk, at(2).offset + 512, &[0; 512]);
    write_at(&disk, at(2).offset, b"LUKS\xba\xbe\0\x01");
    assert_eq!(image::hash(&disk).unwrap(), before, "it was written");
    // Beside a root it does not matter.
    edit(&disk, at(1), ("ext4", ""), |top| make_root(top, OLD, OLD)).unwrap();
    rename_twice(&lab, &instance, &disk, "partition 1");
}

fn write_at(disk: &Path, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(disk).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

#[test]
fn a_disk_in_use() {
    need_root!();
    let (lab, disk, instance) = ready_with_root("in-use", OLD);
    let device = LoopDevice::attach(&disk, Extent::default(), true).unwrap();
    let outcome = lab.rename(&instance, OLD).unwrap();
    outcome.assert_refused(&["in use", "nothing was changed; stop the instance"]);
    device.close().unwrap();
    lab.assert_nothing_left();
}

#[test]
fn killed_at_many_points() {
    need_root!();
    let (lab, disk, instance) = ready_with_root("killed", OLD);
    let whole = lab.rename(&instance, OLD).unwrap().assert_success().took;
    let (mut instance, mut old) = (instance, NEW.to_owned());
    for point in 1..=12_u32 {
        instance.name = format!("name{point}.example.net");
        let running = lab.start_rename(&instance, &old).unwrap();
        std::thread::sleep(whole * point / 13);
        let _ = running.signal(Signal::SIGKILL);
        running.finish(Duration::from_secs(20)).unwrap();
        lab.assert_nothing_left();
        lab.rename(&instance, &old).unwrap().assert_success();
        lab.assert_nothing_left();
        old.clone_from(&instance.name);
    }
    let names = |top: &Path| {
        let text = std::fs::read(top.join("etc/hosts")).unwrap();
        assert_eq!(text, guest::hosts("name12.example.net", "name12"));
    };
    edit(&disk, Extent::default(), ("ext4", ""), names).unwrap();
}

#[test]
fn a_created_disk_and_what_the_node_remembers_of_it() {
    need_root!();
    let lab = Lab::new("renamed").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let created = Created::make(&lab, &Instance::new(OLD, &disk)).unwrap();
    rename_twice(
        &lab,
        &Instance::new(NEW, &disk),
        &disk,
        "host keys are now kept in",
    );
    let root = created.mount(&lab).unwrap();
    let read = |name| std::fs::read_to_string(root.path().join(name)).unwrap();
    assert_eq!(read("etc/hostname"), format!("{NEW}\n"));
    assert_eq!(read("etc/mailname"), format!("{NEW}\n"));
    assert!(read("etc/hosts").contains("\tnew.example.org new\n"));
    assert!(!read("etc/hosts").contains("old"));
    root.close().unwrap();
    assert!(!lab.state_of(OLD).exists());
    let text = std::fs::read_to_string(lab.state_of(NEW)).unwrap();
    let state: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(state["instance"], NEW);
    let keys = created.host_keys();
    assert!(!keys.is_empty() && keys.iter().all(|(print, _)| text.contains(print)));
}
