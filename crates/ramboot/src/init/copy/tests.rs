//! The copy against its original, attribute by attribute, from every kind of
//! filesystem onto a real tmpfs. Needs root.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, FallocateFlags, fallocate};
use nix::mount::MsFlags;
use nix::sys::time::TimeSpec;
use p2v_sys::loopdev::Extent;
use p2v_sys::{Cmd, LoopDevice, Mount};

use super::*;
use crate::init::tree::Tree;

/// Everything a tree can have.
fn fill(top: &Path) {
    let at = |name: &str| top.join(name);
    fs::create_dir_all(at("a/b/c")).unwrap();
    fs::create_dir(at("empty")).unwrap();
    fs::create_dir(at("shared")).unwrap();
    fs::write(at("shared/file"), "in a setgid directory").unwrap();
    lchown(at("shared"), Some(1000), Some(50)).unwrap();
    set_mode(&at("shared"), 0o2775);
    set_mode(&at("empty"), 0o1777);
    data(top);
    p2v_testing::tree::odd_names(top);
    p2v_testing::tree::special_files(top, 3);
    attributes(top);
    // Last, and directories too, since everything before changed them.
    for (place, path) in all(top).iter().enumerate() {
        let seconds = 1_000_000_000 + place as i64;
        let accessed = TimeSpec::new(seconds, 123_456_789);
        let modified = TimeSpec::new(-5 * seconds / 4 * (place as i64 % 2), 987_654_321);
        let flags = nix::sys::stat::UtimensatFlags::NoFollowSymlink;
        utimensat_at(path, &accessed, &modified, flags);
    }
}

fn utimensat_at(
    path: &Path,
    accessed: &TimeSpec,
    modified: &TimeSpec,
    flags: nix::sys::stat::UtimensatFlags,
) {
    nix::sys::stat::utimensat(AT_FDCWD, path, accessed, modified, flags).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn data(top: &Path) {
    let pattern = |length: usize, seed: usize| -> Vec<u8> {
        (0..length)
            .map(|i| (i * 7 + i / 251 + seed) as u8)
            .collect()
    };
    for (place, length) in [0, 1, 511, 512, 4095, 4096, 4097, 100_000]
        .into_iter()
        .enumerate()
    {
        fs::write(top.join(format!("size-{length}")), pattern(length, place)).unwrap();
    }
    for number in 0..300 {
        let name = format!("a/b/c/small-{number}");
        fs::write(top.join(name), pattern(number * 13, number)).unwrap();
    }
    // Longer than one read, and in pieces that come from two places at once.
    let (one, two) = (top.join("large-1"), top.join("large-2"));
    let (one, two) = (
        fs::File::create(one).unwrap(),
        fs::File::create(two).unwrap(),
    );
    for block in 0..9_u64 {
        let bytes = pattern(700_001, block as usize);
        one.write_all_at(&bytes, block * 700_001).unwrap();
        one.sync_all().unwrap();
        two.write_all_at(&bytes, block * 700_001).unwrap();
        two.sync_all().unwrap();
    }
    // Holes at the start, in between and at the end.
    let sparse = fs::File::create(top.join("sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    sparse.write_all_at(&pattern(5000, 1), 10 << 20).unwrap();
    sparse.write_all_at(&pattern(70_000, 2), 30 << 20).unwrap();
    fs::File::create(top.join("hole"))
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    // Space that was set aside, and is read as zeros.
    let aside = fs::File::create(top.join("aside")).unwrap();
    set_aside(&aside, FallocateFlags::empty(), 200_000);
    aside.write_all_at(b"x", 50_000).unwrap();
    let beyond = fs::File::create(top.join("beyond")).unwrap();
    beyond.write_all_at(b"short", 0).unwrap();
    set_aside(&beyond, FallocateFlags::FALLOC_FL_KEEP_SIZE, 100_000);
}

fn set_aside(file: &fs::File, flags: FallocateFlags, length: i64) {
    match fallocate(file, flags, 0, length) {
        // ext2 and ext3 cannot.
        Err(nix::errno::Errno::EOPNOTSUPP) => file.set_len(60_000).unwrap(),
        other => other.unwrap(),
    }
}

fn attributes(top: &Path) {
    let at = |name: &str| top.join(name);
    p2v_testing::tree::odd_modes(top);
    let run = |program: &str, args: &[&str], name: &str| {
        let command = Cmd::new(program, "making a fixture").args(args);
        command.arg(at(name)).run().unwrap();
    };
    run("setfacl", &["-m", "u:1000:rw,g:50:r,m::rw"], "size-4096");
    run("setfacl", &["-m", "u:1000:rwx", "-d"], "a/b");
    run("setfacl", &["-m", "u:1001:r"], "a/b/link-1");
    xattr::set(at("a"), "user.note", b"a directory's\0").unwrap();
    xattr::set(at("size-1"), "user.note", &[7; 700]).unwrap();
    xattr::set(at("symlink"), "trusted.note", b"a symbolic link's").unwrap();
    xattr::set(at("pipe"), "trusted.note", b"a pipe's").unwrap();
}

/// Every path below and including `top`, sorted.
fn all(top: &Path) -> Vec<PathBuf> {
    let mut paths = vec![top.to_owned()];
    let mut next = 0;
    while next < paths.len() {
        if paths[next].symlink_metadata().unwrap().is_dir() {
            let entries = fs::read_dir(&paths[next]).unwrap();
            let mut inside: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
            inside.sort();
            paths.extend(inside);
        }
        next += 1;
    }
    paths
}

/// All that can be said of one file, as text, so that a difference shows.
fn describe(top: &Path, path: &Path, first_names: &mut BTreeMap<u64, PathBuf>) -> String {
    let metadata = path.symlink_metadata().unwrap();
    let name = path.strip_prefix(top).unwrap().to_owned();
    let kind = metadata.file_type();
    let mut text = format!(
        "mode {:o} owner {}:{} device {} accessed {}.{} modified {}.{}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        metadata.rdev(),
        metadata.atime(),
        metadata.atime_nsec(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    );
    if !kind.is_dir() {
        let first = first_names.entry(metadata.ino()).or_insert(name);
        text += &format!(" same as {first:?} links {}", metadata.nlink());
    }
    if kind.is_file() {
        let content = blake(&fs::read(path).unwrap());
        text += &format!(" size {} content {content:x}", metadata.len());
    }
    if kind.is_symlink() {
        text += &format!(" to {:?}", fs::read_link(path).unwrap());
    }
    let mut names: Vec<_> = xattr::list(path).unwrap().collect();
    names.sort();
    for name in names {
        text += &format!(" {name:?}={:?}", xattr::get(path, &name).unwrap());
    }
    text
}

fn blake(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn description(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut first_names = BTreeMap::new();
    let describe_one = |path: PathBuf| {
        let text = describe(top, &path, &mut first_names);
        (path.strip_prefix(top).unwrap().to_owned(), text)
    };
    all(top).into_iter().map(describe_one).collect()
}

/// A filesystem made by the real program, in a file behind a loop device, that
/// holds the fixture and is mounted read-only.
struct Disk {
    mount: Mount,
    device: LoopDevice,
    described: BTreeMap<PathBuf, String>,
    _directory: tempfile::TempDir,
}

impl Disk {
    fn make(program: &str, args: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        // The least that mkfs.xfs takes, and full of what was there before:
        // space that is set aside must not show it.
        let size = 320 << 20;
        let stale = vec![0xaa; 1 << 20];
        let file = fs::File::create(&image).unwrap();
        for start in (0..size).step_by(stale.len()) {
            file.write_all_at(&stale, start).unwrap();
        }
        drop(file);
        let command = Cmd::new(program, "making a fixture").args(args);
        command.arg(&image).run().unwrap();
        let extent = Extent {
            offset: 0,
            length: size,
        };
        let device = LoopDevice::attach(&image, extent, false).unwrap();
        let target = directory.path().join("disk");
        fs::create_dir(&target).unwrap();
        let kind = program.strip_prefix("mkfs.").unwrap();
        let attach = |flags| Mount::new(device.path(), &target, kind, flags, "").unwrap();
        let mount = attach(MsFlags::empty());
        fill(&target);
        mount.close().unwrap();
        let mount = attach(MsFlags::MS_RDONLY | MsFlags::MS_NOATIME);
        let described = description(&target);
        Self {
            mount,
            device,
            described,
            _directory: directory,
        }
    }

    /// Copies to a tmpfs, and compares. Returns how many files were read
    /// through the filesystem.
    fn check(&self, device: Option<&Path>, what: &str) -> usize {
        let target = tempfile::tempdir().unwrap();
        // Looking at the copy must not change its times.
        let flags = MsFlags::MS_NOATIME;
        let ram = Mount::new("tmpfs", target.path(), "tmpfs", flags, "size=64m").unwrap();
        let tree = Tree::list(self.mount.target(), &[]).unwrap();
        assert_eq!(tree.entries.len(), self.described.len(), "{what}");
        let copied = copy(&tree, ram.target(), device).unwrap();
        assert_eq!(copied.bytes, tree.data(), "{what}");
        assert_eq!(copied.lost_attributes, 0, "{what}");
        let copy = description(ram.target());
        for (path, text) in &self.described {
            assert_eq!(copy.get(path), Some(text), "{what}: {path:?}");
        }
        assert_eq!(copy.len(), self.described.len(), "{what}");
        self.check_size(&tree, ram.target(), what);
        ram.close().unwrap();
        copied.through
    }

    /// Holes stay holes, and what was foreseen suffices.
    fn check_size(&self, tree: &Tree, ram: &Path, what: &str) {
        let sparse = ram.join("sparse").metadata().unwrap();
        assert!(
            sparse.blocks() * 512 < 200_000,
            "{what}: {}",
            sparse.blocks()
        );
        let statistics = nix::sys::statvfs::statvfs(ram).unwrap();
        let used = (statistics.blocks() - statistics.blocks_free()) * statistics.block_size();
        assert!(
            used <= tree.data() + (1 << 20),
            "{what}: {used} of {}",
            tree.data()
        );
        assert!(
            used + (1 << 20) >= tree.data(),
            "{what}: {used} of {}",
            tree.data()
        );
    }
}

#[test]
fn copies_are_equal_from_every_filesystem() {
    p2v_testing::need_private_mounts!();
    // Each with what can be read straight from the device.
    let table: [(&str, &[&str], Straight); 6] = [
        ("mkfs.ext4", &["-q", "-F", "-E", "nodiscard"], Straight::All),
        (
            "mkfs.ext4",
            &[
                "-q",
                "-F",
                "-E",
                "nodiscard",
                "-b",
                "1024",
                "-O",
                "inline_data",
            ],
            Straight::Some,
        ),
        ("mkfs.ext3", &["-q", "-F", "-E", "nodiscard"], Straight::All),
        ("mkfs.ext2", &["-q", "-F", "-E", "nodiscard"], Straight::All),
        ("mkfs.xfs", &["-q", "-f", "-K"], Straight::All),
        ("mkfs.btrfs", &["-q", "-f", "--nodiscard"], Straight::Never),
    ];
    for (program, args, straight) in table {
        let what = format!("{program} {args:?}");
        let disk = Disk::make(program, args);
        let all = disk.check(None, &what);
        if straight == Straight::Never {
            continue;
        }
        let through = disk.check(Some(disk.device.path()), &what);
        match straight {
            Straight::All => assert_eq!(through, 0, "{what}"),
            _ => assert!(0 < through && through < all, "{what}: {through} of {all}"),
        }
    }
}

/// Which files' data is read straight from the device.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Straight {
    All,
    Some,
    Never,
}
