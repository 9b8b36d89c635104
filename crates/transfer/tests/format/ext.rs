//! ext2, ext3 and ext4, by dumpe2fs.

use std::collections::BTreeSet;
use std::path::Path;

use p2v_testing::image;

use crate::{UUID, made_like, tool};

/// The lines of dumpe2fs that tell of features and measures that do not follow
/// from the size.
fn ext_facts(path: &Path) -> Vec<String> {
    const FACTS: [&str; 16] = [
        "Filesystem features:",
        "Default mount options:",
        "Errors behavior:",
        "Block size:",
        "Cluster size:",
        "Inode size:",
        "Flex block group size:",
        "Inode count:",
        "Reserved block count:",
        "Character encoding:",
        "User quota inode:",
        "Group quota inode:",
        "Project quota inode:",
        "Checksum type:",
        "Required extra isize:",
        "Filesystem revision #:",
    ];
    let text = tool("dumpe2fs -h", path);
    let lines = text
        .lines()
        .filter(|line| FACTS.iter().any(|fact| line.starts_with(fact)));
    lines
        .map(|line| {
            let words: BTreeSet<_> = line.split_whitespace().collect();
            // The journal's own passing marks, and the order, do not count.
            words.into_iter().collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn ext_features_come_back() {
    // What Debian and others made by default, and single features.
    let matrix = [
        "-t ext2",
        "-t ext2 -I 128 -b 1024 -O none",
        "-t ext3",
        "-t ext3 -I 128 -O none,has_journal,filetype,sparse_super,large_file",
        "-t ext3 -I 128 -O ^resize_inode,^dir_index",
        "-t ext4",
        "-t ext4 -O ^metadata_csum,uninit_bg,^64bit",
        "-t ext4 -O ^64bit,^metadata_csum",
        "-t ext4 -O metadata_csum,metadata_csum_seed,orphan_file",
        "-t ext4 -O metadata_csum,^metadata_csum_seed,^orphan_file",
        "-t ext4 -O ^has_journal",
        "-t ext4 -O quota",
        "-t ext4 -O quota,project",
        "-t ext4 -O quota -E quotatype=grpquota",
        "-t ext4 -O casefold -E encoding_flags=strict",
        "-t ext4 -O bigalloc -C 65536",
        "-t ext4 -O inline_data,large_dir,ea_inode,verity,stable_inodes",
        "-t ext4 -O fast_commit",
        "-t ext4 -O sparse_super2,^resize_inode",
        "-t ext4 -O meta_bg,^resize_inode",
        "-t ext4 -O mmp",
        "-t ext4 -G 1",
        "-t ext4 -G 64 -b 2048 -I 512",
        "-t ext4 -i 65536 -m 0 -e remount-ro",
        "-t ext4 -b 1024 -i 2048 -m 2.5 -e panic",
        "-t ext4 -O ^flex_bg,^extent,^64bit",
    ];
    for line in matrix {
        let first = image(256 << 20);
        tool(&format!("mke2fs -q -F {line}"), first.path());
        let kind = line.split_whitespace().nth(1).unwrap();
        let second = made_like(first.path(), kind, 256 << 20);
        assert_eq!(ext_facts(second.path()), ext_facts(first.path()), "{line}");
        let named = tool("dumpe2fs -h", second.path());
        assert!(named.contains(UUID), "{line}: {named}");
        tool("e2fsck -f -n", second.path());
        // blkid must call it the same.
        let found = tool("blkid -p -o value -s TYPE", second.path());
        let before = tool("blkid -p -o value -s TYPE", first.path());
        assert_eq!(found, before, "{line}");
    }
}

#[test]
fn ext_settings_of_tune2fs_come_back() {
    for line in [
        "tune2fs -o journal_data_writeback,^acl",
        "tune2fs -o debug,nobarrier,discard",
        "tune2fs -o ^acl,^user_xattr",
        "tune2fs -e panic -m 1",
    ] {
        let first = image(256 << 20);
        tool("mke2fs -q -F -t ext4", first.path());
        tool(line, first.path());
        let second = made_like(first.path(), "ext4", 256 << 20);
        assert_eq!(ext_facts(second.path()), ext_facts(first.path()), "{line}");
    }
}

#[test]
fn ext_in_another_size_keeps_its_features() {
    let first = image(300 << 20);
    tool("mke2fs -q -F -t ext4 -O ^metadata_csum_seed", first.path());
    for size in [32 << 20, 3 << 30, 200 << 30_u64] {
        let second = made_like(first.path(), "ext4", size);
        let features = |path: &Path| ext_facts(path).swap_remove(1);
        assert_eq!(features(second.path()), features(first.path()));
        tool("e2fsck -f -n", second.path());
    }
}
