//! What the tests of this crate share: a nasty tree, a copy between two
//! threads, and rsync as the judge.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::fcntl::{FallocateFlags, fallocate};
use p2v_copy::{Progress, SendOptions};
use p2v_sys::Cmd;
use p2v_testing::tree;

/// A directory for one test, with two empty ones in it.
pub fn from_and_to() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let scratch = p2v_testing::scratch("copy");
    let [from, to] = ["from", "to"].map(|name| scratch.path().join(name));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    (scratch, from, to)
}

/// Copies in this process.
pub fn copy(from: &Path, to: &Path) -> Result<Progress> {
    copy_with(from, to, &SendOptions::default())
}

/// The same, otherwise than usual.
pub fn copy_with(from: &Path, to: &Path, options: &SendOptions) -> Result<Progress> {
    let (sent, received) = between(
        |far| p2v_copy::receive(to, far, far),
        |near| p2v_copy::send(from, near, near, options, &|_| {}),
    );
    sent.and_then(|progress| received.map(|_| progress))
}

/// What both ends of a connection come to; each goes when it has ended.
pub fn between<T, U: Send>(
    receive: impl FnOnce(&UnixStream) -> U + Send,
    work: impl FnOnce(&UnixStream) -> T,
) -> (T, U) {
    let (near, far) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let receiving = scope.spawn(move || receive(&far));
        let result = work(&near);
        drop(near);
        (result, receiving.join().expect("no panic"))
    })
}

/// rsync finds nothing to do.
pub fn judge(from: &Path, to: &Path) {
    let slash = |path: &Path| format!("{}/", path.display());
    let said = Cmd::new("rsync", "comparing")
        .args(["-aHAXSn", "--delete", "--itemize-changes", "--numeric-ids"])
        // XFS shows access control lists twice.
        .arg("--filter=-x trusted.SGI_ACL_*")
        .args([slash(from), slash(to)])
        .read()
        .unwrap();
    assert_eq!(said, "");
}

fn run(program: &str, args: &[&str], path: &Path) {
    Cmd::new(program, "making a fixture")
        .args(args)
        .arg(path)
        .run()
        .unwrap();
}

/// Everything that can be hard about a tree.
pub fn nasty(top: &Path) {
    let at = |name: &str| top.join(name);
    fs::create_dir_all(at("a/b/c")).unwrap();
    contents(top);
    tree::odd_names(top);
    tree::special_files(top, 500);
    attributes(top);
}

fn contents(top: &Path) {
    let at = |name: &str| top.join(name);
    let pattern =
        |length: usize| -> Vec<u8> { (0..length).map(|i| (i * 7 + i / 251) as u8).collect() };
    for length in [
        0,
        1,
        511,
        4096,
        131_072,
        131_073,
        262_144,
        3_000_001,
        5 << 20,
    ] {
        fs::write(at(&format!("size-{length}")), pattern(length)).unwrap();
    }
    for number in 0..300 {
        fs::write(at(&format!("a/b/c/small-{number}")), pattern(number * 13)).unwrap();
    }
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(100 << 30).unwrap();
    sparse.write_all_at(&pattern(70_000), 10 << 30).unwrap();
    fs::File::create(at("hole"))
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    let aside = fs::File::create(at("aside")).unwrap();
    if fallocate(&aside, FallocateFlags::empty(), 0, 20 << 20).is_err() {
        aside.set_len(20 << 20).unwrap();
    }
    aside.write_all_at(b"x", 50_000).unwrap();
    fs::write(at("zeros"), vec![0; 3 << 20]).unwrap();
}

fn attributes(top: &Path) {
    let at = |name: &str| top.join(name);
    tree::odd_modes(top);
    fs::create_dir(at("sticky")).unwrap();
    fs::set_permissions(at("sticky"), fs::Permissions::from_mode(0o3777)).unwrap();
    fs::write(at("sticky/file"), "in a directory with a group").unwrap();
    let set = |name: &str, attribute: &str, value: &[u8]| {
        xattr::set(at(name), attribute, value).unwrap();
    };
    set("symlink", "trusted.note", b"a symbolic link's");
    set("pipe", "trusted.note", b"a pipe's");
    set(
        "size-1",
        "security.selinux",
        b"system_u:object_r:etc_t:s0\0",
    );
    if Cmd::new("setfacl", "")
        .args(["-m", "u:1000:rw"])
        .arg(at("size-4096"))
        .run()
        .is_ok()
    {
        run("setfacl", &["-m", "u:1000:rwx", "-d"], &at("a/b"));
        fs::write(at("a/b/inherits"), "from its directory").unwrap();
        fs::create_dir_all(at("a/b/also/does")).unwrap();
    }
    set("a", "user.note", b"a directory's\0");
    set("size-511", "user.long", &[7; 3000]);
    set("size-511", "user.empty", b"");
    run("chattr", &["+i"], &at("size-4096"));
    run("chattr", &["+a"], &at("a/b/c/small-7"));
    run("chattr", &["+d"], &at("a/b/c/small-8"));
}

/// Lets trees be removed.
pub fn unlock_all(tops: &[&Path]) {
    for top in tops {
        let command = Cmd::new("chattr", "unlocking").args(["-R", "-f", "-i", "-a"]);
        // It complains of devices, too.
        let _ = command.arg(top).run();
    }
}
