//! `import` of what instance-debootstrap's own `export` wrote: everything that
//! the filesystem held comes back; a stream that is cut off, damaged or hostile
//! leaves a disk that does not boot, and the node as it was.

use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use p2v_sys::Cmd;
use p2v_sys::loopdev::Extent;
use p2v_tests::guest::{edit, extent, format};
use p2v_tests::manifest::{self, Manifest};
use p2v_tests::peer::debootstrap;
use p2v_tests::qemu::{Boot, Machine, MachineSpec};
use p2v_tests::ssh::Ssh;
use p2v_tests::{Created, GIB, Instance, Lab, MIB, image, need_root, ram_system};

/// For one that a signal ends.
const LONGEST: Duration = Duration::from_secs(120);

const NAME: &str = "old.example.com";
const UUID: &str = "6f4a1f6e-3a10-4f5c-8a3a-0c3f5d0b6a11";

/// A lab, and a disk as instance-debootstrap makes one, with this in it.
fn source(test: &str, size: u64, fill: impl FnOnce(&Path)) -> (Lab, PathBuf, Manifest) {
    let lab = Lab::new(test).unwrap();
    let disk = lab.disk("source.img", size).unwrap();
    let options = ["-q", "-U", UUID, "-L", "old-root"];
    format(&disk, Extent::default(), "mkfs.ext4", &options).unwrap();
    let made = |top: &Path| {
        fill(top);
        std::fs::remove_dir(top.join("lost+found")).unwrap();
        manifest::of(top).unwrap()
    };
    let manifest = edit(&disk, Extent::default(), ("ext4", ""), made).unwrap();
    (lab, disk, manifest)
}

/// The stream of a disk.
fn exported(lab: &Lab, disk: &Path) -> PathBuf {
    let stream = lab.dir().join("stream");
    debootstrap::export(&Instance::new(NAME, disk), &stream).unwrap();
    stream
}

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
    let write = |name: &str, bytes: &[u8]| std::fs::write(top.join(name), bytes).unwrap();
    write(
        "etc/fstab",
        format!("UUID={UUID} / ext4 defaults 0 1\n").as_bytes(),
    );
    write("empty", b"");
    write("large", &vec![0x5a; 5 << 20]);
    write("capable", b"\x7fELF");
    write("guarded", b"acl");
    write("fixed", b"immutable");
    write("dir/attributes", b"x");
    run("setcap", &["cap_net_raw+ep"], &top.join("capable"));
    run("setfacl", &["-m", "u:5:rw"], &top.join("guarded"));
    run(
        "setfattr",
        &["-n", "user.a b", "-v", "c"],
        &top.join("dir/attributes"),
    );
    run(
        "setfattr",
        &["-n", "trusted.t", "-v", "t"],
        &top.join("dir/attributes"),
    );
    run(
        "setfattr",
        &["-n", "user.d", "-v", "d"],
        &top.join("dir/deep"),
    );
    run("setfacl", &["-d", "-m", "u:6:rx"], &top.join("dir"));
    run("chattr", &["+i"], &top.join("fixed"));
    std::fs::hard_link(top.join("large"), top.join("dir/deep/er/again")).unwrap();
    symlink("/etc/shadow", top.join("link")).unwrap();
    symlink("x".repeat(900), top.join("long link")).unwrap();
    let sparse = File::create(top.join("sparse")).unwrap();
    sparse.set_len(300 << 20).unwrap();
    (&sparse).write_all(b"start").unwrap();
    for (number, name) in [&b"new\nline"[..], b"\xff\xfe", b"-rf", &[b'n'; 254]]
        .iter()
        .enumerate()
    {
        let path = top.join("many").join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(&path, [number as u8]).unwrap();
        std::os::unix::fs::chown(&path, Some(100_000), Some(4_000_000_000)).unwrap();
    }
    run("mkfifo", &["-m", "600"], &top.join("fifo"));
    for (name, words) in [("zero", ["c", "1", "5"]), ("disk", ["b", "8", "1"])] {
        let command = Cmd::new("mknod", "making a device").arg(top.join(name));
        command.args(words).run().unwrap();
    }
    let socket = std::os::unix::net::UnixListener::bind(top.join("socket")).unwrap();
    drop(socket);
    run("chmod", &["4751"], &top.join("empty"));
    run("chmod", &["1777"], &top.join("many"));
    run(
        "touch",
        &["-d", "1999-12-31 23:59:59.123456789"],
        &top.join("guarded"),
    );
    run("touch", &["-d", "2005-01-02"], &top.join("dir"));
    run("chmod", &["750"], top);
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

/// Some files, so that a stream has a beginning, a middle and an end.
fn some_files(top: &Path) {
    for number in 0..40_u8 {
        let dir = top.join(format!("dir{}", number % 4));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("file{number}")), vec![number; 50_000]).unwrap();
    }
}

#[test]
fn streams_that_are_cut_off_damaged_or_foreign() {
    need_root!();
    let (lab, disk, _) = source("dump-bad", 64 * MIB, some_files);
    let stream = std::fs::read(exported(&lab, &disk)).unwrap();
    let disk = lab.disk("disk.img", 128 * MIB).unwrap();
    for (name, bytes, words) in bad_streams(&stream) {
        image::scribble(&disk).unwrap();
        std::fs::write(lab.dir().join("bad"), bytes).unwrap();
        let instance = Instance::new(NAME, &disk);
        let outcome = lab
            .import(&instance, File::open(lab.dir().join("bad")).unwrap())
            .unwrap();
        println!("{name}: {}", outcome.error_message());
        outcome.assert_refused(&["unbootable", words]);
        assert!(image::edges_are_blank(&disk).unwrap(), "{name}");
        assert!(outcome.took < Duration::from_secs(60), "{name}");
        lab.assert_nothing_left();
    }
}

/// Each with a word of what import must say.
fn bad_streams(stream: &[u8]) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = stream.to_vec();
        change(&mut bytes);
        bytes
    };
    let swapped: Vec<u8> = stream[..1024]
        .chunks(4)
        .flat_map(|word| word.iter().rev().copied())
        .collect();
    let middle = stream.len() / 2 / 1024 * 1024;
    let header = (0..middle)
        .step_by(1024)
        .rev()
        .find(|at| stream[at + 24..at + 28] == stream[24..28])
        .unwrap();
    vec![
        ("empty", Vec::new(), "it is empty"),
        ("tar", vec![0; 10240], "neither"),
        ("gzip", b"\x1f\x8b\x08rest".repeat(1000), "neither"),
        ("part of a header", stream[..600].to_vec(), "neither"),
        ("maps cut off", stream[..5 << 10].to_vec(), "cut off"),
        ("half", stream[..stream.len() / 2].to_vec(), "cut off"),
        (
            "no end",
            stream[..stream.len() - 20 * 1024].to_vec(),
            "cut off",
        ),
        (
            "first header",
            changed(&|bytes| bytes[100] ^= 1),
            "first header",
        ),
        (
            "a later header",
            changed(&|bytes| bytes[header + 200] ^= 1),
            "damaged",
        ),
        (
            "records lost",
            changed(&|bytes| drop(bytes.drain(middle..middle + 10240))),
            "damaged",
        ),
        (
            "noise",
            changed(&|bytes| bytes[middle..].fill(7)),
            "damaged",
        ),
        (
            "only its first header in the other order",
            [&swapped, &stream[1024..]].concat(),
            "damaged",
        ),
        (
            "incremental",
            changed(&|bytes| relabel(bytes, 692, 1)),
            "incremental",
        ),
        (
            "second volume",
            changed(&|bytes| relabel(bytes, 12, 2)),
            "volume 2",
        ),
        (
            "of old BSD",
            changed(&|bytes| relabel(bytes, 24, 60011)),
            "format",
        ),
    ]
}

/// Changes a word of the first header, and its checksum with it.
fn relabel(bytes: &mut [u8], at: usize, value: u32) {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (old, sum) = (word(bytes, at), word(bytes, 28));
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    let sum = sum.wrapping_add(old).wrapping_sub(value);
    bytes[28..32].copy_from_slice(&sum.to_le_bytes());
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

#[test]
fn disks_that_are_too_small() {
    need_root!();
    let large = |top: &Path| {
        // Not all zeros, which would be holes.
        std::fs::write(top.join("large"), vec![3; 150 << 20]).unwrap();
    };
    let (lab, disk, _) = source("dump-small", 256 * MIB, large);
    let stream = exported(&lab, &disk);
    let tiny = lab.disk("tiny.img", 20 * MIB).unwrap();
    image::scribble(&tiny).unwrap();
    let before = image::hash(&tiny).unwrap();
    let outcome = lab
        .import(&Instance::new(NAME, &tiny), File::open(&stream).unwrap())
        .unwrap();
    outcome.assert_refused(&["tiny.img", "20 MiB", "nothing was written"]);
    assert_eq!(image::hash(&tiny).unwrap(), before);
    let small = lab.disk("small.img", 100 * MIB).unwrap();
    let outcome = lab
        .import(&Instance::new(NAME, &small), File::open(&stream).unwrap())
        .unwrap();
    outcome.assert_refused(&["small.img", "unbootable", "larger disk"]);
    assert!(image::edges_are_blank(&small).unwrap());
    lab.assert_nothing_left();
}

/// A stream whose names lead out of the filesystem: by `..` and absolute, and
/// by a link that takes a directory's name.
#[test]
fn a_hostile_stream_changes_nothing_outside_its_filesystem() {
    need_root!();
    let lab = Lab::new("dump-hostile").unwrap();
    let victim = lab.dir().join("victim");
    std::fs::create_dir(&victim).unwrap();
    std::fs::write(victim.join("file"), "precious").unwrap();
    let disk = lab.disk("source.img", 64 * MIB).unwrap();
    format(&disk, Extent::default(), "mkfs.ext4", &["-q"]).unwrap();
    let up = format!("../../../../../../../..{}/file", victim.display());
    let absolute = format!("{}/file", victim.display());
    let placeholder = |name: &str, letter: &str| letter.repeat(name.len());
    let fill = |top: &Path| {
        symlink(&victim, top.join("trap")).unwrap();
        std::fs::create_dir(top.join("trip")).unwrap();
        std::fs::write(top.join("trip/file"), "hostile").unwrap();
        std::fs::write(top.join(placeholder(&up, "u")), "hostile").unwrap();
        std::fs::write(top.join(placeholder(&absolute, "v")), "hostile").unwrap();
    };
    edit(&disk, Extent::default(), ("ext4", ""), fill).unwrap();
    let stream = std::fs::read(exported(&lab, &disk)).unwrap();
    let disk = lab.disk("disk.img", 128 * MIB).unwrap();
    for (from, to) in [
        ("trip".to_owned(), "trap"),
        (placeholder(&up, "u"), &up),
        (placeholder(&absolute, "v"), &absolute),
    ] {
        let hostile = replaced(&stream, from.as_bytes(), to.as_bytes());
        std::fs::write(lab.dir().join("hostile"), hostile).unwrap();
        let instance = Instance::new(NAME, &disk);
        let outcome = lab
            .import(&instance, File::open(lab.dir().join("hostile")).unwrap())
            .unwrap();
        outcome.assert_refused(&["unbootable", "restor"]);
        assert_eq!(std::fs::read(victim.join("file")).unwrap(), b"precious");
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 1, "{to}");
        lab.assert_nothing_left();
    }
}

fn replaced(stream: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = stream.to_vec();
    let places: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|at| bytes[*at..].starts_with(from))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

/// The stream is held back where the kill shall strike, so that a fast machine
/// cannot finish before it.
#[test]
fn killed_at_many_points_it_leaves_no_partition_and_nothing_else() {
    need_root!();
    let (lab, disk, _) = source("dump-killed", 64 * MIB, some_files);
    let stream = exported(&lab, &disk);
    let bytes = std::fs::read(&stream).unwrap();
    let disk = lab.disk("disk.img", 128 * MIB).unwrap();
    let instance = Instance::new(NAME, &disk);
    for point in 1..=8 {
        image::scribble(&disk).unwrap();
        let mut started = lab.start_import(&instance, Stdio::piped()).unwrap();
        let mut input = started.child.stdin.take().unwrap();
        input.write_all(&bytes[..bytes.len() * point / 9]).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        started.signal(Signal::SIGKILL).unwrap();
        let outcome = started.finish(LONGEST).unwrap();
        assert_eq!(outcome.signal(), Some(Signal::SIGKILL as i32), "{point}");
        drop(input);
        lab.assert_nothing_left();
        assert_eq!(image::label(&disk), None, "{point}");
        assert!(!image::has_boot_code(&disk).unwrap());
    }
    lab.import(&instance, File::open(&stream).unwrap())
        .unwrap()
        .assert_success();
}

#[test]
fn a_stream_that_stalls_ends_with_a_signal() {
    need_root!();
    let (lab, disk, _) = source("dump-stalled", 64 * MIB, some_files);
    let bytes = std::fs::read(exported(&lab, &disk)).unwrap();
    let disk = lab.disk("disk.img", 128 * MIB).unwrap();
    let instance = Instance::new(NAME, &disk);
    let mut started = lab.start_import(&instance, Stdio::piped()).unwrap();
    let mut input = started.child.stdin.take().unwrap();
    input.write_all(&bytes[..bytes.len() / 2]).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    started.signal(Signal::SIGTERM).unwrap();
    let outcome = started.finish(LONGEST).unwrap();
    outcome.assert_refused(&["interrupted", "unbootable"]);
    assert!(image::edges_are_blank(&disk).unwrap());
    drop(input);
    lab.assert_nothing_left();
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
