//! Streams that are cut off, damaged or hostile, disks that are too small, and
//! signals: the disk does not boot, and the node is as it was.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use p2v_sys::loopdev::Extent;
use p2v_tests::guest::{edit, format};
use p2v_tests::{Instance, Lab, MIB, image, need_root};

use crate::{NAME, exported, some_files, source};

/// For one that a signal ends.
const LONGEST: Duration = Duration::from_secs(120);

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
    let cut = |length: usize| stream[..length].to_vec();
    let mut bad = vec![
        ("empty", Vec::new(), "it is empty"),
        ("tar", vec![0; 10240], "neither"),
        ("gzip", b"\x1f\x8b\x08rest".repeat(1000), "neither"),
        ("part of a header", cut(600), "neither"),
        ("maps cut off", cut(5 << 10), "cut off"),
        ("half", cut(stream.len() / 2), "cut off"),
        ("no end", cut(stream.len() - 20 * 1024), "cut off"),
    ];
    bad.extend(damaged_streams(stream));
    bad
}

/// Streams of the right length, or nearly, in which something is not as dump
/// wrote it.
fn damaged_streams(stream: &[u8]) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = stream.to_vec();
        change(&mut bytes);
        bytes
    };
    let relabelled = |at, value| changed(&|bytes| relabel(bytes, at, value));
    let swapped = stream[..1024]
        .chunks(4)
        .flat_map(|word| word.iter().rev().copied());
    let swapped: Vec<u8> = swapped.chain(stream[1024..].iter().copied()).collect();
    let middle = stream.len() / 2 / 1024 * 1024;
    let header = (0..middle)
        .step_by(1024)
        .rev()
        .find(|at| stream[at + 24..at + 28] == stream[24..28])
        .unwrap();
    let lost = changed(&|bytes| drop(bytes.drain(middle..middle + 10240)));
    let noise = changed(&|bytes| bytes[middle..].fill(7));
    let first = changed(&|bytes| bytes[100] ^= 1);
    let later = changed(&|bytes| bytes[header + 200] ^= 1);
    vec![
        ("first header", first, "first header"),
        ("a later header", later, "damaged"),
        ("records lost", lost, "damaged"),
        ("noise", noise, "damaged"),
        ("its first header in the other order", swapped, "damaged"),
        ("incremental", relabelled(692, 1), "incremental"),
        ("second volume", relabelled(12, 2), "volume 2"),
        ("of old BSD", relabelled(24, 60011), "format"),
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
