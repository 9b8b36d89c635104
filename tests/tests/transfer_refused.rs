//! `p2v transfer` as people and scripts call it, where it must come to nothing:
//! by SSH, to this machine itself, which does not run in RAM.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::mount::MsFlags;
use p2v_sys::filesystem::Filesystem;
use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_sys::{Cmd, Mount};
use p2v_tests::sshd::{Place, Sshd};
use p2v_tests::{Lab, MIB, image, manifest, need_root};

const UUID: &str = "11111111-2222-3333-4444-5555555555bb";

/// A machine without a kernel, on a disk of its own.
fn machine(lab: &Lab) -> PathBuf {
    let disk = lab.disk("old.img", 100 * MIB).unwrap();
    let make = Cmd::new("sfdisk", "making a table").arg("--quiet");
    let make = make.arg(&disk).stdin("label: dos\nsize=80M, bootable\n");
    make.run().unwrap();
    let extent: Extent = image::partitions(&disk).unwrap()[0].extent;
    let device = LoopDevice::attach(&disk, extent, false).unwrap();
    Filesystem::Ext4.create(device.path(), UUID).unwrap();
    let top = lab.dir().join("mnt");
    std::fs::create_dir(&top).unwrap();
    let mount = Mount::new(device.path(), &top, "ext4", MsFlags::empty(), "").unwrap();
    std::fs::create_dir(top.join("etc")).unwrap();
    std::fs::write(top.join("etc/fstab"), format!("UUID={UUID} / ext4\n")).unwrap();
    mount.close().unwrap();
    device.close().unwrap();
    disk
}

fn server(lab: &Lab) -> Sshd {
    let agent = format!("{} agent", lab.binary().display());
    Sshd::start(lab.dir(), lab.key(), Place::Loopback, Some(&agent)).unwrap()
}

fn transfer(lab: &Lab, server: &Sshd, options: &[&str]) -> Output {
    Command::new(lab.binary())
        .args(["transfer", "--target", "127.0.0.1", "--port"])
        .arg(server.port().to_string())
        .arg("--identity")
        .arg(lab.key().path())
        .arg("--report-dir")
        .arg(lab.dir().join("report"))
        .args(options)
        .env("TMPDIR", lab.dir())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Nothing came of it, and why is said once.
fn assert_refused(output: &Output, report: &Path, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
    let errors = said.matches("p2v: error: ").count();
    assert_eq!(errors, 1, "{said}");
    assert!(!report.exists(), "nobody agreed to anything: {said}");
}

#[test]
fn all_that_speaks_against_it_is_said_at_once() {
    need_root!();
    let lab = Lab::new("transfer-refused").unwrap();
    let disk = machine(&lab);
    let before = manifest::hash_of_sparse(&disk).unwrap();
    let server = server(&lab);
    let key = server.fingerprint().unwrap();
    let source = disk.to_str().unwrap();
    // --dry-run too: what lies on this machine's disks is somebody's.
    let options = ["--source", source, "--host-key", &key, "--dry-run", "--yes"];
    let output = transfer(&lab, &server, &options);
    let words = [
        "is not running in RAM",
        "the system has no kernel",
        "nothing was written",
    ];
    assert_refused(&output, &lab.dir().join("report"), &words);
    assert_eq!(manifest::hash_of_sparse(&disk).unwrap(), before);
    drop(server);
    lab.assert_nothing_left();
}

#[test]
fn a_host_key_that_nobody_vouches_for_ends_it() {
    need_root!();
    let lab = Lab::new("transfer-host-key").unwrap();
    let server = server(&lab);
    let report = lab.dir().join("report");
    // No disk is looked at for this.
    let output = transfer(&lab, &server, &["--status"]);
    let key = server.fingerprint().unwrap();
    assert_refused(&output, &report, &[&key, "no terminal", "--host-key"]);
    let other = format!("SHA256:{}", "a".repeat(43));
    let output = transfer(&lab, &server, &["--status", "--host-key", &other]);
    assert_refused(&output, &report, &[&key, &other, "another machine"]);
    // With the right one the target answers: that it is the wrong machine.
    let output = transfer(&lab, &server, &["--status", "--host-key", &key]);
    assert_refused(&output, &report, &["127.0.0.1", "RAM"]);
    assert!(output.stdout.is_empty());
    for wrong in [
        &["--progress", "loud"][..],
        &["--hostname", "mine"],
        // The plan has its own word on that.
        &["--plan", "plan.json", "--hostname", "keep"],
    ] {
        let output = transfer(&lab, &server, wrong);
        assert_eq!(output.status.code(), Some(64), "{}", said(&output));
    }
    drop(server);
    lab.assert_nothing_left();
}
