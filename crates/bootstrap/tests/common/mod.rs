//! A small tree with everything that a tree can have.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// An access ACL in the kernel's form, for user 10: that is a newline.
fn acl() -> Vec<u8> {
    let none = u32::MAX;
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (0x01_u16, 6_u16, none),
        (0x02, 4, 10),
        (0x04, 4, none),
        (0x10, 6, none),
        (0x20, 0, none),
    ] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// cap_setuid, cap_kill... : the kernel's form of version 2, with a newline in
/// the set.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0x0a, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Fills the new directory `root` with a tree that looks like a bootstrap root
/// to the cache, and has every kind of file and attribute.
pub fn make_tree(root: &Path) {
    for directory in ["boot", "dev", "etc", "usr/bin", "var/log/journal"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    add_kernels(root);
    add_program(root);
    add_access_lists(root);
    add_links_and_names(root);
    add_devices(root);
    for (path, seconds, nanoseconds) in [
        ("etc/shadow", 1_000_000_000, 5),
        ("usr/bin/program", 1_700_000_000, 0),
        ("var/log/journal", 1_600_000_000, 123_456_789),
        ("usr", 1_500_000_000, 0),
        ("", 1_400_000_000, 0),
    ] {
        let time = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        let file = File::open(root.join(path)).unwrap();
        file.set_modified(time).unwrap();
    }
}

/// Two kernels with modules, and an image of a newer one without.
fn add_kernels(root: &Path) {
    for version in ["6.9.0-1-amd64", "6.10.0-1-amd64"] {
        std::fs::create_dir_all(root.join("usr/lib/modules").join(version)).unwrap();
        std::fs::write(root.join(format!("boot/vmlinuz-{version}")), "kernel").unwrap();
    }
    std::fs::write(root.join("boot/vmlinuz-7.0-without-modules"), "").unwrap();
}

/// A file of 2.8 MB that hardly compresses, by three names, with all that an
/// inode can say of who may run it.
fn add_program(root: &Path) {
    let program = root.join("usr/bin/program");
    let words = (0..700_000_u32).map(|number| number.wrapping_mul(2_654_435_761));
    let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    std::fs::write(&program, bytes).unwrap();
    chown(&program, Some(4711), Some(3_000_000)).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o6755)).unwrap();
    xattr::set(&program, "security.capability", &CAPABILITY).unwrap();
    std::fs::hard_link(&program, root.join("usr/bin/again")).unwrap();
    std::fs::hard_link(&program, root.join("etc/third")).unwrap();
}

fn add_access_lists(root: &Path) {
    let shadow = root.join("etc/shadow");
    std::fs::write(&shadow, "").unwrap();
    std::fs::set_permissions(&shadow, PermissionsExt::from_mode(0o640)).unwrap();
    xattr::set(&shadow, "user.comment", b"several\nlines\n").unwrap();
    xattr::set(&shadow, "system.posix_acl_access", &acl()).unwrap();

    let journal = root.join("var/log/journal");
    xattr::set(&journal, "system.posix_acl_default", &acl()).unwrap();
    std::fs::write(journal.join("inherits-an-acl"), "x").unwrap();
    std::fs::set_permissions(&journal, PermissionsExt::from_mode(0o2755)).unwrap();
    std::fs::set_permissions(root.join("etc"), PermissionsExt::from_mode(0o500)).unwrap();
}

fn add_links_and_names(root: &Path) {
    symlink("/absolute/and/dangling", root.join("etc/link")).unwrap();
    symlink("x".repeat(300), root.join("etc/long-link")).unwrap();
    symlink("./../usr//bin/", root.join("etc/untidy-link")).unwrap();
    lchown(root.join("etc/link"), Some(7), Some(8)).unwrap();
    let deep = root.join("d".repeat(120)).join("e".repeat(200));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join(OsStr::from_bytes(b"not\xffutf\n8")), "y").unwrap();
}

fn add_devices(root: &Path) {
    for (name, kind, mode, device) in [
        ("dev/null", SFlag::S_IFCHR, 0o666, makedev(1, 3)),
        ("dev/disk", SFlag::S_IFBLK, 0o660, makedev(259, 70_000)),
        ("dev/fifo", SFlag::S_IFIFO, 0o600, 0),
    ] {
        let mode = Mode::from_bits_truncate(mode);
        mknod(&root.join(name), kind, mode, device).unwrap();
    }
}
