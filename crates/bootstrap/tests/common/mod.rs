//! A small tree with everything that a tree can have, and a way to compare
//! two of them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Whether the test can run; says so visibly if not.
pub fn root_or_skip() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: needs root");
    }
    root
}

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
    let kernel = "6.10.0-1-amd64";
    for directory in ["boot", "dev", "etc", "usr/bin", "var/log/journal"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    for version in ["6.9.0-1-amd64", kernel] {
        std::fs::create_dir_all(root.join("usr/lib/modules").join(version)).unwrap();
        std::fs::write(root.join(format!("boot/vmlinuz-{version}")), "kernel").unwrap();
    }
    std::fs::write(root.join("boot/vmlinuz-7.0-without-modules"), "").unwrap();

    let program = root.join("usr/bin/program");
    let mut file = File::create(&program).unwrap();
    for number in 0..700_000_u32 {
        file.write_all(&number.wrapping_mul(2_654_435_761).to_le_bytes())
            .unwrap();
    }
    chown(&program, Some(4711), Some(3_000_000)).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o6755)).unwrap();
    xattr::set(&program, "security.capability", &CAPABILITY).unwrap();
    std::fs::hard_link(&program, root.join("usr/bin/again")).unwrap();
    std::fs::hard_link(&program, root.join("etc/third")).unwrap();

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

    symlink("/absolute/and/dangling", root.join("etc/link")).unwrap();
    symlink("x".repeat(300), root.join("etc/long-link")).unwrap();
    symlink("./../usr//bin/", root.join("etc/untidy-link")).unwrap();
    lchown(root.join("etc/link"), Some(7), Some(8)).unwrap();
    let deep = root.join("d".repeat(120)).join("e".repeat(200));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join(OsStr::from_bytes(b"not\xffutf\n8")), "y").unwrap();

    let (null, disk) = (makedev(1, 3), makedev(259, 70_000));
    mknod(
        &root.join("dev/null"),
        SFlag::S_IFCHR,
        Mode::from_bits_truncate(0o666),
        null,
    )
    .unwrap();
    mknod(
        &root.join("dev/disk"),
        SFlag::S_IFBLK,
        Mode::from_bits_truncate(0o660),
        disk,
    )
    .unwrap();
    nix::unistd::mkfifo(&root.join("dev/fifo"), Mode::from_bits_truncate(0o600)).unwrap();

    for (path, seconds, nanoseconds) in [
        ("etc/shadow", 1_000_000_000, 5),
        ("usr/bin/program", 1_700_000_000, 0),
        ("var/log/journal", 1_600_000_000, 123_456_789),
        ("usr", 1_500_000_000, 0),
        ("", 1_400_000_000, 0),
    ] {
        let time = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        File::open(root.join(path))
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
}

/// Everything about a tree that must survive, a line for each path.
pub fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut first_names = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let full = root.join(&path);
        let metadata = std::fs::symlink_metadata(&full).unwrap();
        if metadata.is_dir() {
            for entry in std::fs::read_dir(&full).unwrap() {
                open.push(path.join(entry.unwrap().file_name()));
            }
        }
        let content = if metadata.is_file() {
            blake3::hash(&std::fs::read(&full).unwrap()).to_string()
        } else if metadata.is_symlink() {
            format!("{:?}", std::fs::read_link(&full).unwrap())
        } else {
            String::new()
        };
        let mut attributes: Vec<_> = xattr::list(&full)
            .unwrap()
            .map(|name| (name.clone(), xattr::get(&full, &name).unwrap()))
            .collect();
        attributes.sort();
        // Which names are one file: the least name stands for the inode.
        let least = first_names
            .entry(metadata.ino())
            .or_insert_with(|| path.clone());
        *least = path.clone().min(least.clone());
        let size = if metadata.is_dir() { 0 } else { metadata.len() };
        let links = if metadata.is_dir() {
            0
        } else {
            metadata.nlink()
        };
        let line = format!(
            "mode {:o} owner {}:{} time {}.{:09} size {size} links {links} device {} {content} {attributes:?}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.rdev(),
        );
        found.insert(path, line);
    }
    for (path, line) in &mut found {
        let inode = std::fs::symlink_metadata(root.join(path)).unwrap().ino();
        line.push_str(&format!(" same as {:?}", first_names[&inode]));
    }
    found
}
