//! ext2, ext3 and ext4, with many sets of options.

use std::path::Path;

use p2v_backup::ranges::Ranges;
use p2v_sys::Cmd;

use crate::image::Image;
use crate::oracle::partclone;
use crate::proof::{Judges, prove, prove_recovery};
use crate::random::Random;
use crate::tree;

const JUDGES: Judges = Judges {
    check: "e2fsck -fn",
    oracle: |image| partclone("partclone.extfs", image),
    options: "",
    slack: (1.01, 1 << 20),
};

const MIB: u64 = 1 << 20;

/// All but what `dumpe2fs` lists as free.
fn dumpe2fs(image: &Path) -> Option<Ranges> {
    let dump = Cmd::new("dumpe2fs", "listing free blocks").arg(image);
    let text = dump.read().unwrap();
    let value = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    let (block, cluster) = (value("Block size:"), value("Cluster size:"));
    let mut free = Ranges::default();
    let lists = text.lines();
    for list in lists.filter_map(|line| line.strip_prefix("  Free blocks: ")) {
        for item in list.split(", ").filter(|item| !item.is_empty()) {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let [first, last] = [first, last].map(|block| block.parse::<u64>().unwrap());
            // The last one is the first block of the last cluster.
            free.add(first * block..last * block + cluster);
        }
    }
    Some(free.gaps(value("Block count:") * block))
}

fn prove_each(kind: &'static str, length: u64, bulk: u64, options: &[&str]) {
    p2v_testing::need_private_mounts!();
    for options in options {
        let mkfs = format!("mkfs.{kind} -q -F {options}").trim_end().to_owned();
        let image = Image::made(kind, length, &mkfs);
        let mounted = image.mount("");
        tree::fill(mounted.root(), bulk);
        mounted.close();
        // partclone takes clusters for blocks.
        let oracle = if options.contains("bigalloc") {
            dumpe2fs
        } else {
            JUDGES.oracle
        };
        prove(&image, &Judges { oracle, ..JUDGES }, &mkfs);
    }
}

#[test]
fn ext4_of_every_layout() {
    let options = [
        "",
        "-b 1024",
        "-b 2048 -I 512",
        "-b 4096 -G 4",
        "-b 1024 -O ^64bit",
        "-b 4096 -O ^64bit,^metadata_csum,uninit_bg",
        "-b 1024 -O ^64bit,^metadata_csum,^uninit_bg -g 1024",
        "-b 1024 -O meta_bg,^resize_inode -g 512",
        "-b 4096 -O meta_bg,^resize_inode,^sparse_super",
        "-b 1024 -O ^flex_bg -E lazy_itable_init=0",
    ];
    prove_each("ext4", 96 * MIB, 12 * MIB, &options);
}

#[test]
fn ext4_of_every_other_layout() {
    let options = [
        "-b 4096 -O bigalloc",
        "-b 1024 -O bigalloc -C 8192",
        "-b 4096 -O bigalloc,^metadata_csum,uninit_bg,^64bit -C 65536",
        "-b 1024 -O sparse_super2 -E num_backup_sb=2",
        "-b 1024 -O sparse_super2,^resize_inode -E num_backup_sb=1",
        "-b 4096 -O ^has_journal,inline_data",
        "-b 4096 -O metadata_csum_seed,ea_inode -I 256",
        "-b 1024 -E packed_meta_blocks=1 -O mmp",
        "-O orphan_file,stable_inodes -N 20000",
    ];
    prove_each("ext4", 96 * MIB, 12 * MIB, &options);
}

/// As tune2fs and resize2fs leave it.
#[test]
fn changed_after_it_was_made() {
    p2v_testing::need_private_mounts!();
    let image = Image::made("ext4", 96 * MIB, "mkfs.ext4 -q -F -b 1024 -E resize=2G");
    let mounted = image.mount("");
    tree::fill(mounted.root(), 12 * MIB);
    mounted.close();
    let grown = image.length + 60 * MIB;
    image.open().set_len(grown).unwrap();
    let image = Image {
        length: grown,
        ..image
    };
    for change in [
        "resize2fs",
        "tune2fs -O quota,project",
        "tune2fs -O ^metadata_csum,uninit_bg",
        "tune2fs -O ^has_journal",
        "resize2fs -M",
    ] {
        image.run("e2fsck -fp").unwrap();
        image.run(change).unwrap();
        prove(&image, &JUDGES, change);
    }
}

#[test]
fn ext2_and_ext3() {
    prove_each("ext2", 64 * MIB, 8 * MIB, &["", "-b 1024 -r 0", "-b 4096"]);
    prove_each("ext3", 64 * MIB, 8 * MIB, &["", "-b 2048 -O ^dir_index"]);
}

#[test]
fn nearly_full() {
    prove_each("ext4", 48 * MIB, 1 << 40, &["-b 1024", "-b 4096 -m 0"]);
}

/// Many groups, most of them without a bitmap of their own.
#[test]
fn large_and_nearly_empty() {
    prove_each(
        "ext4",
        40 << 30,
        300 * MIB,
        &["", "-O ^metadata_csum,uninit_bg"],
    );
}

/// In the state a power failure leaves, over and over, so that the journal goes
/// round and revokes.
fn crash(kind: &'static str, options: &str, mount: &str, rounds: u64) {
    let name = format!("{kind} {options} {mount}");
    let mkfs = format!("mkfs.{kind} -q -F {options}");
    let image = Image::made(kind, 48 * MIB, mkfs.trim_end());
    let mut random = Random(rounds);
    let mut dirty = 0;
    for round in 0..rounds {
        let mounted = image.mount(mount);
        for _ in 0..random.below(4) {
            tree::churn(mounted.root(), &mut random);
            mounted.flush();
        }
        tree::churn(mounted.root(), &mut random);
        mounted.crash(round % 2 == 0);
        dirty += u64::from(needs_recovery(&image));
        prove_recovery(&image, &JUDGES, &format!("{name}, round {round}"));
    }
    println!("{name}: {dirty} of {rounds} rounds with a journal to replay");
    assert!(dirty > rounds / 2, "{name}");
}

/// Whether the journal has a start, as its superblock and dumpe2fs say.
fn needs_recovery(image: &Image) -> bool {
    let dump = Cmd::new("dumpe2fs", "reading the journal's start").arg("-h");
    let text = dump.arg(&image.path).read().unwrap();
    let start = text
        .lines()
        .find_map(|line| line.strip_prefix("Journal start:"));
    text.contains("needs_recovery") && start.unwrap().trim() != "0"
}

#[test]
fn after_crashes() {
    p2v_testing::need_private_mounts!();
    crash("ext4", "", "", 5);
    crash("ext4", "-b 1024 -J size=1 -O ^metadata_csum,^64bit", "", 6);
    crash(
        "ext4",
        "-b 4096 -J size=4 -O meta_bg,^resize_inode",
        "data=journal",
        4,
    );
    crash("ext3", "-b 1024 -J size=1", "data=journal", 6);
    crash("ext3", "-b 2048 -O ^dir_index", "", 4);
}

/// Many more of them.
#[test]
#[ignore = "takes minutes"]
fn after_many_crashes() {
    p2v_testing::need_private_mounts!();
    crash("ext4", "-b 1024 -J size=1", "", 150);
    crash(
        "ext4",
        "-b 1024 -J size=1 -O ^metadata_csum,uninit_bg",
        "",
        150,
    );
    crash("ext4", "-b 4096 -O bigalloc -C 8192", "", 100);
    crash("ext3", "-b 1024 -J size=1", "", 150);
}

#[test]
fn one_that_was_not_unmounted_and_has_no_journal_gives_up() {
    p2v_testing::need_private_mounts!();
    let image = Image::made("ext2", 32 * MIB, "mkfs.ext2 -q -F");
    let mounted = image.mount("");
    tree::fill(mounted.root(), MIB);
    mounted.flush();
    let copy = image.clone_whole();
    mounted.close();
    let error = copy.used().unwrap_err().to_string();
    assert!(error.contains("not unmounted"), "{error}");
    image.used().unwrap();
}

#[test]
fn journals_of_unknown_kinds_give_up() {
    p2v_testing::need_private_mounts!();
    for (features, mount, reason) in [
        ("fast_commit", "", "fast commits"),
        ("^metadata_csum", "journal_checksum", "features"),
        (
            "^metadata_csum",
            "data=writeback,journal_async_commit",
            "features",
        ),
    ] {
        let mkfs = format!("mkfs.ext4 -q -F -O {features}");
        let image = Image::made("ext4", 64 * MIB, &mkfs);
        let mounted = image.mount(mount);
        tree::churn(mounted.root(), &mut Random(2));
        mounted.crash(true);
        let error = format!("{:#}", image.used().unwrap_err());
        assert!(error.contains("journal is not empty"), "{error}");
        assert!(error.contains(reason), "{error}");
        image.recover();
        image.used().unwrap();
    }
}

#[test]
fn one_larger_than_its_partition_gives_up() {
    let image = Image::made("ext4", 32 * MIB, "mkfs.ext4 -q -F");
    image.open().set_len(31 * MIB).unwrap();
    let file = image.open();
    let used = crate::image::used_of("ext4", &file, 31 * MIB);
    let error = used.unwrap_err().to_string();
    assert!(error.contains("larger than its partition"), "{error}");
}
