//! `p2v transfer` and the agent as they are installed, over SSH, with a RAM
//! system that needs no machine: what each option leaves on the target, and what
//! is said when the target's last answer is lost.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::mount::MsFlags;
use p2v_sys::filesystem::Filesystem;
use p2v_sys::loopdev::LoopDevice;
use p2v_sys::partition::Partition;
use p2v_sys::{Cmd, Mount};
use p2v_tests::moving::Running;
use p2v_tests::ram_target::RamTarget;
use p2v_tests::ssh::Key;
use p2v_tests::sshd::Sshd;
use p2v_tests::{Lab, MIB, Outcome, image, manifest, need_root};
use serde_json::Value;

const ROOT: &str = "11111111-2222-3333-4444-5555555555c1";
const HOME: &str = "11111111-2222-3333-4444-5555555555c2";

/// Hundreds of times what an idle machine needs.
const LONGEST: Duration = Duration::from_secs(500);

/// A machine, a target that waits for it, and what is said between them.
struct Move {
    lab: Lab,
    source: PathBuf,
    before: blake3::Hash,
    disk: PathBuf,
    target: RamTarget,
}

impl Move {
    fn new(name: &str, mute: bool) -> Self {
        let lab = Lab::new(name).unwrap();
        let source = machine(&lab);
        let before = manifest::hash_of_sparse(&source).unwrap();
        let disk = lab.disk("target.img", 600 * MIB).unwrap();
        let target = RamTarget::start(&lab, &disk, mute).unwrap();
        Self {
            lab,
            source,
            before,
            disk,
            target,
        }
    }

    fn report(&self) -> PathBuf {
        self.lab.dir().join("report")
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(self.lab.binary());
        command
            .args(["transfer", "--target", "127.0.0.1", "--port"])
            .arg(self.target.port().to_string())
            .arg("--identity")
            .arg(self.lab.key().path())
            .args(["--host-key", &self.target.fingerprint().unwrap()])
            .arg("--report-dir")
            .arg(self.report())
            .env("TMPDIR", self.lab.dir());
        if !options.contains(&"--status") {
            command.arg("--source").arg(&self.source).arg("--yes");
        }
        command.args(options);
        command
    }

    fn start(&self, options: &[&str]) -> Running {
        Running::start(&mut self.command(options), self.lab.dir()).unwrap()
    }

    /// Runs it to its end, which must have that status.
    fn run(&self, options: &[&str], status: i32) -> String {
        self.ended(self.start(options), status)
    }

    fn ended(&self, running: Running, status: i32) -> String {
        let Outcome {
            status: ended, log, ..
        } = running.finish(LONGEST).unwrap();
        assert_eq!(ended.code(), Some(status), "{log}");
        let after = manifest::hash_of_sparse(&self.source).unwrap();
        assert_eq!(after, self.before, "the source was written to: {log}");
        log
    }

    /// The one report that there is.
    fn told(&self) -> Value {
        let entries = std::fs::read_dir(self.report()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut found: Vec<PathBuf> = paths
            .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        serde_json::from_slice(&std::fs::read(found.remove(0)).unwrap()).unwrap()
    }

    /// Reads a file of a partition of the target's disk, which nobody uses.
    fn read(&self, partition: usize, path: &str) -> Vec<u8> {
        let partitions = image::partitions(&self.disk).unwrap();
        mounted(&self.lab, &self.disk, &partitions[partition], |top| {
            std::fs::read(top.join(path)).unwrap()
        })
    }

    fn done(self) {
        drop(self.target);
        self.lab.assert_nothing_left();
    }
}

/// Does `work` with a partition mounted.
fn mounted<T>(lab: &Lab, disk: &Path, partition: &Partition, work: impl FnOnce(&Path) -> T) -> T {
    let top = lab.dir().join("mnt");
    std::fs::create_dir_all(&top).unwrap();
    let device = LoopDevice::attach(disk, partition.extent, false).unwrap();
    let mount = Mount::new(device.path(), &top, "ext4", MsFlags::empty(), "").unwrap();
    let result = work(&top);
    mount.close().unwrap();
    device.close().unwrap();
    result
}

/// A machine with a root and a /home, on a disk of its own.
fn machine(lab: &Lab) -> PathBuf {
    let disk = lab.disk("old.img", 400 * MIB).unwrap();
    let make = Cmd::new("sfdisk", "making a table").arg("--quiet");
    let table = "label: dos\nsize=150M, bootable\nsize=100M\n";
    make.arg(&disk).stdin(table).run().unwrap();
    let partitions = image::partitions(&disk).unwrap();
    for (partition, uuid) in partitions.iter().zip([ROOT, HOME]) {
        let device = LoopDevice::attach(&disk, partition.extent, false).unwrap();
        Filesystem::Ext4.create(device.path(), uuid).unwrap();
        device.close().unwrap();
    }
    let fstab = format!("UUID={ROOT} / ext4 defaults 0 1\nUUID={HOME} /home ext4 defaults 0 2\n");
    mounted(lab, &disk, &partitions[0], |top| {
        for directory in [
            "boot",
            "etc/ssh",
            "home",
            "sbin",
            "lib/modules/6.1.0",
            "proc",
        ] {
            std::fs::create_dir_all(top.join(directory)).unwrap();
        }
        for (path, text) in [
            ("etc/fstab", fstab.as_str()),
            ("etc/hostname", "old1\n"),
            ("etc/os-release", "PRETTY_NAME=\"Some Linux\"\nID=some\n"),
            ("boot/vmlinuz-6.1.0", "a kernel"),
        ] {
            std::fs::write(top.join(path), text).unwrap();
        }
        Key::generate(&top.join("etc/ssh/ssh_host_ed25519_key")).unwrap();
    });
    mounted(lab, &disk, &partitions[1], |top| {
        std::fs::write(top.join("letter"), "dear all").unwrap();
    });
    disk
}

/// The machine after its restart, as far as SSH goes.
fn restarted(it: &Move) -> Sshd {
    let dir = it.lab.dir().join("restarted");
    std::fs::create_dir(&dir).unwrap();
    let name = "ssh_host_ed25519_key";
    for name in [name, "ssh_host_ed25519_key.pub"] {
        let bytes = it.read(0, &format!("etc/ssh/{name}"));
        std::fs::write(dir.join(name), bytes).unwrap();
    }
    let path = dir.join(name);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let key = Key::at(&path).unwrap();
    Sshd::with_host_key(key, it.lab.key(), it.target.port()).unwrap()
}

fn says(log: &str, words: &[&str]) {
    for word in words {
        assert!(log.contains(word), "{word:?} is missing in {log}");
    }
}

#[test]
fn a_dry_run_shows_and_keeps_the_plan_and_writes_nothing() {
    need_root!();
    let it = Move::new("transfer-dry-run", false);
    let before = manifest::hash_of_sparse(&it.disk).unwrap();
    let file = it.lab.dir().join("plan.json");
    let plan = file.to_str().unwrap();
    let log = it.run(&["--dry-run", "--save-plan", plan], 0);
    says(
        &log,
        &[
            "a dry run: nothing was written",
            "vdt1",
            "/home",
            "the data fits",
        ],
    );
    let saved: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(saved["disks"][0]["device"], "/dev/vdt");
    // One that is no plan is named, and read before anything is asked for.
    std::fs::write(&file, "{}").unwrap();
    let log = it.run(&["--plan", plan], 1);
    says(&log, &["p2v: error: ", plan]);
    let log = it.run(&["--status"], 0);
    assert_eq!(log.lines().next(), Some("none"), "{log}");
    assert_eq!(manifest::hash_of_sparse(&it.disk).unwrap(), before);
    assert!(!it.report().exists());
    it.done();
}

#[test]
fn an_edited_plan_is_followed_and_the_target_left_in_ram() {
    need_root!();
    let mut it = Move::new("transfer-plan", false);
    let file = it.lab.dir().join("plan.json");
    let plan = file.to_str().unwrap();
    it.run(&["--dry-run", "--save-plan", plan], 0);
    let mut edited: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let volume = &mut edited["disks"][0]["volumes"][1];
    let (wanted, default) = (120 * MIB, volume["size"].as_u64().unwrap());
    assert_ne!(default, wanted);
    volume["size"] = wanted.into();
    volume["identity"]["label"] = "people".into();
    edited["hostname"] = "instance".into();
    std::fs::write(&file, edited.to_string()).unwrap();
    let log = it.run(&["--plan", plan, "--no-restart", "--verify"], 0);
    says(
        &log,
        &[
            "both sides are equal",
            "the instance may be restarted",
            "gnt-instance reboot",
        ],
    );
    let report = it.told();
    assert_eq!(report["outcome"], "moved", "{report}");
    assert_eq!(report["restarted"], false);
    assert_eq!(report["unconfirmed"], Value::Null);
    assert_eq!(report["plan"]["hostname"], "instance");
    let partitions = image::partitions(&it.disk).unwrap();
    assert_eq!(partitions[1].extent.length, wanted);
    let home = image::probe(&it.disk, partitions[1].extent).unwrap();
    assert_eq!((home.kind.as_str(), home.uuid.as_str()), ("ext4", HOME));
    assert_eq!(it.read(1, "letter"), b"dear all");
    let fstab = String::from_utf8(it.read(0, "etc/fstab")).unwrap();
    says(&fstab, &[&format!("UUID={HOME} /home ext4")]);
    // It waits, and says how far it came.
    let status = it.run(&["--status"], 0);
    assert_eq!(status.lines().next(), Some("finished"), "{status}");
    assert!(it.target.is_running().unwrap());
    it.done();
}

#[test]
fn a_lost_last_answer_is_found_out_from_who_answers_next() {
    need_root!();
    let mut it = Move::new("transfer-restart", true);
    let running = it.start(&[]);
    it.target.wait_for_end(LONGEST).unwrap();
    let moved = restarted(&it);
    let log = it.ended(running, 0);
    says(
        &log,
        &[
            "its answer was lost",
            "the moved machine answers in the target's place",
        ],
    );
    let report = it.told();
    assert_eq!(report["outcome"], "moved", "{report}");
    assert_eq!(report["restarted"], true);
    assert_eq!(report["unconfirmed"], Value::Null);
    drop(moved);
    it.done();
}

#[test]
fn whether_a_stranger_is_the_moved_machine_is_said_to_be_unknown() {
    need_root!();
    let mut it = Move::new("transfer-unknown", true);
    let running = it.start(&[]);
    it.target.wait_for_end(LONGEST).unwrap();
    let dir = it.lab.dir().join("stranger");
    std::fs::create_dir(&dir).unwrap();
    let key = Key::generate(&dir.join("host_key")).unwrap();
    let stranger = Sshd::with_host_key(key, it.lab.key(), it.target.port()).unwrap();
    let log = it.ended(running, 2);
    let words = [
        "NOT KNOWN",
        &stranger.fingerprint().unwrap(),
        "gnt-instance console",
    ];
    says(&log, &words);
    let report = it.told();
    assert_eq!(report["restarted"], true);
    says(report["unconfirmed"].as_str().unwrap(), &["host key"]);
    drop(stranger);
    it.done();
}
