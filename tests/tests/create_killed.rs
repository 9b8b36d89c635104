//! `create` ended by signals at many points: nothing stays, the disk is
//! unbootable or complete, and the next run succeeds.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use p2v_sys::loopdev::Extent;
use p2v_tests::image::{self, MountedPart};
use p2v_tests::{GIB, Instance, Lab, Outcome, need_root};

const NAME: &str = "killed.example.org";

/// More than the phases of create, so that each is met.
const POINTS: u32 = 12;

/// A worker that is asked to end may take this long to clean up.
const LONGEST_END: Duration = Duration::from_secs(60);

#[test]
fn terminated_at_many_points() {
    need_root!();
    let told = at_many_points("terminated", Signal::SIGTERM, |lab, disk, outcome| {
        if outcome.status.success() {
            return false;
        }
        outcome.assert_refused(&["interrupted", "SIGTERM"]);
        assert!(!image::has_boot_code(disk).unwrap(), "it may boot");
        assert!(!lab.state_of(NAME).exists(), "a state file was written");
        true
    });
    // If none was met in time, nothing has been tested.
    assert!(told >= POINTS / 3, "only {told} runs were interrupted");
}

#[test]
fn killed_at_many_points() {
    need_root!();
    let killed = at_many_points("killed", Signal::SIGKILL, |_, disk, outcome| {
        assert_unbootable_or_complete(disk);
        outcome.signal().is_some()
    });
    assert!(killed >= POINTS / 3, "only {killed} runs were killed");
}

#[test]
fn killed_while_the_cache_is_filled() {
    need_root!();
    let lab = Lab::with_own_cache("killed-cold").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let instance = Instance::new(NAME, &disk);
    // While packages are downloaded, and while they are being installed.
    for (signal, after) in [
        (Signal::SIGKILL, 4),
        (Signal::SIGTERM, 12),
        (Signal::SIGKILL, 25),
    ] {
        let running = lab.start_create(&instance).unwrap();
        std::thread::sleep(Duration::from_secs(after));
        running.signal(signal).unwrap();
        let outcome = running.finish(LONGEST_END).unwrap();
        assert!(!outcome.status.success(), "{}", outcome.log);
        lab.assert_nothing_left();
        assert!(image::edges_are_blank(&disk).unwrap(), "it was written");
    }
    lab.create(&instance).unwrap().assert_success();
    assert_unbootable_or_complete(&disk);
    assert!(image::has_boot_code(&disk).unwrap());
    let stray = names(lab.cache_dir(), |path| path.is_dir());
    assert!(stray.is_empty(), "left by killed runs: {stray:?}");
    lab.assert_nothing_left();
}

/// Sends `signal` at evenly spread times of a run, has `check` look at each
/// ended run, and lets the next run succeed. Returns how often `check` said
/// that the signal had come in time.
fn at_many_points(
    test: &str,
    signal: Signal,
    check: impl Fn(&Lab, &Path, &Outcome) -> bool,
) -> u32 {
    let lab = Lab::new(test).unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let instance = Instance::new(NAME, &disk);
    lab.create(&instance).unwrap().assert_success();
    let whole = lab.create(&instance).unwrap().assert_success().took;
    let mut in_time = 0;
    for point in 1..=POINTS {
        let _ = std::fs::remove_file(lab.state_of(NAME));
        let running = lab.start_create(&instance).unwrap();
        std::thread::sleep(whole * point / (POINTS + 1));
        // It may have ended by now; then it must have succeeded.
        let _ = running.signal(signal);
        let outcome = running.finish(LONGEST_END).unwrap();
        lab.assert_nothing_left();
        in_time += u32::from(check(&lab, &disk, &outcome));
        lab.create(&instance).unwrap().assert_success();
        assert!(image::has_boot_code(&disk).unwrap());
        lab.assert_nothing_left();
    }
    in_time
}

/// Boot code may only be there when the root is whole.
fn assert_unbootable_or_complete(disk: &Path) {
    if !image::has_boot_code(disk).unwrap() {
        return;
    }
    let extent = image::partitions(disk).unwrap()[0].extent;
    assert_complete(disk, extent);
}

fn assert_complete(disk: &Path, extent: Extent) {
    let found = image::probe(disk, extent).unwrap();
    let dir = disk.parent().unwrap();
    let root = MountedPart::new(disk, extent, &found.kind, dir).unwrap();
    let unfinished = root.path().join(image::INCOMPLETE).exists();
    let name = std::fs::read_to_string(root.path().join("etc/hostname")).unwrap();
    let initrds = names(&root.path().join("boot"), |path| {
        path.extension() == Some("img".as_ref())
    });
    root.close().unwrap();
    assert!(!unfinished, "boot code on an unfinished root");
    assert!(name.starts_with("killed"), "{name}");
    assert!(!initrds.is_empty());
}

fn names(dir: &Path, which: impl Fn(&Path) -> bool) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| which(path));
    paths
}
