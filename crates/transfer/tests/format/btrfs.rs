//! Btrfs, by its dump-super and dump-tree.

use std::collections::BTreeSet;
use std::path::Path;

use p2v_testing::image;

use crate::{could, made_like, tool};

/// What dump-super says of features and sizes.
fn btrfs_facts(path: &Path) -> Vec<String> {
    const FACTS: [&str; 6] = [
        "csum_type",
        "incompat_flags",
        "compat_ro_flags",
        "nodesize",
        "sectorsize",
        "num_devices",
    ];
    let text = tool("btrfs inspect-internal dump-super", path);
    let lines = text
        .lines()
        .filter(|line| FACTS.iter().any(|fact| line.starts_with(fact)));
    let mut facts: Vec<_> = lines.map(str::to_owned).collect();
    let chunks = tool("btrfs inspect-internal dump-tree -t chunk", path);
    let types = chunks.lines().filter_map(|line| line.split("type ").nth(1));
    let types: BTreeSet<_> = types.map(str::to_owned).collect();
    facts.extend(types);
    facts
}

#[test]
fn btrfs_features_come_back() {
    let matrix = [
        "",
        "-O ^no-holes -R ^free-space-tree",
        "-O ^extref,^skinny-metadata,^no-holes -R ^free-space-tree",
        "-m single",
        "-m dup",
        "-n 4096",
        "-n 65536",
        "--mixed -m single -d single",
        "--mixed -m dup -d dup",
        "--csum xxhash",
        "--csum sha256",
        "--csum blake2",
    ];
    for line in matrix {
        let first = image(512 << 20);
        tool(&format!("mkfs.btrfs -q -f {line}"), first.path());
        let second = made_like(first.path(), "btrfs", 700 << 20);
        assert_eq!(
            btrfs_facts(second.path()),
            btrfs_facts(first.path()),
            "{line}"
        );
        tool("btrfs check --readonly", second.path());
    }
}

#[test]
fn features_of_newer_tools_come_back() {
    let first = image(512 << 20);
    if could("mkfs.btrfs -q -f -O block-group-tree", first.path()) {
        let second = made_like(first.path(), "btrfs", 512 << 20);
        assert_eq!(btrfs_facts(second.path()), btrfs_facts(first.path()));
    }
}
