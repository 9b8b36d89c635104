//! What the tests of this crate share: a nasty tree, a copy between two
//! threads, and rsync as the judge.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Result;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use p2v_copy::{Progress, SendOptions};
use p2v_sys::Cmd;

/// Ends a test visibly that needs root.
#[macro_export]
macro_rules! need_root {
    () => {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: copying needs root");
            return;
        }
    };
}

/// A directory for one test.
pub fn scratch() -> tempfile::TempDir {
    let place = std::env::var("P2V_TEST_SCRATCH").unwrap_or("/var/tmp".into());
    tempfile::Builder::new()
        .prefix("p2v-copy-")
        .tempdir_in(place)
        .unwrap()
}

/// Copies in this process.
pub fn copy(from: &Path, to: &Path) -> Result<Progress> {
    copy_with(from, to, &SendOptions::default())
}

/// The same, otherwise than usual.
pub fn copy_with(from: &Path, to: &Path, options: &SendOptions) -> Result<Progress> {
    let (near, far) = UnixStream::pair()?;
    std::thread::scope(|scope| {
        let receiving = scope.spawn(move || p2v_copy::receive(to, &far, &far));
        let sent = p2v_copy::send(from, &near, &near, options, &|_| {});
        drop(near);
        let received = receiving.join().expect("no panic");
        sent.and_then(|progress| received.map(|_| progress))
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
    for name in [
        &b"new\nline"[..],
        b" spaces ",
        b"-rf",
        b"\xff\xfe invalid \x80",
        b"tab\tquote\"back\\slash*?",
        &[b'n'; 255],
    ] {
        fs::write(top.join(OsStr::from_bytes(name)), name).unwrap();
    }
    special(top);
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

fn special(top: &Path) {
    let at = |name: &str| top.join(name);
    fs::write(at("linked"), "one of many").unwrap();
    for number in 0..500 {
        fs::hard_link(at("linked"), at(&format!("a/b/link-{number}"))).unwrap();
    }
    symlink("linked", at("symlink")).unwrap();
    fs::hard_link(at("symlink"), at("a/hard-link-to-symlink")).unwrap();
    symlink("/nowhere/at/all", at("dangling")).unwrap();
    symlink("x/".repeat(400), at("long-symlink")).unwrap();
    lchown(at("dangling"), Some(7), Some(8)).unwrap();
    let node = |name: &str, kind, mode, device| {
        mknod(&at(name), kind, Mode::from_bits_truncate(mode), device).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    node("character", SFlag::S_IFCHR, 0o666, makedev(1, 3));
    node("block", SFlag::S_IFBLK, 0o640, makedev(259, 200_000));
    node("pipe", SFlag::S_IFIFO, 0o600, 0);
    node("socket", SFlag::S_IFSOCK, 0o755, 0);
    lchown(at("block"), Some(0), Some(6)).unwrap();
    fs::hard_link(at("pipe"), at("a/pipe-again")).unwrap();
}

fn attributes(top: &Path) {
    let at = |name: &str| top.join(name);
    for (name, mode, user, group) in [
        ("setuid", 0o4755, 0, 0),
        ("setuid-other", 0o6711, 1000, 1001),
        ("secret", 0o000, 33, 0),
        ("read-only", 0o400, 4_000_000_000, 3_000_000_000),
    ] {
        fs::write(at(name), name).unwrap();
        lchown(at(name), Some(user), Some(group)).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(at("sticky")).unwrap();
    fs::set_permissions(at("sticky"), fs::Permissions::from_mode(0o3777)).unwrap();
    fs::write(at("sticky/file"), "in a directory with a group").unwrap();
    fs::write(at("capable"), "ping").unwrap();
    lchown(at("capable"), Some(5), Some(5)).unwrap();
    run("setcap", &["cap_net_raw+ep"], &at("capable"));
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

/// Mounts made by this thread are seen by nobody else.
pub fn private_mounts() {
    use nix::mount::{MsFlags, mount};
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
}
