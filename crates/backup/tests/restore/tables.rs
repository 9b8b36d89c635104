//! Disks whose first sectors mislead, or do not tell all: nothing of them may
//! be lost.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use p2v_sys::Cmd;

use crate::content;
use crate::disks::{self, Layout, MIB, Place};

/// Fails unless the restored disk has every byte.
fn assert_same_bytes(place: &Place, old: &Path, doing: &str) {
    let size = old.metadata().unwrap().len();
    let new = place.used("new.img", size);
    let stream = disks::exported(old);
    place.restore(&stream, &new).expect(doing);
    let same = std::fs::read(old).unwrap() == std::fs::read(&new).unwrap();
    assert!(same, "{doing}");
}

fn write(path: &Path, bytes: &[u8], at: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

fn sfdisk(path: &Path, script: &str) {
    let command = Cmd::new("sfdisk", "making a table").args(["--quiet", "--wipe=never"]);
    command.arg(path).stdin(script).run().unwrap();
}

/// As GRUB or extlinux leave a disk that is one filesystem: blkid and sfdisk
/// take its boot sector for a table without partitions.
#[test]
fn a_boot_sector_before_a_filesystem_is_no_table() {
    let Some(place) = Place::new() else {
        return;
    };
    for (kind, size) in [("ext4", 64), ("btrfs", 200)] {
        let old = place.disk(Layout::Whole, kind, size * MIB);
        write(&old, b"\x55\xaa", 510);
        let new = place.used("new.img", size * MIB);
        let stream = disks::exported(&old);
        assert!(stream.len() as u64 * 2 < size * MIB, "only what is in use");
        place.restore(&stream, &new).expect(kind);
        let tree = |path| place.tree(path, 0, true);
        content::assert_same(&tree(&old), &tree(&new), kind);
        disks::check(&new, 0);
    }
}

/// The start of the disk has the superblock of what it was before.
#[test]
fn a_stale_superblock_does_not_say_what_a_disk_holds() {
    let Some(place) = Place::new() else {
        return;
    };
    let cases = [
        ("past the end", "label: dos\n2048,100M\n", 64),
        ("of another kind", "label: sun\n", 64),
        ("without partitions", "label: gpt\n", 64),
    ];
    for (doing, script, cut) in cases {
        let old = place.disk(Layout::Whole, "ext4", 128 * MIB);
        write(&old, &content::noise(3, 20 << 20), 30 * MIB);
        sfdisk(&old, script);
        let file = File::options().write(true).open(&old).unwrap();
        if doing == "past the end" {
            file.set_len(cut * MIB).unwrap();
        }
        assert_same_bytes(&place, &old, doing);
    }
}

/// sfdisk writes no such table: found out at the import it would be too late.
#[test]
fn a_table_that_cannot_be_written_anew_is_kept_as_it_is() {
    let Some(place) = Place::new() else {
        return;
    };
    // The second entry's first sector, or the first's.
    for (doing, at, start) in [("in each other", 470, 4096_u32), ("on the table", 454, 0)] {
        let old = place.blank("old.img", 32 * MIB);
        sfdisk(&old, "label: dos\n2048,20000\n30000,20000\n");
        write(&old, &start.to_le_bytes(), at);
        write(&old, &content::noise(4, 8 << 20), 2 * MIB);
        assert_same_bytes(&place, &old, doing);
    }
}

/// As with the hashes that dm-verity keeps behind what it verifies.
#[test]
fn what_lies_behind_a_filesystem_is_kept() {
    let Some(place) = Place::new() else {
        return;
    };
    for (kind, size, own) in [
        ("ext4", 120, 60),
        ("xfs", 420, 400),
        ("btrfs", 250, 200),
        ("vfat", 120, 60),
    ] {
        let old = match kind {
            // The kernel may not know it.
            "vfat" => {
                let path = place.blank("old.img", own * MIB);
                let make = Cmd::new("mkfs.vfat", "making vfat").arg(&path);
                make.run().unwrap();
                path
            }
            _ => place.disk(Layout::Whole, kind, own * MIB),
        };
        let file = File::options().write(true).open(&old).unwrap();
        file.set_len(size * MIB).unwrap();
        let behind = content::noise(6, 5 << 20);
        write(&old, &behind, own * MIB);
        let stream = disks::exported(&old);
        assert!(stream.len() as u64 * 3 / 2 < size * MIB, "{kind}");
        let new = place.used("new.img", size * MIB);
        place.restore(&stream, &new).expect(kind);
        let mut found = vec![0; behind.len()];
        let file = File::open(&new).unwrap();
        file.read_exact_at(&mut found, own * MIB).unwrap();
        assert!(found == behind, "{kind}");
    }
}

/// A GPT's first usable sector is often the 2048th, and its table ends with
/// the 33rd.
#[test]
fn what_lies_between_a_gpt_and_its_first_partition_is_kept() {
    let Some(place) = Place::new() else {
        return;
    };
    let old = place.blank("old.img", 32 * MIB);
    sfdisk(&old, "label: gpt\n4096,20000\n");
    let loader = content::noise(7, (4096 - 34) * 512);
    write(&old, &loader, 34 * 512);
    let stream = disks::exported(&old);
    for size in [32, 40] {
        let new = place.used("new.img", size * MIB);
        place.restore(&stream, &new).unwrap();
        let mut found = vec![0; loader.len()];
        let file = File::open(&new).unwrap();
        file.read_exact_at(&mut found, 34 * 512).unwrap();
        assert!(found == loader, "{size} MiB");
    }
}
