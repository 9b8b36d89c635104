//! Large filesystems: in seconds, and in little memory.

use std::time::{Duration, Instant};

use crate::damage::small_memory;
use crate::image::Image;
use crate::tree;

const TIB: u64 = 1 << 40;

/// Slow to make, and debug builds are slow to read.
#[test]
#[ignore = "takes a minute"]
fn two_terabytes() {
    p2v_testing::need_private_mounts!();
    for (kind, mkfs) in [
        ("ext4", "mkfs.ext4 -q -F"),
        (
            "ext4",
            "mkfs.ext4 -q -F -E lazy_itable_init=0 -i 1000000 -O ^uninit_bg",
        ),
        ("xfs", "mkfs.xfs -q -f"),
        ("btrfs", "mkfs.btrfs -q -f"),
    ] {
        let image = Image::made(kind, 2 * TIB, mkfs);
        let mounted = image.mount("");
        tree::fill(mounted.root(), 1 << 30);
        tree::fragment(mounted.root(), 20_000);
        mounted.close();
        image.used().unwrap();
        let begun = Instant::now();
        let used = image.used().unwrap();
        let taken = begun.elapsed();
        println!(
            "{mkfs}: {} MiB in {} pieces, {taken:?}",
            used.bytes() >> 20,
            used.iter().count()
        );
        assert!(taken < Duration::from_secs(5), "{taken:?}");
        small_memory();
    }
}
