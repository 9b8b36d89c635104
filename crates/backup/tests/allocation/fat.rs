//! FAT12, FAT16 and FAT32, made by mkfs.vfat and filled by mtools.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use p2v_sys::Cmd;

use crate::image::Image;
use crate::oracle::{ask, partclone};
use crate::proof::{Judges, compare};
use crate::random::Random;

const JUDGES: Judges = Judges {
    check: "fsck.vfat -n",
    oracle: |image| partclone("partclone.vfat", image),
    options: "",
    slack: (1.01, 1 << 17),
};

const MIB: u64 = 1 << 20;

fn mtools(image: &Image, program: &str, args: &[&Path]) {
    Cmd::new(program, format!("running {program}"))
        .env("MTOOLS_SKIP_CHECK", "1")
        .arg("-i")
        .arg(&image.path)
        .args(args)
        .run()
        .unwrap();
}

/// Copies a tree in, and again with holes where the first one was.
fn fill(image: &Image) {
    let source = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    for directory in 0..8 {
        let directory = source.path().join(format!("Directory {directory}"));
        std::fs::create_dir(&directory).unwrap();
        for file in 0..12 {
            let bytes = random.bytes(u64::pow(3, file % 9));
            std::fs::write(directory.join(format!("a long name {file}")), bytes).unwrap();
        }
    }
    let names = |range: std::ops::Range<u32>| -> Vec<PathBuf> {
        let name = |number| source.path().join(format!("Directory {number}"));
        range.map(name).collect()
    };
    let copy = |range| {
        for name in names(range) {
            let args = ["-s", "-m", name.to_str().unwrap(), "::/"];
            mtools(image, "mcopy", &args.map(Path::new));
        }
    };
    copy(0..6);
    for number in [1, 3] {
        let name = format!("::/Directory {number}");
        mtools(image, "mdeltree", &[Path::new(&name)]);
    }
    copy(6..8);
    copy(1..2);
}

fn tree(image: &Image) -> BTreeMap<PathBuf, String> {
    let target = image.directory.path().join("tree");
    std::fs::create_dir(&target).unwrap();
    let args = [Path::new("-s"), Path::new("-m"), Path::new("::/"), &target];
    mtools(image, "mcopy", &args);
    let mut tree = crate::tree::describe(&target);
    for line in tree.values_mut() {
        // Each copy out has inodes of its own.
        *line = line.split_once(" mode ").unwrap().1.to_owned();
    }
    tree
}

/// What fsck.vfat's own count makes in bytes.
fn in_use(image: &Image) -> u64 {
    let text = Cmd::new("fsck.vfat", "counting clusters")
        .args(["-n", "-v"])
        .arg(&image.path)
        .read()
        .unwrap();
    let before = |words: &str| -> u64 {
        let line = text.lines().find(|line| line.contains(words));
        let line = line.unwrap_or_else(|| panic!("no {words} in {text}"));
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let clusters = text.lines().last().unwrap().rsplit_once(", ").unwrap().1;
    let (taken, all) = clusters.split_once('/').unwrap();
    let all: u64 = all.split_once(' ').unwrap().0.parse().unwrap();
    let end = before("sectors total") * before("bytes per logical sector");
    end - (all - taken.parse::<u64>().unwrap()) * before("bytes per cluster")
}

#[test]
fn every_width_and_cluster_size() {
    for (length, options) in [
        (2 * MIB, "-F 12"),
        (4 * MIB, "-F 12 -s 4 -f 1 -r 64"),
        (1_474_560, "-F 12 -r 112"),
        (20 * MIB, "-F 16"),
        (48 * MIB, "-F 16 -s 8 -S 1024"),
        (40 * MIB, "-F 32 -s 1"),
        (200 * MIB, "-F 32 -s 4 -R 64 -b 12"),
        (64 * MIB, "-F 16 -S 4096"),
        (300 * MIB, "-F 32 -S 4096 -s 1"),
        (64 * MIB, ""),
    ] {
        let mkfs = format!("mkfs.vfat {options}").trim_end().to_owned();
        let image = Image::made("vfat", length, &mkfs);
        fill(&image);
        // partclone finds used clusters in FAT12 volumes without a file.
        let twelve = options.contains("-F 12");
        let oracle = (!twelve).then(|| ask(JUDGES.oracle, &image.path));
        let used = image.used().unwrap();
        let copy = image.copy_of(&used);
        copy.run(JUDGES.check).unwrap();
        let files = tree(&image);
        assert!(files.len() > 80, "{}", files.len());
        assert_eq!(files, tree(&copy), "{mkfs}");
        assert_eq!(used.bytes(), in_use(&image), "{mkfs}");
        if let Some(wanted) = oracle.and_then(|oracle| oracle.join().unwrap()) {
            compare(&used, &wanted, &JUDGES, &mkfs);
        }
    }
}

/// As in many EFI system partitions: mtools takes it for FAT16, Linux does not.
#[test]
fn fat32_with_few_clusters() {
    let image = Image::made("vfat", 33 * MIB, "mkfs.vfat -F 32 -s 2");
    assert_eq!(image.used().unwrap().bytes(), in_use(&image));
}

#[test]
fn one_that_was_not_unmounted_gives_up() {
    for (options, state, table) in [("-F 16", 37, 4 * 512 + 3), ("-F 32", 65, 32 * 512 + 7)] {
        let image = Image::made("vfat", 40 * MIB, &format!("mkfs.vfat {options}"));
        image.used().unwrap();
        for (at, byte) in [(state, 1), (table, 0x77)] {
            let mut before = [0];
            image.open().read_exact_at(&mut before, at).unwrap();
            image.open().write_all_at(&[byte], at).unwrap();
            let error = image.used().unwrap_err().to_string();
            assert!(error.contains("not unmounted"), "{options}: {error}");
            image.open().write_all_at(&before, at).unwrap();
        }
    }
}
