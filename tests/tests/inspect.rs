//! `p2v inspect` as people and scripts call it: what is on standard output,
//! the exit status, and nothing changed or left behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::mount::MsFlags;
use p2v_sys::filesystem::Filesystem;
use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_sys::{Cmd, Mount};
use p2v_tests::{Lab, MIB, image, need_root, skip};

const UUID: &str = "11111111-2222-3333-4444-5555555555aa";

/// A disk with a root and a swap area.
fn machine(lab: &Lab) -> PathBuf {
    let disk = lab.disk("old.img", 120 * MIB).unwrap();
    let table = "label: gpt\nsize=80M, name=root\nsize=20M\n";
    let make = Cmd::new("sfdisk", "making a table").arg("--quiet");
    make.arg(&disk).stdin(table).run().unwrap();
    let parts = image::partitions(&disk).unwrap();
    let swap = LoopDevice::attach(&disk, parts[1].extent, false).unwrap();
    let make = Cmd::new("mkswap", "making a swap area").arg("--quiet");
    make.arg(swap.path()).run().unwrap();
    swap.close().unwrap();
    with_root(lab, &disk, parts[0].extent, true, |root| {
        std::fs::create_dir(root.join("etc")).unwrap();
        std::fs::create_dir(root.join("sbin")).unwrap();
        let fstab = format!("UUID={UUID} / ext4\n");
        std::fs::write(root.join("etc/fstab"), fstab).unwrap();
        let name = "ID=debian\nPRETTY_NAME=\"An old Debian\"\n";
        std::fs::write(root.join("etc/os-release"), name).unwrap();
    });
    disk
}

/// Does `work` in the mounted root, which is made first if that is wanted.
fn with_root(lab: &Lab, disk: &Path, extent: Extent, new: bool, work: impl FnOnce(&Path)) {
    let device = LoopDevice::attach(disk, extent, false).unwrap();
    if new {
        Filesystem::Ext4.create(device.path(), UUID).unwrap();
    }
    let target = lab.dir().join("mnt");
    let _ = std::fs::create_dir(&target);
    let mount = Mount::new(device.path(), &target, "ext4", MsFlags::empty(), "").unwrap();
    work(&target);
    mount.close().unwrap();
    device.close().unwrap();
}

fn inspect(lab: &Lab, args: &[&str], locale: &str) -> Output {
    Command::new(lab.binary())
        .arg("inspect")
        .args(args)
        .env("LC_ALL", locale)
        .output()
        .unwrap()
}

fn hash(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let file = std::fs::File::open(path).unwrap();
    hasher.update_reader(file).unwrap().finalize()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_table_or_json_and_nothing_else() {
    need_root!();
    let lab = Lab::new("inspect").unwrap();
    let disk = machine(&lab);
    let before = hash(&disk);
    let path = disk.to_str().unwrap();
    for (locale, block) in [("C.UTF-8", true), ("C", false)] {
        let output = inspect(&lab, &[path], locale);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(text(&output.stderr), "");
        assert!(shown.contains("An old Debian"), "{shown}");
        assert!(shown.contains("ext4"), "{shown}");
        assert_eq!(shown.contains('█'), block, "{shown}");
        assert_eq!(shown.is_ascii(), !block, "{shown}");
        let mut lines = shown.lines().filter(|line| !line.contains("old.img"));
        assert!(lines.all(|line| line.chars().count() <= 80), "{shown}");
    }
    let output = inspect(&lab, &["--json", path], "C");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["version"], 1);
    assert_eq!(found["system"]["distribution"], "debian");
    let root = &found["disks"][0]["areas"][0]["content"]["filesystem"];
    assert_eq!(root["identity"]["uuid"], UUID);
    assert_eq!(root["mounts"][0]["path"], "/");
    assert_eq!(hash(&disk), before);
    lab.assert_nothing_left();
}

#[test]
fn obstacles_are_status_1_with_the_answer() {
    need_root!();
    let lab = Lab::new("inspect-obstacles").unwrap();
    let disk = machine(&lab);
    let extent = image::partitions(&disk).unwrap()[0].extent;
    let copy = lab.dir().join("copy.img");
    with_root(&lab, &disk, extent, false, |root| {
        std::fs::write(root.join("written"), "x").unwrap();
        nix::unistd::sync();
        std::fs::copy(&disk, &copy).unwrap();
        // In use, the disk itself is refused, and nothing is answered.
        let output = inspect(&lab, &[disk.to_str().unwrap()], "C");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stdout), "");
        assert!(said.contains("in use by the running system"), "{said}");
        assert!(said.contains("live medium"), "{said}");
    });
    let output = inspect(&lab, &["--json", copy.to_str().unwrap()], "C");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let obstacle = found["obstacles"][0].as_str().unwrap();
    assert!(obstacle.contains("e2fsck"), "{obstacle}");
    for wrong in ["/nonexistent", "--xml"] {
        assert_eq!(inspect(&lab, &[wrong], "C").status.code(), Some(64));
    }
    lab.assert_nothing_left();
}

#[test]
fn the_disk_that_this_system_lives_on_is_refused() {
    need_root!();
    let lab = Lab::new("inspect-here").unwrap();
    let Some(disk) = own_disk() else {
        skip("the root is on no disk of its own");
        return;
    };
    for args in [&[][..], &[disk.as_str()]] {
        let output = inspect(&lab, args, "C");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(text(&output.stdout), "");
        assert!(said.contains("in use by the running system"), "{said}");
    }
}

/// The disk that `/` is on.
fn own_disk() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let device = std::fs::metadata("/").ok()?.dev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let sys = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let disk = match sys.join("partition").exists() {
        true => sys.parent()?.to_owned(),
        false => sys,
    };
    let name = disk.file_name()?.to_str()?.to_owned();
    let is_made = ["dm-", "md", "loop"]
        .iter()
        .any(|kind| name.starts_with(kind));
    (!is_made).then(|| format!("/dev/{name}"))
}

#[test]
fn a_killed_inspection_leaves_nothing_attached() {
    need_root!();
    let lab = Lab::new("inspect-killed").unwrap();
    let disk = machine(&lab);
    let before = hash(&disk);
    for delay in [5, 20, 40, 80, 160] {
        let mut child = Command::new(lab.binary())
            .args(["inspect", disk.to_str().unwrap()])
            .env("TMPDIR", lab.dir())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        let _ = child.kill();
        child.wait().unwrap();
    }
    // What a killed worker held goes a moment later.
    std::thread::sleep(std::time::Duration::from_millis(500));
    lab.assert_nothing_left();
    assert_eq!(hash(&disk), before);
    assert_eq!(
        inspect(&lab, &[disk.to_str().unwrap()], "C").status.code(),
        Some(0)
    );
}
