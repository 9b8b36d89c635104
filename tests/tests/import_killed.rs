//! `import` ended by SIGKILL at many points: nothing stays, the disk is
//! unbootable or complete, and the next run succeeds.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::mount::MsFlags;
use nix::sys::signal::Signal;
use p2v_sys::loopdev::Extent;
use p2v_sys::{Cmd, LoopDevice, Mount};
use p2v_tests::entry_points::Running;
use p2v_tests::image::{self, MountedPart};
use p2v_tests::{Instance, Lab, MIB, need_root};

const NAME: &str = "restored.example.org";

/// So many places in the stream at which it is held back while the kill strikes:
/// a fast machine cannot finish before it.
const PLACES: usize = 10;

/// And so many times around the end of the stream, for what comes after it.
const TIMES: u32 = 8;

const LONGEST: Duration = Duration::from_secs(120);

#[test]
fn killed_while_partitions_are_filled_and_the_last_grows() {
    need_root!();
    killed("grow", "label: gpt\n,10M,L\n,+,L\n", "ext4", 300, 500);
}

#[test]
fn killed_while_a_filesystem_shrinks_beside_the_disk() {
    need_root!();
    killed("shrink", "label: dos\n,10M,L\n,+,L\n", "ext4", 300, 200);
}

#[test]
fn killed_while_a_disk_without_partitions_is_filled() {
    need_root!();
    killed("whole-ext4", "", "ext4", 300, 900);
    killed("whole-ext2", "", "ext2", 300, 900);
    killed("whole-xfs", "", "xfs", 400, 900);
}

/// Kills imports of a disk onto one of another size, both in MiB.
fn killed(name: &str, table: &str, kind: &str, size: u64, other: u64) {
    // Nobody else's new namespace keeps what is mounted here.
    p2v_testing::private_mounts();
    let lab = Lab::with_own_cache(&format!("import-{name}")).unwrap();
    let old = lab.disk("old.img", size * MIB).unwrap();
    fill(&lab, &old, table, kind);
    let content = content(&lab, &old).expect("nothing on the disk");
    let stream = lab.dir().join("stream");
    let file = File::create(&stream).unwrap();
    let exported = lab.export(&Instance::new(NAME, &old), file).unwrap();
    exported.assert_success();
    let import = Import {
        disk: lab.disk("new.img", other * MIB).unwrap(),
        stream,
        content,
        shrinks: other < size,
        lab,
    };
    // The second one: the first also waits for what nobody has read yet.
    import.succeed();
    let whole = import.succeed();
    for place in 1..=PLACES {
        import.kill_at(place);
    }
    import.kill_around(name, whole);
    import.succeed();
    let cache: Vec<PathBuf> = names(import.lab.cache_dir());
    assert!(cache.is_empty(), "left in the cache: {cache:?}");
}

/// Names and hashes of all files.
type Files = Vec<(PathBuf, blake3::Hash)>;

/// A stream, and the disk that gets what is in it.
struct Import {
    lab: Lab,
    stream: PathBuf,
    disk: PathBuf,
    /// What the stream's disk holds.
    content: Files,
    /// The new disk is smaller.
    shrinks: bool,
}

impl Import {
    fn start(&self) -> Running {
        let stream = File::open(&self.stream).unwrap();
        self.start_from(stream.into())
    }

    fn start_from(&self, input: Stdio) -> Running {
        let instance = Instance::new(NAME, &self.disk);
        self.lab.start_import(&instance, input).unwrap()
    }

    fn found(&self) -> Option<Files> {
        content(&self.lab, &self.disk)
    }

    /// Returns how long it took.
    fn succeed(&self) -> Duration {
        let outcome = self.start().finish(LONGEST).unwrap();
        let took = outcome.assert_success().took;
        assert_eq!(self.found().as_ref(), Some(&self.content));
        took
    }

    /// With no more of the stream than to there, of [`PLACES`].
    fn kill_at(&self, place: usize) {
        let bytes = std::fs::read(&self.stream).unwrap();
        let mut running = self.start_from(Stdio::piped());
        let mut input = running.child.stdin.take().unwrap();
        let given = bytes.len() * place / (PLACES + 1);
        input.write_all(&bytes[..given]).unwrap();
        std::thread::sleep(Duration::from_millis(10 * place as u64));
        running.signal(Signal::SIGKILL).unwrap();
        let outcome = running.finish(LONGEST).unwrap();
        assert_eq!(outcome.signal(), Some(Signal::SIGKILL as i32), "{place}");
        drop(input);
        self.lab.assert_nothing_left();
        // What shrinks is made ready beside the disk, which stays as it was.
        let untouched = self.shrinks.then_some(&self.content);
        let found = self.found();
        assert!(
            found.is_none() || found.as_ref() == untouched,
            "after {place} of {PLACES}"
        );
    }

    /// [`TIMES`] times around the end, which comes after `whole`.
    fn kill_around(&self, name: &str, whole: Duration) {
        let (mut in_time, mut complete) = (0, 0);
        for time in 1..=TIMES {
            let running = self.start();
            std::thread::sleep(whole * (TIMES + time) / (2 * TIMES));
            // It may have ended by now; then it must have succeeded.
            let _ = running.signal(Signal::SIGKILL);
            let outcome = running.finish(LONGEST).unwrap();
            self.lab.assert_nothing_left();
            in_time += u32::from(outcome.signal().is_some());
            if let Some(found) = self.found() {
                assert_eq!(found, self.content, "at {time} of {TIMES}");
                complete += 1;
            }
        }
        println!("{name}: of the last, {in_time} killed in time, {complete} complete");
    }
}

/// The filesystem that the test is about: the last.
fn main_extent(disk: &Path) -> Option<Extent> {
    match image::label(disk) {
        Some(_) => Some(image::partitions(disk).unwrap().last()?.extent),
        None => Some(image::whole(disk).unwrap()),
    }
}

fn fill(lab: &Lab, disk: &Path, table: &str, kind: &str) {
    if !table.is_empty() {
        let make = Cmd::new("sfdisk", "making a table")
            .arg("--quiet")
            .arg(disk);
        make.stdin(table).run().unwrap();
    }
    let device = LoopDevice::attach(disk, main_extent(disk).unwrap(), false).unwrap();
    let make = Cmd::new(format!("mkfs.{kind}"), "making a filesystem").arg("-q");
    make.arg(device.path()).run().unwrap();
    let top = lab.dir().join("top");
    std::fs::create_dir(&top).unwrap();
    let mount = Mount::new(device.path(), &top, kind, MsFlags::empty(), "").unwrap();
    for number in 0_u64..60 {
        let mut bytes = vec![0; 2 << 20];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&number.to_le_bytes());
        hasher.finalize_xof().fill(&mut bytes);
        std::fs::write(top.join(format!("file{number}")), bytes).unwrap();
    }
    mount.close().unwrap();
    device.close().unwrap();
}

/// None if the disk would not boot. What would
/// must be whole.
fn content(lab: &Lab, disk: &Path) -> Option<Files> {
    let extent = main_extent(disk)?;
    let found = image::probe(disk, extent).unwrap();
    if found.kind.is_empty() {
        assert!(image::label(disk).is_none(), "a table without a filesystem");
        return None;
    }
    check(disk, extent, &found.kind);
    let part = MountedPart::new(disk, extent, &found.kind, lab.dir()).unwrap();
    let mut files: Vec<_> = names(part.path())
        .into_iter()
        .filter(|path| path.is_file())
        .map(|path| {
            (
                path.file_name().unwrap().into(),
                image::hash(&path).unwrap(),
            )
        })
        .collect();
    files.sort_by(|one: &(PathBuf, _), other| one.0.cmp(&other.0));
    let target = part.path().to_owned();
    part.close().unwrap();
    std::fs::remove_dir(target).unwrap();
    Some(files)
}

fn check(disk: &Path, extent: Extent, kind: &str) {
    let device = LoopDevice::attach(disk, extent, false).unwrap();
    if kind == "ext4" {
        // As the first start does, if the kill left a journal to replay.
        let replay = Cmd::new("e2fsck", "replaying the journal").args(["-E", "journal_only", "-y"]);
        replay.arg(device.path()).read_answer(&[1]).unwrap();
    }
    let (program, arg) = match kind {
        "xfs" => ("xfs_repair", "-n"),
        _ => ("e2fsck", "-fn"),
    };
    let command = Cmd::new(program, "checking").arg(arg).arg(device.path());
    command.run().unwrap();
    device.close().unwrap();
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}
