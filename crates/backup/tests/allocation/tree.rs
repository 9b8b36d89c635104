//! Trees that use a filesystem in every way, and what must be the same after.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

use crate::random::Random;

/// Fills a mounted filesystem: many small files, some removed again, a large
/// directory, links, attributes, preallocation, and a sparse file of 20 GiB.
/// `bulk` is what one more file has, in bytes.
pub fn fill(root: &Path, bulk: u64) {
    let mut random = Random(bulk);
    small_files(root, &mut random);
    std::fs::create_dir_all(root.join("large")).unwrap();
    for number in 0..700 {
        let name = format!("large/{number}-{}", "n".repeat(number % 90));
        File::create(root.join(name)).unwrap();
    }
    for number in 0..5 {
        let link = root.join(format!("link-{number}"));
        std::fs::hard_link(root.join("1/1"), link).unwrap();
    }
    symlink("s".repeat(40), root.join("short")).unwrap();
    symlink("l".repeat(900), root.join("long")).unwrap();
    attributes(root, &mut random);
    sparse(&root.join("sparse"), &mut random);
    let reserved = File::create(root.join("preallocated")).unwrap();
    let _ = fallocate(&reserved, FallocateFlags::empty(), 0, 1 << 20);
    reserved.write_all_at(b"in the midst", 300_000).unwrap();
    write_bulk(&root.join("bulk"), bulk, &mut random);
}

fn small_files(root: &Path, random: &mut Random) {
    for round in 0..2 {
        for directory in 0..12 {
            let directory = root.join(directory.to_string());
            std::fs::create_dir_all(&directory).unwrap();
            for file in 0..25 {
                let path = directory.join(file.to_string());
                let length = random.below(6000);
                std::fs::write(&path, random.bytes(length)).unwrap();
                if round == 0 && file % 3 == 0 {
                    std::fs::remove_file(path).unwrap();
                }
            }
        }
    }
}

/// Leaves `count` free extents or more, a block or two each.
pub fn fragment(root: &Path, count: usize) {
    let name = |number: usize| root.join(format!("fragment-{number}"));
    for number in 0..2 * count {
        std::fs::write(name(number), [7; 3000]).unwrap();
    }
    nix::unistd::syncfs(File::open(root).unwrap()).unwrap();
    for number in (0..2 * count).step_by(2) {
        std::fs::remove_file(name(number)).unwrap();
    }
}

/// A hundred changes in the tree, some of them durable at once.
pub fn churn(root: &Path, random: &mut Random) {
    let directory = root.join("churn");
    std::fs::create_dir_all(&directory).unwrap();
    for _ in 0..100 {
        let [path, other] = [0; 2].map(|_| directory.join(random.below(60).to_string()));
        // Many fail: there is no such file, or there is one already.
        let _ = match random.below(8) {
            0..=2 => {
                let length = [3_000, 70_000, 700_000][random.below(3) as usize];
                std::fs::write(&path, random.bytes(random.0 % length))
            }
            3 => std::fs::remove_file(&path),
            4 => std::fs::rename(&path, other),
            5 => std::fs::hard_link(&path, other),
            6 => std::fs::create_dir(&other).and_then(|()| std::fs::remove_dir(other)),
            _ => OpenOptions::new().write(true).open(&path).and_then(|file| {
                file.set_len(random.below(100_000))?;
                file.sync_all()
            }),
        };
    }
}

fn attributes(root: &Path, random: &mut Random) {
    for number in 0..20 {
        let path = root.join(format!("3/{}", number % 10));
        let value = "v".repeat(random.below(180) as usize + 1);
        let name = format!("user.number-{number}");
        // Not every filesystem has room for all.
        let _ = xattr::set(path, name, value.as_bytes());
    }
}

fn sparse(path: &Path, random: &mut Random) {
    let file = File::create(path).unwrap();
    // ext2 with blocks of 1 KiB has files of up to 16 GiB.
    let length = [20 << 30, 15 << 30]
        .into_iter()
        .find(|length| file.set_len(*length).is_ok())
        .unwrap();
    for _ in 0..40 {
        let at = random.below(length - 9000);
        file.write_all_at(&random.bytes(9000), at).unwrap();
    }
}

fn write_bulk(path: &Path, bulk: u64, random: &mut Random) {
    let file = OpenOptions::new();
    let file = file.clone().create(true).append(true).open(path).unwrap();
    let piece = random.bytes(1 << 20);
    let mut at = 0;
    while at < bulk {
        let length = bulk.min(at + (1 << 20)) - at;
        if file.write_all_at(&piece[..length as usize], at).is_err() {
            return; // full: that is one way to fill it
        }
        at += length;
    }
}

/// A line for each path: all that must be the same in the copy.
pub fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let full = root.join(&path);
        let metadata = std::fs::symlink_metadata(&full).unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_dir() {
            for entry in std::fs::read_dir(&full).unwrap() {
                open.push(path.join(entry.unwrap().file_name()));
            }
            String::new()
        } else if kind.is_file() {
            content(&full)
        } else {
            format!("{:?} {}", std::fs::read_link(&full), kind.is_fifo())
        };
        let names = xattr::list(&full).unwrap();
        let attributes: BTreeMap<_, _> = names
            .map(|name| (name.clone(), xattr::get(&full, &name).unwrap()))
            .collect();
        let line = format!(
            "inode {} mode {:o} owner {}:{} links {} size {} time {}.{} {content} {attributes:?}",
            metadata.ino(),
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.nlink(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        );
        found.insert(path, line);
    }
    found
}

/// Where the data lies in a file and a hash of it; holes are not read.
fn content(path: &Path) -> String {
    let file = File::open(path).unwrap();
    let mut hash = blake3::Hasher::new();
    let (mut at, mut bytes) = (0, vec![0; 1 << 20]);
    while let Ok(start) = lseek(file.as_fd(), at, Whence::SeekData) {
        let end = lseek(file.as_fd(), start, Whence::SeekHole).unwrap();
        hash.update(&start.to_le_bytes());
        at = start;
        while at < end {
            let length = (end - at).min(1 << 20) as usize;
            file.read_exact_at(&mut bytes[..length], at as u64).unwrap();
            hash.update(&bytes[..length]);
            at += length as i64;
        }
    }
    hash.finalize().to_string()
}
