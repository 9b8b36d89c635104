//! Disks that only QEMU reaches (`DISK_N_URI` without a path): worked on like
//! any other, and clear words where that fails.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::MsFlags;
use nix::sys::signal::Signal;
use p2v_sys::Mount;
use p2v_sys::lock::FileLock;
use p2v_tests::{Created, GIB, Instance, Lab, MIB, image, need_root, outcome};

const NAME: &str = "userspace.example.org";

/// Longer than a server or a create takes to get to a point.
const PATIENCE: Duration = Duration::from_secs(60);

/// One test at a time, so that at its end it can be told that the kernel waits
/// for nothing that was shown by FUSE: neither is there a connection more than
/// before, nor does a sync of all filesystems hang.
struct Alone {
    connections: PathBuf,
    before: BTreeSet<OsString>,
    mount: Option<Mount>,
    _lock: FileLock,
}

impl Alone {
    fn new() -> Self {
        let cache = p2v_tests::place::test_cache().unwrap();
        let lock = cache.join("userspace-disks.lock");
        let lock = FileLock::wait(&lock, "testing disks that only QEMU reaches").unwrap();
        let connections = tempfile::tempdir().unwrap().keep();
        let flags = MsFlags::empty();
        let mount = Mount::new("fusectl", &connections, "fusectl", flags, "").unwrap();
        Self {
            before: names(&connections),
            connections,
            mount: Some(mount),
            _lock: lock,
        }
    }
}

fn names(directory: &Path) -> BTreeSet<OsString> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

impl Drop for Alone {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let more = loop {
            let now = names(&self.connections);
            let more: Vec<OsString> = now.difference(&self.before).cloned().collect();
            if more.is_empty() || Instant::now() > deadline {
                break more;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        // The machine must not stay stuck, whatever the verdict.
        for connection in &more {
            let _ = std::fs::write(self.connections.join(connection).join("abort"), "1");
        }
        let mut sync = Command::new("sync").spawn().unwrap();
        let synced = outcome::wait(&mut sync, PATIENCE);
        if !std::thread::panicking() {
            assert!(more.is_empty(), "FUSE connections stayed: {more:?}");
            synced.unwrap();
        }
        drop(self.mount.take());
        let _ = std::fs::remove_dir(&self.connections);
    }
}

/// An image that is served as a network block device, as a storage would.
struct Served {
    server: Child,
    socket: PathBuf,
}

impl Served {
    fn new(lab: &Lab, image: &Path) -> Self {
        let socket = lab.dir().join("storage");
        let _ = std::fs::remove_file(&socket);
        let mut server = Command::new("qemu-nbd")
            .args(["--format=raw", "--persistent", "--discard=unmap"])
            .args(["--shared=2", "--export-name=web/1", "--socket"])
            .arg(&socket)
            .arg(image)
            .spawn()
            .unwrap();
        wait_for(&socket, &mut server);
        Self { server, socket }
    }

    fn uri(&self) -> String {
        format!("nbd+unix:///web/1?socket={}", self.socket.display())
    }

    fn end(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Waits until `path` is there, as long as `process` lives.
fn wait_for(path: &Path, process: &mut Child) {
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        let ended = process.try_wait().unwrap();
        assert!(ended.is_none(), "it ended: {ended:?}");
        assert!(Instant::now() < deadline, "no {}", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An instance whose disk has a URI and no path; it is `image` in truth.
fn instance(image: &Path, uri: &str) -> Instance {
    Instance::new(NAME, image)
        .without("DISK_0_PATH")
        .with("DISK_0_URI", uri)
        .with("DISK_0_BACKEND_TYPE", "block")
}

fn ready(test: &str) -> (Lab, PathBuf, Served) {
    let lab = Lab::new(test).unwrap();
    let image = lab.disk("disk.img", GIB).unwrap();
    let served = Served::new(&lab, &image);
    (lab, image, served)
}

/// Checks that nothing is left, once the test's own server has ended.
fn assert_nothing_left(lab: &Lab, mut served: Served) {
    served.end();
    lab.assert_nothing_left();
    let run = std::fs::read_dir(lab.state_dir().join("run")).unwrap();
    for directory in run.map(|entry| entry.unwrap().path()) {
        let inside = std::fs::read_dir(&directory).unwrap().count();
        assert_eq!(inside, 0, "{} is not empty", directory.display());
    }
}

/// Names, types, owners, modes and sizes in a root, as `find` prints them.
fn listing(lab: &Lab, created: &Created) -> Vec<String> {
    let root = created.mount(lab).unwrap();
    let output = Command::new("find")
        .args([".", "-printf", "%P %y %U:%G %m %l\n"])
        .current_dir(root.path())
        .output()
        .unwrap();
    root.close().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn create_makes_what_it_makes_on_a_path() {
    need_root!();
    let _alone = Alone::new();
    for (style, filesystem) in [("msdos", "ext4"), ("gpt", "btrfs"), ("none", "xfs")] {
        let (lab, image, served) = ready("uri-same");
        // A hook's daemon is ended, the disk's servers are not.
        let daemon = "#!/bin/sh\nsetsid sleep 3000 > /dev/null 2>&1 &\n";
        lab.hook("26-daemon", daemon).unwrap();
        let other = lab.disk("other.img", GIB).unwrap();
        let make = |instance: Instance| {
            let instance = instance
                .parameter("partition_style", style)
                .parameter("filesystem", filesystem);
            Created::make(&lab, &instance).unwrap()
        };
        let by_path = make(Instance::new(NAME, &other));
        let expected = listing(&lab, &by_path);
        let by_uri = make(instance(&image, &served.uri()));
        assert_nothing_left(&lab, served);
        assert_eq!(listing(&lab, &by_uri), expected, "{style} {filesystem}");
        assert!(expected.len() > 5000, "{}", expected.len());
        assert_eq!(image::label(&image), image::label(&other));
        if style != "none" {
            let (ours, theirs) = (image::partitions(&image), image::partitions(&other));
            let places = |found: Vec<p2v_sys::partition::Partition>| {
                let extents = found.into_iter().map(|part| part.extent);
                extents.collect::<Vec<_>>()
            };
            assert_eq!(places(ours.unwrap()), places(theirs.unwrap()));
        }
        let boots = image::has_boot_code(&image).unwrap();
        assert_eq!(boots, image::has_boot_code(&other).unwrap());
        let root = by_uri.mount(&lab).unwrap();
        let name = std::fs::read_to_string(root.path().join("etc/hostname")).unwrap();
        root.close().unwrap();
        assert_eq!(name.trim(), NAME);
    }
}

#[test]
fn other_syntax_a_rename_and_an_export() {
    need_root!();
    let _alone = Alone::new();
    let (lab, image, served) = ready("uri-other");
    let uri = format!("nbd:unix:{}:exportname=web/1", served.socket.display());
    let instance = instance(&image, &uri);
    lab.create(&instance).unwrap().assert_success();
    let mut renamed = instance.clone();
    renamed.name = "renamed.example.org".to_owned();
    let outcome = lab.rename(&renamed, NAME).unwrap();
    outcome.assert_success();
    assert!(outcome.log.contains("hostname"), "{}", outcome.log);
    let by_uri = export(&lab, &instance.with("EXPORT_DISK_URI", &uri));
    assert_nothing_left(&lab, served);
    let device = image.to_str().unwrap();
    let by_path = Instance::new(NAME, &image).with("EXPORT_DEVICE", device);
    let by_path = export(&lab, &by_path);
    let hash = |stream: &Path| image::hash(stream).unwrap();
    let length = by_path.metadata().unwrap().len();
    assert!((100 * MIB..600 * MIB).contains(&length), "{length}");
    assert_eq!(hash(&by_uri), hash(&by_path));
}

/// Runs `export` into a file.
fn export(lab: &Lab, instance: &Instance) -> PathBuf {
    let path = tempfile::NamedTempFile::new_in(lab.dir()).unwrap();
    let (_, path) = path.keep().unwrap();
    let output = Command::new(lab.os_dir().join("export"))
        .current_dir(lab.os_dir())
        .env_clear()
        .envs(instance.clone().with("EXPORT_INDEX", "0").environment())
        .envs(lab.directories())
        .stdin(Stdio::null())
        .stdout(File::create(&path).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    path
}

#[test]
fn what_cannot_be_opened() {
    need_root!();
    let _alone = Alone::new();
    let lab = Lab::new("uri-wrong").unwrap();
    let unused = Path::new("/unused");
    std::fs::write(lab.dir().join("small"), "no disk").unwrap();
    let small = format!("file:{}", lab.dir().join("small").display());
    for (uri, words) in [
        (
            "nbd+unix:///x?socket=/nonexistent/s",
            &["No such file or directory", "check the URI"][..],
        ),
        ("nbd://127.0.0.1:1/x", &["Connection refused"]),
        ("nbd+unix:///x?sock=/s", &["nbd+unix", "check the URI"]),
        ("nonsense:pool/x", &["Unknown protocol 'nonsense'"]),
        ("--help", &["'--help'", "No such file"]),
        ("file:/proc", &["/proc", "check the URI"]),
        (&small, &["needs at least"]),
    ] {
        let outcome = lab.create(&instance(unused, uri)).unwrap();
        outcome.assert_refused(words);
        assert_eq!(outcome.status.code(), Some(1));
        lab.assert_nothing_left();
    }
}

#[test]
fn an_export_name_that_the_server_does_not_have() {
    need_root!();
    let _alone = Alone::new();
    let (lab, image, served) = ready("uri-name");
    let uri = format!("nbd+unix:///web/2?socket={}", served.socket.display());
    let outcome = lab.create(&instance(&image, &uri)).unwrap();
    outcome.assert_refused(&["web/2", "not present", "check the URI"]);
    assert!(image::edges_are_blank(&image).unwrap());
    assert_nothing_left(&lab, served);
}

#[test]
fn killed_at_many_points_it_leaves_nothing() {
    need_root!();
    let _alone = Alone::new();
    let (lab, image, served) = ready("uri-killed");
    let instance = instance(&image, &served.uri());
    let whole = lab.create(&instance).unwrap().assert_success().took;
    let mut killed = 0;
    for point in 1..=8 {
        let running = lab.start_create(&instance).unwrap();
        std::thread::sleep(whole * point / 9);
        let _ = running.signal(Signal::SIGKILL);
        let outcome = running.finish(PATIENCE).unwrap();
        killed += u32::from(outcome.signal().is_some());
    }
    assert!(killed >= 2, "only {killed} runs were killed");
    lab.create(&instance).unwrap().assert_success();
    assert!(image::has_boot_code(&image).unwrap());
    assert_nothing_left(&lab, served);
}

/// Which program of those that serve the disk is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Storage,
    Nbd,
    Fuse,
}

impl Victim {
    fn kill(self, lab: &Lab, served: &mut Served) {
        let program = match self {
            Self::Storage => return served.end(),
            Self::Nbd => "qemu-nbd",
            Self::Fuse => "qemu-storage-daemon",
        };
        let run = lab.state_dir().join("run");
        let run = run.to_str().unwrap();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let found = entries.filter_map(|entry| {
            let arguments = std::fs::read(entry.path().join("cmdline")).ok()?;
            let arguments = String::from_utf8_lossy(&arguments).into_owned();
            let ours = arguments.starts_with(program) && arguments.contains(run);
            ours.then(|| entry.file_name().to_str()?.parse::<i32>().ok())?
        });
        let found: Vec<i32> = found.collect();
        assert_eq!(found.len(), 1, "{program}: {found:?}");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(found[0]), Signal::SIGKILL).unwrap();
    }
}

#[test]
fn a_server_that_is_killed_midway() {
    need_root!();
    let _alone = Alone::new();
    for (victim, words) in [
        (Victim::Storage, "has its server ended?"),
        (Victim::Nbd, "`qemu-nbd` ended with signal: 9"),
        (Victim::Fuse, "`qemu-storage-daemon` ended with signal: 9"),
    ] {
        let (lab, image, mut served) = ready("uri-ends");
        let (reached, go_on) = (lab.dir().join("reached"), lab.dir().join("go-on"));
        // With data that the kernel has not yet written out.
        let script = format!(
            "#!/bin/sh\nset -e\ndd if=/dev/urandom of=\"$TARGET/root/x\" bs=1M count=64 status=none\n\
             : > {}\nwhile [ ! -e {} ]; do sleep 0.05; done\n",
            reached.display(),
            go_on.display()
        );
        lab.hook("26-wait", &script).unwrap();
        let mut running = lab.start_create(&instance(&image, &served.uri())).unwrap();
        wait_for(&reached, &mut running.child);
        victim.kill(&lab, &mut served);
        File::create(&go_on).unwrap();
        let outcome = running.finish(PATIENCE).unwrap();
        outcome.assert_refused(&["userspace.example.org", words]);
        assert!(!image::has_boot_code(&image).unwrap(), "it may boot");
        assert!(!lab.state_of(NAME).exists(), "a state file was written");
        assert_nothing_left(&lab, served);
    }
}

#[test]
fn what_a_hanging_storage_holds_of_a_killed_run_goes_with_it() {
    need_root!();
    let _alone = Alone::new();
    let (lab, image, served) = ready("uri-hangs");
    let reached = lab.dir().join("reached");
    // Unwritten data, and then a write that waits for the server.
    let script = format!(
        "#!/bin/sh\nset -e\nwhile [ ! -e {}.stopped ]; do : > {0}; sleep 0.05; done\n\
         dd if=/dev/urandom of=\"$TARGET/root/x\" bs=1M count=64 conv=fsync status=none\n",
        reached.display()
    );
    lab.hook("26-wait", &script).unwrap();
    let mut running = lab.start_create(&instance(&image, &served.uri())).unwrap();
    wait_for(&reached, &mut running.child);
    let storage = nix::unistd::Pid::from_raw(served.server.id() as i32);
    nix::sys::signal::kill(storage, Signal::SIGSTOP).unwrap();
    File::create(reached.with_extension("stopped")).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(running.child.try_wait().unwrap().is_none(), "it has ended");
    running.signal(Signal::SIGKILL).unwrap();
    let outcome = running.finish(PATIENCE).unwrap();
    assert!(outcome.signal().is_some(), "{}", outcome.log);
    // What is left waits for the storage alone, and goes with it.
    assert_nothing_left(&lab, served);
}
