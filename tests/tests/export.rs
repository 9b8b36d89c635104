//! `export` as Ganeti runs it: the stream and nothing else on standard output,
//! its size beforehand, and a disk that stays as it is.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::pipe2;
use p2v_sys::Cmd;
use p2v_tests::guest::{edit, extent, format, partition};
use p2v_tests::{Instance, Lab, MIB, image, need_root};

const NAME: &str = "exported.example.org";

const LONGEST: Duration = Duration::from_secs(120);

/// A disk with two filesystems and some data in the second.
fn disk(lab: &Lab, kind: &str) -> PathBuf {
    let disk = lab.disk("disk.img", 600 * MIB).unwrap();
    partition(&disk, "label: gpt\n,64M\n,+\n").unwrap();
    format(&disk, extent(&disk, 1).unwrap(), "mkfs.ext4", &["-q"]).unwrap();
    let second = extent(&disk, 2).unwrap();
    format(&disk, second, &format!("mkfs.{kind}"), &["-q"]).unwrap();
    edit(&disk, second, (kind, ""), fill).unwrap();
    disk
}

/// 20 MiB that no compression or search for zeros makes smaller.
fn fill(top: &Path) {
    let mut bytes = vec![0; 20 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    std::fs::write(top.join("data"), bytes).unwrap();
    std::fs::write(top.join("zeros"), vec![0; 5 << 20]).unwrap();
}

fn pipe() -> (File, OwnedFd) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    (reader.into(), writer)
}

/// A pipe whose writing end a started program inherits by this number.
fn inherited_pipe() -> (File, OwnedFd, String) {
    let (reader, writer) = pipe();
    fcntl(&writer, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let number = writer.as_raw_fd().to_string();
    (reader, writer, number)
}

#[test]
fn the_size_comes_before_and_fits_the_stream() {
    need_root!();
    let lab = Lab::new("export-size").unwrap();
    let disk = disk(&lab, "ext4");
    let before = image::hash(&disk).unwrap();
    let stream = lab.dir().join("stream");
    let (mut reader, writer, number) = inherited_pipe();
    let instance = Instance::new(NAME, &disk).with("EXP_SIZE_FD", &number);
    let outcome = lab
        .export(&instance, File::create(&stream).unwrap())
        .unwrap();
    outcome.assert_success();
    drop(writer);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    let line = said.strip_suffix('\n').expect("no newline");
    let expected: u64 = line.parse().unwrap();
    let found = std::fs::metadata(&stream).unwrap().len();
    assert!(found <= expected, "{found} are more than {expected}");
    // An empty journal and the like are zeros, found while they are read.
    assert!(expected - found < 40 * MIB, "{found} of {expected}");
    assert!((20 * MIB..24 * MIB).contains(&found), "{found}");
    assert!(
        std::fs::read(&stream)
            .unwrap()
            .starts_with(b"p2v-target disk\n")
    );
    assert_eq!(
        image::hash(&disk).unwrap(),
        before,
        "export wrote to the disk"
    );
    lab.assert_nothing_left();
}

#[test]
fn a_wrong_size_descriptor_is_named() {
    need_root!();
    let lab = Lab::new("export-descriptor").unwrap();
    let disk = disk(&lab, "ext4");
    for (number, words) in [("1", "EXP_SIZE_FD"), ("x", "EXP_SIZE_FD"), ("99", "99")] {
        let instance = Instance::new(NAME, &disk).with("EXP_SIZE_FD", number);
        let outcome = lab.export(&instance, Stdio::null()).unwrap();
        outcome.assert_refused(&[words, "size"]);
    }
}

/// Without sfdisk a table cannot be read, which must not pass for a table that
/// is broken: all of the disk would be taken.
#[test]
fn a_missing_program_is_named() {
    need_root!();
    let lab = Lab::new("export-tools").unwrap();
    let disk = disk(&lab, "ext4");
    let programs = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/usr/sbin/blkid", programs.path().join("blkid")).unwrap();
    let instance = Instance::new(NAME, &disk).with("PATH", programs.path().to_str().unwrap());
    let outcome = lab.export(&instance, Stdio::null()).unwrap();
    outcome.assert_refused(&["sfdisk", "install fdisk"]);
}

#[test]
fn a_reader_that_goes_away_ends_the_export_with_an_error() {
    need_root!();
    let lab = Lab::new("export-reader").unwrap();
    let disk = disk(&lab, "ext4");
    let (mut reader, writer) = pipe();
    let running = lab
        .start_export(&Instance::new(NAME, &disk), writer)
        .unwrap();
    reader.read_exact(&mut [0; 1000]).unwrap();
    drop(reader);
    let outcome = running.finish(LONGEST).unwrap();
    outcome.assert_refused(&["writing the stream", "broken pipe"]);
    lab.assert_nothing_left();
}

/// What was not unmounted holds more than its maps say: an ext journal is
/// followed in memory, of others all is taken. Nothing is replayed on the disk.
#[test]
fn a_filesystem_in_use_when_it_was_copied_is_exported_whole_and_not_written() {
    need_root!();
    for kind in ["ext4", "xfs", "btrfs"] {
        let lab = Lab::new(&format!("export-dirty-{kind}")).unwrap();
        let clean = disk(&lab, kind);
        let dirty = lab.dir().join("dirty.img");
        let second = extent(&clean, 2).unwrap();
        let copy = |top: &Path| {
            std::fs::write(top.join("late"), vec![7; 3 << 20]).unwrap();
            let file = File::open(top.join("late")).unwrap();
            file.sync_all().unwrap();
            Cmd::new("cp", "copying")
                .args(["--sparse=always"])
                .args([&clean, &dirty])
                .run()
                .unwrap();
        };
        edit(&clean, second, (kind, ""), copy).unwrap();
        let before = image::hash(&dirty).unwrap();
        let stream = lab.dir().join("stream");
        let source = Instance::new(NAME, &dirty);
        let outcome = lab.export(&source, File::create(&stream).unwrap()).unwrap();
        outcome.assert_success();
        let taken = outcome.log.contains("partition 2") && outcome.log.contains(", since ");
        assert_eq!(taken, kind != "ext4", "{kind}: {}", outcome.log);
        assert_eq!(image::hash(&dirty).unwrap(), before, "{kind}: export wrote");
        let copy = lab.disk("copy.img", 600 * MIB).unwrap();
        let target = Instance::new(NAME, &copy);
        lab.import(&target, File::open(&stream).unwrap())
            .unwrap()
            .assert_success();
        let late = |top: &Path| std::fs::read(top.join("late")).unwrap();
        let found = edit(&copy, extent(&copy, 2).unwrap(), (kind, ""), late).unwrap();
        assert!(
            found == vec![7; 3 << 20],
            "{kind}: the last file is not whole"
        );
        lab.assert_nothing_left();
    }
}

#[test]
fn a_disk_that_a_machine_runs_on_is_refused() {
    need_root!();
    let lab = Lab::new("export-running").unwrap();
    let disk = disk(&lab, "ext4");
    let claimed = p2v_sys::disk::Disk::claim(&disk).unwrap();
    let outcome = lab
        .export(&Instance::new(NAME, &disk), Stdio::null())
        .unwrap();
    outcome.assert_refused(&["stop the instance"]);
    drop(claimed);
}
