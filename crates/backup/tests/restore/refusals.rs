//! Streams that do not fit, or are not whole: the disk is as it was, or has
//! neither a table nor a superblock.

use std::path::Path;

use nix::mount::MsFlags;
use p2v_backup::restore::Untouched;
use p2v_sys::{Cmd, Mount};

use crate::content;
use crate::disks::{self, Layout, MIB, Place};

/// Fails unless the disk refuses the stream with these words, and is the same.
fn assert_refused(place: &Place, stream: &[u8], disk: &Path, words: &[&str]) {
    let before = disks::hash(disk);
    let error = place.restore(stream, disk).unwrap_err();
    let text = format!("{error:#}");
    assert!(error.is::<Untouched>(), "{text}");
    assert!(text.contains("nothing was written"), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert_eq!(disks::hash(disk), before, "{text}");
}

#[test]
fn what_does_not_fit_is_refused_before_the_first_write() {
    let Some(place) = Place::new() else {
        return;
    };
    let smaller = place.used("new.img", 350 * MIB);
    let stream = disks::exported(&place.disk(Layout::Gpt, "xfs", 400 * MIB));
    let words = [
        "350 MiB",
        "398 MiB are needed",
        "partition 1 (xfs)",
        "cannot shrink",
    ];
    assert_refused(&place, &stream, &smaller, &words);
    // With the swap area's size on top.
    let stream = disks::exported(&place.disk(Layout::Primary, "ext4", 200 * MIB));
    let tiny = place.used("new.img", 32 * MIB);
    assert_refused(
        &place,
        &stream,
        &tiny,
        &["32 MiB", "are needed", "partition 1 (ext4)"],
    );
}

#[test]
fn it_shrinks_as_far_as_it_can_and_is_whole_or_leaves_the_disk() {
    let Some(place) = Place::new() else {
        return;
    };
    let old = place.disk(Layout::Primary, "ext4", 200 * MIB);
    let stream = disks::exported(&old);
    for (refused, size) in (42..100).enumerate() {
        let new = place.used("new.img", size * MIB);
        let before = disks::hash(&new);
        let Err(error) = place.restore(&stream, &new) else {
            disks::check(&new, 1);
            let tree = |path| place.tree(path, 1, false);
            content::assert_same(&tree(&old), &tree(&new), "shrunk");
            assert!(
                refused > 0 && size < 60,
                "{refused} refused, then {size} MiB"
            );
            return;
        };
        assert!(error.is::<Untouched>(), "{error:#}");
        assert_eq!(disks::hash(&new), before, "{error:#}");
    }
    panic!("it never fitted");
}

#[test]
fn sectors_of_another_size_are_refused() {
    let Some(place) = Place::new() else {
        return;
    };
    let stream = disks::exported(&place.disk(Layout::Primary, "ext2", 60 * MIB));
    let file = place.used("new.img", 100 * MIB);
    let attach = Cmd::new("losetup", "attaching").args(["--find", "--show"]);
    let attach = attach.args(["--sector-size", "4096"]).arg(&file);
    let device = attach.read().unwrap();
    assert_refused(&place, &stream, Path::new(&device), &["512", "4096"]);
    let detach = Cmd::new("losetup", "detaching").arg("--detach");
    detach.arg(device).run().unwrap();
}

#[test]
fn a_sparse_disk_needs_room_for_its_data() {
    let Some(place) = Place::new() else {
        return;
    };
    let stream = disks::exported(&place.disk(Layout::Primary, "ext4", 200 * MIB));
    let full = place.path("full");
    std::fs::create_dir(&full).unwrap();
    let small = Mount::new("tmpfs", &full, "tmpfs", MsFlags::empty(), "size=8m").unwrap();
    let disk = place.blank("full/new.img", 200 * MIB);
    assert_refused(&place, &stream, &disk, &["8 MiB", "make room"]);
    // LVM, say: how much of it is data shows only when it comes.
    let raw = place.blank("raw.img", 60 * MIB);
    std::fs::write(&raw, content::noise(5, 60 << 20)).unwrap();
    let stream = disks::exported(&raw);
    let disk = place.blank("full/new.img", 60 * MIB);
    let text = format!("{:#}", place.restore(&stream, &disk).unwrap_err());
    assert!(text.contains("full?") && text.contains("new.img"), "{text}");
    disks::assert_unbootable(&disk);
    small.close().unwrap();
}

#[test]
fn truncated_and_damaged_streams_leave_nothing_to_boot() {
    let Some(place) = Place::new() else {
        return;
    };
    for (layout, size) in [(Layout::Whole, 60), (Layout::Gpt, 90), (Layout::Gpt, 70)] {
        let old = place.disk(layout, "ext4", if size == 60 { 60 } else { 80 } * MIB);
        let stream = disks::exported(&old);
        let new = place.blank("new.img", size * MIB);
        // The manifest is read before there is a disk.
        let first = 4096;
        for step in 0..12 {
            let at = first + (stream.len() - first) * step / 12;
            // Complete before, so that what is left of it would show.
            std::fs::copy(&old, &new).unwrap();
            let file = std::fs::File::options().write(true).open(&new).unwrap();
            file.set_len(size * MIB).unwrap();
            drop(file);
            let text = format!("{:#}", place.restore(&stream[..at], &new).unwrap_err());
            assert!(text.contains("truncated"), "{text}");
            assert_unbootable(&new, size < 80);
            let mut damaged = stream.clone();
            damaged[at] ^= 16;
            let text = format!("{:#}", place.restore(&damaged, &new).unwrap_err());
            assert!(
                text.contains("damaged") || text.contains("truncated"),
                "{text}"
            );
            assert_unbootable(&new, size < 80);
        }
    }
}

/// If it is read into another file first, the disk has not been written to, and
/// wiping it is left to the caller.
fn assert_unbootable(disk: &Path, untouched: bool) {
    if !untouched || disk.metadata().unwrap().len() == 60 * MIB {
        disks::assert_unbootable(disk);
    }
}
