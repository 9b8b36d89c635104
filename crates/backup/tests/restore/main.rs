//! Real disks as streams, and back: every filesystem, layout and change of
//! size, compared file for file.

mod content;
mod disks;
mod refusals;
mod tables;

use std::path::Path;

use disks::{Layout, MIB, Place};
use p2v_sys::Cmd;
use p2v_sys::partition::table::Table;

/// What a disk's sizes mean to the filesystem that the test is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Becomes {
    Same,
    Larger,
    Smaller,
}

#[test]
fn ext4_in_each_layout_and_size() {
    for layout in [Layout::Whole, Layout::Logical, Layout::Primary, Layout::Gpt] {
        there_and_back(layout, "ext4", 200, &[200, 333, 150]);
    }
}

#[test]
fn ext3_and_ext2() {
    there_and_back(Layout::Primary, "ext3", 200, &[200, 900, 150]);
    there_and_back(Layout::Gpt, "ext2", 200, &[200, 300, 150]);
    there_and_back(Layout::Whole, "ext2", 200, &[200, 300, 150]);
}

#[test]
fn xfs_stays_or_grows() {
    there_and_back(Layout::Whole, "xfs", 400, &[400, 600]);
    there_and_back(Layout::Gpt, "xfs", 400, &[400, 600]);
    there_and_back(Layout::Logical, "xfs", 400, &[420]);
}

#[test]
fn btrfs_in_each_size() {
    there_and_back(Layout::Whole, "btrfs", 400, &[400, 600, 300]);
    there_and_back(Layout::Logical, "btrfs", 400, &[400, 600, 300]);
}

/// As after the machine's power went: the journal is replayed when it grows.
#[test]
fn filesystems_that_were_in_use_grow_and_shrink() {
    for (kind, size, others) in [
        ("ext4", 200, [300, 180]),
        ("xfs", 400, [400, 600]),
        ("btrfs", 400, [600, 350]),
    ] {
        let Some(place) = Place::new() else {
            return;
        };
        let clean = place.disk(Layout::Primary, kind, size * MIB);
        let old = place.path("in-use.img");
        place.copy_in_use(&clean, 1, &old);
        let stream = disks::exported(&old);
        for other in others {
            let new = place.used("new.img", other * MIB);
            let doing = format!("{kind} from {size} to {other} MiB");
            place.restore(&stream, &new).expect(&doing);
            // The driver replays what no resize has.
            let mut tree = place.tree_after_replay(&new, 1);
            let late = tree.iter().filter(|(path, _)| path.starts_with("late99"));
            assert_eq!(late.count(), 1, "{doing}");
            tree.retain(|path, _| !path.to_string_lossy().starts_with("late"));
            let mut expected = place.tree(&clean, 1, false);
            expected.retain(|path, _| !path.to_string_lossy().starts_with("late"));
            tree.remove(Path::new("."));
            content::assert_same(&expected, &tree, &doing);
            disks::check(&new, 1);
        }
    }
}

/// Exports a disk and restores it to disks of other sizes, all in MiB.
fn there_and_back(layout: Layout, kind: &str, size: u64, others: &[u64]) {
    let Some(place) = Place::new() else {
        return;
    };
    let old = place.disk(layout, kind, size * MIB);
    let before = disks::hash(&old);
    let stream = disks::exported(&old);
    assert_eq!(disks::hash(&old), before, "the export wrote");
    for other in others {
        let doing = format!("{kind} in {layout:?} from {size} to {other} MiB");
        println!("{doing}");
        let new = place.used("new.img", other * MIB);
        place.restore(&stream, &new).expect(&doing);
        let becomes = match size.cmp(other) {
            std::cmp::Ordering::Equal => Becomes::Same,
            std::cmp::Ordering::Less => Becomes::Larger,
            std::cmp::Ordering::Greater => Becomes::Smaller,
        };
        compare(&place, layout, (&old, &new), becomes, &doing);
    }
}

fn compare(
    place: &Place,
    layout: Layout,
    (old, new): (&Path, &Path),
    becomes: Becomes,
    doing: &str,
) {
    let (main, others): (_, &[u32]) = match layout {
        Layout::Whole => (0, &[]),
        Layout::Logical => (5, &[1, 6]),
        Layout::Primary | Layout::Gpt => (1, &[2]),
    };
    for number in others.iter().chain([&main]) {
        let signature = |path| disks::signature(path, disks::extent(path, *number));
        assert_eq!(signature(old), signature(new), "{doing}: {number}");
    }
    disks::check(new, main);
    // Programs that shrink a filesystem give inodes new numbers.
    let tree = |path| place.tree(path, main, becomes != Becomes::Smaller);
    content::assert_same(&tree(old), &tree(new), doing);
    let (was, is) = (place.size(old, main), place.size(new, main));
    let more = disks::extent(new, main).length as i64 - disks::extent(old, main).length as i64;
    match becomes {
        Becomes::Same => assert_eq!((more, was), (0, is), "{doing}"),
        Becomes::Larger if layout == Layout::Whole && !disks::may_grow_mounted(old) => {
            p2v_testing::skip(&format!("{doing}: growing it needs CAP_SYS_RESOURCE"));
            assert_eq!(was, is, "{doing}");
        }
        Becomes::Larger => assert!(
            more > 0 && is > was + more as u64 * 8 / 10,
            "{doing}: {was} {is}"
        ),
        Becomes::Smaller => assert!(more < 0 && is < was, "{doing}: {was} {is}"),
    }
    if layout != Layout::Whole {
        compare_tables(old, new, becomes, doing);
    }
}

fn compare_tables(old: &Path, new: &Path, becomes: Becomes, doing: &str) {
    assert_eq!(disks::identity(old), disks::identity(new), "{doing}");
    let table = |path| Table::read(path).unwrap().unwrap();
    if becomes == Becomes::Same {
        assert_eq!(table(old), table(new), "{doing}");
    }
    let verify = Cmd::new("sfdisk", "verifying").arg("--verify").arg(new);
    let text = verify.read().unwrap();
    assert!(text.contains("No errors detected"), "{doing}: {text}");
    let aligned = table(new)
        .partitions
        .iter()
        .all(|entry| entry.start % 2048 == 0);
    assert!(aligned, "{doing}");
    let end = table(new)
        .partitions
        .iter()
        .map(|entry| entry.end())
        .max()
        .unwrap();
    let left = std::fs::metadata(new).unwrap().len() - end * 512;
    assert!(left < 4 * MIB, "{doing}: {left} bytes are left at the end");
}
