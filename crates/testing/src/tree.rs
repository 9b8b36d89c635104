//! Parts of trees that copies often lose.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Files in `top` whose names need quotes, look like options, or are no text.
pub fn odd_names(top: &Path) {
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
}

/// Links of each kind, devices, pipes and sockets in `top`, in which `a/b` is;
/// there are so many more names, `link-0` and so on, of the file `linked`. Needs
/// root.
pub fn special_files(top: &Path, links: u32) {
    let at = |name: &str| top.join(name);
    fs::write(at("linked"), "one of many").unwrap();
    for number in 0..links {
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

/// Files of owners, modes and capabilities in `top` that not everybody can set.
/// Needs root, and setcap.
pub fn odd_modes(top: &Path) {
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
    fs::write(at("capable"), "ping").unwrap();
    lchown(at("capable"), Some(5), Some(5)).unwrap();
    let mut setcap = Command::new("setcap");
    let status = setcap.arg("cap_net_raw+ep").arg(at("capable")).status();
    assert!(status.unwrap().success(), "setcap");
}
