//! `create` where what it works with misbehaves: hooks that leave things
//! behind, full filesystems below the disk or the log, disks of large sectors.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::MsFlags;
use p2v_sys::{Cmd, Mount};
use p2v_tests::ganeti_env::Instance;
use p2v_tests::image;
use p2v_tests::{GIB, Lab, need_root};

const NAME: &str = "hindered.example.org";

fn ready(test: &str) -> (Lab, PathBuf, Instance) {
    let lab = Lab::new(test).unwrap();
    let disk = lab.disk("disk.img", GIB).unwrap();
    let instance = Instance::new(NAME, &disk);
    (lab, disk, instance)
}

#[test]
fn mounts_that_a_hook_leaves_are_dropped() {
    need_root!();
    let (lab, disk, instance) = ready("hook-mounts");
    let script = "#!/bin/sh\nset -e\nmount -t proc proc \"$TARGET/proc\"\n\
                  mount --bind /dev \"$TARGET/dev\"\n";
    lab.hook("25-mount", script).unwrap();
    let outcome = lab.create(&instance).unwrap();
    outcome.assert_success();
    let warned = outcome.log.matches("a hook left something mounted").count();
    assert_eq!(warned, 2, "{}", outcome.log);
    assert!(image::has_boot_code(&disk).unwrap());
    lab.assert_nothing_left();
}

#[test]
fn a_failing_hooks_daemon_holds_up_nothing() {
    need_root!();
    let (lab, disk, instance) = ready("hook-daemon");
    let script = "#!/bin/sh\ncd \"$TARGET\"\nsetsid sleep 3000 &\nexit 3\n";
    lab.hook("25-daemon", script).unwrap();
    let outcome = lab.create(&instance).unwrap();
    outcome.assert_refused(&["25-daemon", "3"]);
    assert!(!outcome.log.contains("unmounting"), "{}", outcome.log);
    assert!(image::edges_are_blank(&disk).unwrap());
    lab.assert_nothing_left();
}

/// A filesystem of `size` with a sparse image of 1 GiB on it.
fn crowded(lab: &Lab, size: &str) -> (Mount, PathBuf) {
    let point = lab.dir().join("crowded");
    std::fs::create_dir_all(&point).unwrap();
    let options = format!("mode=700,size={size}");
    let mount = Mount::new("tmpfs", &point, "tmpfs", MsFlags::empty(), &options).unwrap();
    let disk = point.join("disk.img");
    File::create(&disk).unwrap().set_len(GIB).unwrap();
    (mount, disk)
}

#[test]
fn a_filesystem_without_room_for_the_disks_file() {
    need_root!();
    let lab = Lab::new("no-room").unwrap();
    let (mount, disk) = crowded(&lab, "20m");
    let outcome = lab.create(&Instance::new(NAME, &disk)).unwrap();
    outcome.assert_refused(&["checking the space", "20 MiB", "nothing was written"]);
    assert!(image::edges_are_blank(&disk).unwrap());
    mount.close().unwrap();
    lab.assert_nothing_left();
}

/// What cannot be written is only told to whoever asks: create once called
/// such disks ready.
#[test]
fn a_filesystem_that_fills_up_below_the_disks_file() {
    need_root!();
    for filesystem in ["ext4", "xfs", "btrfs"] {
        let lab = Lab::new("fills-up").unwrap();
        let (mount, disk) = crowded(&lab, "250m");
        let script = format!(
            "#!/bin/sh\nhead -c 100M /dev/zero >'{}'/ballast || true\n",
            mount.target().display()
        );
        lab.hook("01-fill", &script).unwrap();
        let instance = Instance::new(NAME, &disk).parameter("filesystem", filesystem);
        let outcome = lab.create(&instance).unwrap();
        outcome.assert_refused(&["unbootable"]);
        assert!(!image::has_boot_code(&disk).unwrap());
        mount.close().unwrap();
        lab.assert_nothing_left();
    }
}

#[test]
fn a_log_that_cannot_be_written_fails_no_create() {
    need_root!();
    let (lab, disk, instance) = ready("full-log");
    let status = Command::new(lab.os_dir().join("create"))
        .env_clear()
        .envs(instance.environment())
        .envs(lab.directories())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::options().write(true).open("/dev/full").unwrap())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    assert!(image::has_boot_code(&disk).unwrap());
    lab.assert_nothing_left();
}

/// A block device with sectors of 4 KiB.
fn large_sectors(disk: &Path) -> PathBuf {
    let attach = Cmd::new("losetup", "attaching a disk of 4 KiB sectors")
        .args(["--find", "--show", "--sector-size", "4096"])
        .arg(disk);
    PathBuf::from(attach.read().unwrap())
}

#[test]
fn a_disk_of_large_sectors() {
    need_root!();
    let (lab, disk, _) = ready("large-sectors");
    let device = large_sectors(&disk);
    for style in ["msdos", "gpt"] {
        let instance = Instance::new(NAME, &device).parameter("partition_style", style);
        let outcome = lab.create(&instance).unwrap();
        outcome.assert_refused(&["4096", "PARTITION_STYLE=none"]);
        assert!(image::edges_are_blank(&disk).unwrap());
    }
    let point = lab.dir().join("point");
    std::fs::create_dir(&point).unwrap();
    for filesystem in ["ext4", "xfs", "btrfs"] {
        let instance = Instance::new(NAME, &device)
            .parameter("partition_style", "none")
            .parameter("filesystem", filesystem);
        lab.create(&instance).unwrap().assert_success();
        let mount = Mount::new(&device, &point, filesystem, MsFlags::MS_RDONLY, "").unwrap();
        assert!(point.join("etc/fstab").metadata().unwrap().len() > 0);
        mount.close().unwrap();
    }
    let detach = Cmd::new("losetup", "detaching it").arg("--detach");
    detach.arg(&device).run().unwrap();
    lab.assert_nothing_left();
}
