//! A smaller disk: what moves, what shrinks, and when neither is enough.

use super::{manifest, planned};

const LOGICAL: &str = "1 ext2 1+20\n2 extended 21+179\n5 ext4 22+160 used 30\n6 swap 185+15";

const SWAP_ALONE: &str = "1 ext4 1+140 used 50\n2 extended 150+50\n5 swap 151+40";

/// The table's label, the partitions on a disk of 200 MiB, the new disk's MiB, and the plan.
const CASES: &[(&str, &str, u64, &str)] = &[
    ("dos", "1 xfs 1+100", 150, "1 1+100"),
    (
        "dos",
        "1 ext4 1+100\n2 extended 110+90\n5 xfs 111+20",
        150,
        "1 1+100, 2 110+40, 5 111+20",
    ),
    (
        "dos",
        "1 xfs 1+100\n2 swap 160+40",
        150,
        "1 1+100, 2 110+40",
    ),
    (
        "dos",
        "1 ext4 1+100 used 50\n2 swap 160+40",
        130,
        "1 1+89, 2 90+40, Shrink partition 1 (ext4)",
    ),
    (
        "dos",
        "1 ext4 1+199 used 90",
        150,
        "1 1+149, Shrink partition 1 (ext4)",
    ),
    (
        "gpt",
        "1 ext3 1+198 used 90",
        150,
        "1 1+148, Shrink partition 1 (ext3)",
    ),
    (
        "dos",
        LOGICAL,
        150,
        "1 1+20, 2 21+129, 5 22+112, 6 135+15, Shrink partition 5 (ext4)",
    ),
    ("dos", SWAP_ALONE, 185, "1 1+140, 2 144+41, 5 145+40"),
    (
        "dos",
        SWAP_ALONE,
        150,
        "1 1+108, 2 109+41, 5 110+40, Shrink partition 1 (ext4)",
    ),
    (
        "dos",
        "1 ext4 1+199 used 190",
        150,
        "this disk has 150 MiB, and at least 191 MiB are needed: 190 MiB of partition 1 \
             (ext4) are in use",
    ),
    (
        "dos",
        "1 xfs 1+159\n2 swap 160+40",
        150,
        "this disk has 150 MiB, and 200 MiB are needed for partition 1 (xfs): XFS cannot \
             shrink",
    ),
    (
        "dos",
        "1 ext4 1+50\n2 LVM2_member 51+149",
        150,
        "this disk has 150 MiB, and 200 MiB are needed for partition 2 (LVM2_member): only \
             ext2, ext3, ext4 and btrfs can be shrunk",
    ),
    (
        "dos",
        "1 swap 1+199",
        150,
        "this disk has 150 MiB, too few for its swap areas",
    ),
    (
        "dos",
        "1 ext4 1+100\n2 ext4 50+150",
        150,
        "its partitions lie in each other, and none can move",
    ),
    (
        "dos",
        "1 ext4 1+199 used 1",
        1,
        "this disk has 1 MiB, and at least 2 MiB are needed: 1 MiB of partition 1 (ext4) are \
             in use",
    ),
];

#[test]
fn free_space_goes_first_then_swap_moves_then_the_last_filesystem_shrinks() {
    for (label, partitions, disk, expected) in CASES {
        let manifest = manifest(label, 200, partitions);
        assert_eq!(
            planned(&manifest, *disk),
            *expected,
            "{partitions} to {disk}"
        );
    }
}
