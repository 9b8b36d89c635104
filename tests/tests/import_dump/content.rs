//! What the filesystem held comes back, in every layout, and starts.

use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use p2v_sys::Cmd;
use p2v_sys::loopdev::Extent;
use p2v_tests::guest::{edit, extent};
use p2v_tests::manifest::{self, Manifest};
use p2v_tests::qemu::{Boot, Machine, MachineSpec};
use p2v_tests::ssh::Ssh;
use p2v_tests::{Created, GIB, Instance, Lab, MIB, image, need_root, ram_system};

use crate::{NAME, UUID, exported, some_files, source};

fn run(program: &str, words: &[&str], path: &Path) {
    let command = Cmd::new(program, format!("running {program}"));
    command.args(words).arg(path).run().unwrap();
}

/// Whatever a filesystem can hold and a dump carries: of device numbers it keeps
/// 16 bits, and restore loses names of 255 bytes.
fn oddities(top: &Path) {
    for dir in ["etc", "dir/deep/er", "many"] {
        std::fs::create_dir_all(top.join(dir)).unwrap();
    }
    odd_attributes(top);
    odd_contents(top);
    odd_names(top);
    special_files(top);
    run("chmod", &["4751"], &top.join("empty"));
    run("chmod", &["1777"], &top.join("many"));
    let long_ago = ["-d", "1999-12-31 23:59:59.123456789"];
    run("touch", &long_ago, &top.join("guarded"));
    run("touch", &["-d", "2005-01-02"], &top.join("dir"));
    run("chmod", &["750"], top);
}

fn write(top: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(top.join(name), bytes).unwrap();
}

/// Capabilities, ACLs, extended attributes and flags.
fn odd_attributes(top: &Path) {
    write(top, "capable", b"\x7fELF");
    run("setcap", &["cap_net_raw+ep"], &top.join("capable"));
    write(top, "guarded", b"acl");
    run("setfacl", &["-m", "u:5:rw"], &top.join("guarded"));
    write(top, "dir/attributes", b"x");
    for (path, name, value) in [
        ("dir/attributes", "user.a b", "c"),
        ("dir/attributes", "trusted.t", "t"),
        ("dir/deep", "user.d", "d"),
    ] {
        run("setfattr", &["-n", name, "-v", value], &top.join(path));
    }
    run("setfacl", &["-d", "-m", "u:6:rx"], &top.join("dir"));
    write(top, "fixed", b"immutable");
    run("chattr", &["+i"], &top.join("fixed"));
}

/// Nothing, much, holes, and the same by two names.
fn odd_contents(top: &Path) {
    let fstab = format!("UUID={UUID} / ext4 defaults 0 1\n");
    write(top, "etc/fstab", fstab.as_bytes());
    write(top, "empty", b"");
    write(top, "large", &vec![0x5a; 5 << 20]);
    std::fs::hard_link(top.join("large"), top.join("dir/deep/er/again")).unwrap();
    let sparse = File::create(top.join("sparse")).unwrap();
    sparse.set_len(300 << 20).unwrap();
    (&sparse).write_all(b"start").unwrap();
}

/// Names that are no text, with owners of large numbers.
fn odd_names(top: &Path) {
    for (number, name) in [&b"new\nline"[..], b"\xff\xfe", b"-rf", &[b'n'; 254]]
        .iter()
        .enumerate()
    {
        let path = top.join("many").join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(&path, [number as u8]).unwrap();
        std::os::unix::fs::chown(&path, Some(100_000), Some(4_000_000_000)).unwrap();
    }
}

/// Links, devices, a fifo and a socket.
fn special_files(top: &Path) {
    symlink("/etc/shadow", top.join("link")).unwrap();
    symlink("x".repeat(900), top.join("long link")).unwrap();
    run("mkfifo", &["-m", "600"], &top.join("fifo"));
    for (name, words) in [("zero", ["c", "1", "5"]), ("disk", ["b", "8", "1"])] {
        let command = Cmd::new("mknod", "making a device").arg(top.join(name));
        command.args(words).run().unwrap();
    }
    let socket = std::os::unix::net::UnixListener::bind(top.join("socket")).unwrap();
    drop(socket);
}

/// Without what a dump does not carry: parts of a second, and the sockets that
/// nobody can listen on any more.
fn as_dumped(manifest: &Manifest) -> Manifest {
    let whole = |words: &String| {
        let (before, after) = words.split_once("time ").unwrap();
        let (seconds, rest) = after.split_at(after.find('.').unwrap());
        format!("{before}time {seconds}{}", &rest[10..])
    };
    let pairs = manifest
        .iter()
        .filter(|(path, _)| *path != Path::new("socket"));
    let mut result: Manifest = pairs
        .map(|(path, words)| (path.clone(), whole(words)))
        .collect();
    // Taking lost+found away has touched it.
    result.remove(Path::new(""));
    result
}

#[test]
fn everything_comes_back_in_every_layout() {
    need_root!();
    let (lab, disk, before) = source("dump-all", 128 * MIB, oddities);
    let hash = image::hash(&disk).unwrap();
    let stream = exported(&lab, &disk);
    assert_eq!(
        image::hash(&disk).unwrap(),
        hash,
        "the peer wrote to its disk"
    );
    for (style, root) in [("none", 0), ("msdos", 1), ("gpt", 3)] {
        let disk = lab.disk(&format!("{style}.img"), 600 * MIB).unwrap();
        image::scribble(&disk).unwrap();
        let instance = Instance::new(NAME, &disk).parameter("partition_style", style);
        let outcome = lab.import(&instance, File::open(&stream).unwrap()).unwrap();
        let log = &outcome.assert_success().log;
        assert!(
            log.contains("kernel_path") && !log.contains("warning"),
            "{log}"
        );
        lab.assert_nothing_left();
        let at = extent(&disk, root).unwrap();
        assert_eq!(image::probe(&disk, at).unwrap().uuid, UUID, "{style}");
        let label = Cmd::new("blkid", "probing").args(["-p", "-o", "value", "-s", "LABEL"]);
        let label = label.args(["--offset", &at.offset.to_string()]).arg(&disk);
        assert_eq!(label.read().unwrap(), "old-root", "{style}");
        let after = content(&disk, at);
        let different = manifest::differences(&as_dumped(&before), &as_dumped(&after));
        assert!(different.is_empty(), "{style}:\n{}", different.join("\n"));
        run("e2fsck", &["-fn"], &part(&lab, &disk, at));
    }
}

/// A copy of a part of a disk.
fn part(lab: &Lab, disk: &Path, at: Extent) -> PathBuf {
    let copy = lab.dir().join("part.img");
    let command = Cmd::new("dd", "copying a part").args(["bs=1M", "conv=sparse", "status=none"]);
    let of = |name: &str, path: &Path| format!("{name}={}", path.display());
    let command = command.args([of("if", disk), of("of", &copy)]);
    let (skip, count) = (at.offset / MIB, at.length.div_ceil(MIB));
    let words = [format!("skip={skip}"), format!("count={count}")];
    command.args(words).run().unwrap();
    copy
}

#[test]
fn a_system_with_a_kernel_gets_a_menu_and_finds_its_root() {
    need_root!();
    let fill = |top: &Path| {
        for dir in ["etc", "boot", "lib/modules/6.1.0-9-amd64"] {
            std::fs::create_dir_all(top.join(dir)).unwrap();
        }
        for name in [
            "boot/vmlinuz-6.1.0-9-amd64",
            "boot/initrd.img-6.1.0-9-amd64",
        ] {
            std::fs::write(top.join(name), "x").unwrap();
        }
        std::fs::write(top.join("lib/modules/6.1.0-9-amd64/modules.dep"), "").unwrap();
        let fstab = "# root\n/dev/xvda1 /  ext3\tro 0 1\nproc /proc proc\n";
        std::fs::write(top.join("etc/fstab"), fstab).unwrap();
    };
    let (lab, disk, _) = source("dump-kernel", 64 * MIB, fill);
    let stream = exported(&lab, &disk);
    let disk = lab.disk("disk.img", 128 * MIB).unwrap();
    let instance = Instance::new(NAME, &disk).parameter("filesystem", "xfs");
    let outcome = lab.import(&instance, File::open(&stream).unwrap()).unwrap();
    let log = &outcome.assert_success().log;
    assert!(log.contains("making ext4"), "{log}");
    assert!(image::has_boot_code(&disk).unwrap());
    let at = extent(&disk, 1).unwrap();
    let uuid = image::probe(&disk, at).unwrap().uuid;
    let look = |top: &Path| {
        let read = |name| std::fs::read_to_string(top.join(name)).unwrap();
        let fstab = format!("# root\nUUID={uuid} /  ext4\tro 0 1\nproc /proc proc\n");
        assert_eq!(read("etc/fstab"), fstab);
        let menu = read("boot/grub/grub.cfg");
        let line = format!("linux /boot/vmlinuz-6.1.0-9-amd64 root=UUID={uuid} ro console=tty0");
        assert!(menu.contains(&line), "{menu}");
        assert!(
            menu.contains("initrd /boot/initrd.img-6.1.0-9-amd64"),
            "{menu}"
        );
        assert!(!top.join(image::INCOMPLETE).exists());
        assert!(!top.join("restoresymtable").exists());
        assert!(!top.join(".p2v-restore").exists());
    };
    edit(&disk, at, ("ext4", ""), look).unwrap();
}

#[test]
fn a_compressed_dump_whole_and_cut_off() {
    need_root!();
    let (lab, disk, before) = source("dump-compressed", 64 * MIB, some_files);
    let device = p2v_sys::LoopDevice::attach(&disk, Extent::default(), true).unwrap();
    let stream = lab.dir().join("stream");
    let command = Cmd::new("dump", "dumping")
        .args(["-0", "-q", "-z2", "-f"])
        .arg(&stream);
    command.arg(device.path()).run().unwrap();
    device.close().unwrap();
    let disk = lab.disk("disk.img", 128 * MIB).unwrap();
    let instance = Instance::new(NAME, &disk);
    lab.import(&instance, File::open(&stream).unwrap())
        .unwrap()
        .assert_success();
    let after = content(&disk, extent(&disk, 1).unwrap());
    let different = manifest::differences(&as_dumped(&before), &as_dumped(&after));
    assert!(different.is_empty(), "{}", different.join("\n"));
    let half = std::fs::metadata(&stream).unwrap().len() / 2;
    File::options()
        .write(true)
        .open(&stream)
        .unwrap()
        .set_len(half)
        .unwrap();
    let outcome = lab.import(&instance, File::open(&stream).unwrap()).unwrap();
    outcome.assert_refused(&["unbootable", "restor"]);
    assert!(image::edges_are_blank(&disk).unwrap());
}

/// What the disk's filesystem holds, without what mkfs puts there.
fn content(disk: &Path, at: Extent) -> Manifest {
    let look = |top: &Path| {
        let lost = top.join("lost+found");
        if lost.exists() {
            std::fs::remove_dir(lost).unwrap();
        }
        manifest::of(top).unwrap()
    };
    edit(disk, at, ("ext4", ""), look).unwrap()
}

/// A root that create has made, by way of a dump, to its login in RAM.
#[test]
fn a_restored_system_boots_from_its_own_disk() {
    need_root!();
    let lab = Lab::new("dump-boot").unwrap();
    let disk = lab.disk("source.img", 2 * GIB).unwrap();
    let instance = Instance::new(NAME, &disk).parameter("partition_style", "none");
    let created = Created::make(&lab, &instance).unwrap();
    let stream = exported(&lab, &created.disk);
    let restored = lab.disk("restored.img", 3 * GIB).unwrap();
    let instance = Instance::new(NAME, &restored);
    let outcome = lab.import(&instance, File::open(stream).unwrap()).unwrap();
    outcome.assert_success();
    // By its menu alone: its own fstab has a tmpfs as the root.
    let uuid = image::probe(&restored, extent(&restored, 1).unwrap());
    assert_eq!(uuid.unwrap().uuid, created.fact("root_uuid").unwrap());
    let spec = MachineSpec::new(Boot::Bios, &restored);
    let mut machine = Machine::start(&spec, lab.dir()).unwrap();
    machine.wait_for_ssh(Duration::from_secs(300)).unwrap();
    let ssh = Ssh::new(machine.ssh_port(), lab.key(), &lab.state_of(NAME)).unwrap();
    assert_eq!(ssh.run("hostname").unwrap(), NAME);
    ram_system::check_released(&ssh).unwrap();
}
