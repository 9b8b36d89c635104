//! A larger disk: what grows, and what stays where it is.

use super::{manifest, planned};

const LOGICAL: &str = "1 ext2 1+20\n2 extended 21+179\n5 ext4 22+160\n6 swap 185+15";

const SWAP_ALONE: &str = "1 xfs 1+150\n2 extended 152+48\n5 swap 153+40";

/// The table's label, the disk's MiB and its partitions, the new disk's MiB, and the plan.
const CASES: &[(&str, u64, &str, u64, &str)] = &[
    // The same size: not a sector moves.
    ("dos", 200, "1 ext4 1+150", 200, "1 1+150"),
    (
        "dos",
        200,
        "1 ext4 1+199",
        300,
        "1 1+299, Grow partition 1 (ext4)",
    ),
    // What was free at the end is used too.
    (
        "dos",
        200,
        "1 ext4 1+150",
        300,
        "1 1+299, Grow partition 1 (ext4)",
    ),
    (
        "dos",
        200,
        "1 btrfs 1+150\n2 swap 160+40",
        300,
        "1 1+250, 2 260+40, Grow partition 1 (btrfs)",
    ),
    (
        "dos",
        200,
        LOGICAL,
        300,
        "1 1+20, 2 21+279, 5 22+260, 6 285+15, Grow partition 5 (ext4)",
    ),
    (
        "dos",
        200,
        SWAP_ALONE,
        300,
        "1 1+250, 2 252+48, 5 253+40, Grow partition 1 (xfs)",
    ),
    // A GPT ends with its backup; the numbers need not be in order.
    (
        "gpt",
        200,
        "14 - 1+1\n15 vfat 2+60\n1 ext4 62+137",
        300,
        "14 1+1, 15 2+60, 1 62+237, Grow partition 1 (ext4)",
    ),
    (
        "gpt",
        200,
        "1 ext4 1+100\n2 LVM2_member 101+98",
        300,
        "1 1+100, 2 101+98, partition 2 (LVM2_member) is the last, and it cannot grow",
    ),
    (
        "dos",
        200,
        "1 ext4 1+100\n2 swap 101+20\n3 - 121+79",
        300,
        "1 1+100, 2 101+20, 3 121+79, partition 3 (unknown content) is the last, and it \
             cannot grow",
    ),
    (
        "dos",
        200,
        "1 swap 1+100",
        300,
        "1 1+100, no partition holds a filesystem",
    ),
    (
        "dos",
        200,
        "1 ext4 1+100\n2 ext4 50+150",
        300,
        "1 1+100, 2 50+150, its partitions lie in each other",
    ),
    (
        "dos",
        2 << 20,
        "1 ext4 1+2097151",
        3 << 20,
        "1 1+2097151, an MBR reaches no further",
    ),
    (
        "dos",
        1 << 20,
        "1 ext4 1+100",
        3 << 20,
        "1 1+2097150, Grow partition 1 (ext4)",
    ),
    ("dos", 200, "", 300, "no partition holds a filesystem"),
];

#[test]
fn the_last_filesystem_grows_and_swap_keeps_its_place_at_the_end() {
    for (label, size, partitions, disk, expected) in CASES {
        let manifest = manifest(label, *size, partitions);
        assert_eq!(planned(&manifest, *disk), *expected, "{partitions}");
    }
}
