//! Trees copied between two threads, judged by rsync.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, lchown, symlink};
use std::path::Path;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use p2v_copy::SendOptions;

use crate::common::{copy, copy_with, from_and_to, judge, nasty};
use crate::compare::compare;
use p2v_testing::need_root;

#[test]
fn a_nasty_tree_arrives_and_nothing_is_sent_again() {
    need_root!();
    let (_scratch, from, to) = from_and_to();
    nasty(&from);
    let first = copy(&from, &to).unwrap();
    judge(&from, &to);
    assert!(first.bytes_sent > 0);
    let again = copy(&from, &to).unwrap();
    judge(&from, &to);
    assert_eq!(again.bytes_sent, 0);
    assert_eq!(
        (again.entries, again.bytes_done),
        (first.entries, first.bytes_done)
    );
    crate::common::unlock_all(&[&from, &to]);
}

#[test]
fn what_has_changed_is_made_equal_again() {
    need_root!();
    let (_scratch, from, to) = from_and_to();
    nasty(&from);
    copy(&from, &to).unwrap();
    crate::common::unlock_all(&[&from]);
    let at = |name: &str| from.join(name);
    // The same size, another time.
    fs::write(at("size-511"), [9; 511]).unwrap();
    fs::remove_dir_all(at("a/b/c")).unwrap();
    fs::write(at("a/b/c"), "was a directory").unwrap();
    fs::remove_file(at("size-0")).unwrap();
    fs::create_dir_all(at("size-0/was/a/file")).unwrap();
    fs::remove_file(at("symlink")).unwrap();
    fs::write(at("symlink"), "was a link").unwrap();
    fs::remove_file(at("sticky/file")).unwrap();
    fs::remove_dir(at("sticky")).unwrap();
    symlink("a", at("sticky")).unwrap();
    // Groups of names change.
    fs::remove_file(at("a/b/link-1")).unwrap();
    fs::write(at("a/b/link-1"), "one of many").unwrap();
    fs::remove_file(at("a/b/link-2")).unwrap();
    fs::hard_link(at("a/b/link-1"), at("a/b/link-2")).unwrap();
    fs::remove_file(at("linked")).unwrap();
    fs::remove_file(at("pipe")).unwrap();
    fs::hard_link(at("size-1"), at("pipe")).unwrap();
    xattr::remove(at("a"), "user.note").unwrap();
    xattr::set(at("size-1"), "user.note", b"new").unwrap();
    lchown(at("capable"), Some(6), Some(6)).unwrap();
    fs::create_dir_all(to.join("not/there/any/more")).unwrap();
    copy(&from, &to).unwrap();
    judge(&from, &to);
    assert_eq!(copy(&from, &to).unwrap().bytes_sent, 0);
    crate::common::unlock_all(&[&from, &to]);
}

#[test]
fn what_is_left_out_is_neither_sent_nor_removed() {
    need_root!();
    let scratch = p2v_testing::scratch("copy");
    let top = |name: &str| scratch.path().join(name);
    for name in ["from/a/b", "to/a/b", "to/gone"] {
        fs::create_dir_all(top(name)).unwrap();
    }
    for name in ["from/a/b/x", "from/a/b/y", "to/a/b/x"] {
        fs::write(top(name), name).unwrap();
    }
    let exclude = vec!["/a/b/x".to_owned()];
    let options = SendOptions {
        exclude,
        ..SendOptions::default()
    };
    copy_with(&top("from"), &top("to"), &options).unwrap();
    let read = |name: &str| fs::read_to_string(top(name)).ok();
    assert_eq!(read("to/a/b/x").as_deref(), Some("to/a/b/x"));
    assert_eq!(read("to/a/b/y").as_deref(), Some("from/a/b/y"));
    assert!(!top("to/gone").exists());
}

#[test]
fn small_files_keep_their_holes() {
    need_root!();
    let (_scratch, from, to) = from_and_to();
    let blocks = |path: &Path| fs::metadata(path).unwrap().blocks();
    // Where the data is, and how long the file.
    let files = [
        (0, 131_072),
        (65_536, 131_072),
        (126_976, 131_072),
        (8192, 20_000),
    ];
    for (number, (at, length)) in files.into_iter().enumerate() {
        let file = fs::File::create(from.join(number.to_string())).unwrap();
        file.set_len(length).unwrap();
        file.write_all_at(b"data", at).unwrap();
        file.sync_all().unwrap();
    }
    let hole = fs::File::create(from.join("hole")).unwrap();
    hole.set_len(100_000).unwrap();
    drop(hole);
    fs::write(from.join("whole"), [1; 100_000]).unwrap();
    copy(&from, &to).unwrap();
    for entry in fs::read_dir(&from).unwrap() {
        let (ours, theirs) = (entry.unwrap().path(), to.clone());
        let theirs = theirs.join(ours.file_name().unwrap());
        assert_eq!(fs::read(&ours).unwrap(), fs::read(&theirs).unwrap());
        assert_eq!(blocks(&ours), blocks(&theirs), "{}", ours.display());
    }
    judge(&from, &to);
    assert_eq!(copy(&from, &to).unwrap().bytes_sent, 0);
}

#[test]
fn paths_may_be_longer_than_any_call_takes() {
    need_root!();
    let (_scratch, from, to) = from_and_to();
    let deep = |top: &Path| {
        let mut at = fs::File::open(top).unwrap();
        let name = "d".repeat(200);
        for _ in 0..60 {
            mkdirat(&at, name.as_str(), Mode::S_IRWXU).unwrap();
            let flags = OFlag::O_DIRECTORY;
            at = openat(&at, name.as_str(), flags, Mode::empty())
                .unwrap()
                .into();
        }
        openat(
            &at,
            "bottom",
            OFlag::O_CREAT | OFlag::O_WRONLY,
            Mode::S_IRWXU,
        )
        .unwrap();
    };
    deep(&from);
    assert_eq!(copy(&from, &to).unwrap().entries, 62);
    // rsync cannot look at it.
    let options = SendOptions::default();
    assert_eq!(compare(&from, &to, &options), []);
    fs::remove_dir_all(&from).unwrap();
    fs::create_dir(&from).unwrap();
    copy(&from, &to).unwrap();
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
}

/// For trials by hand: `cargo test -p p2v-copy -- --ignored --nocapture many`.
#[test]
#[ignore = "takes long, and asserts nothing of its time"]
fn many_small_files() {
    need_root!();
    let (_scratch, from, to) = from_and_to();
    for directory in 0..100 {
        let directory = from.join(directory.to_string());
        fs::create_dir_all(&directory).unwrap();
        for number in 0..1000 {
            fs::write(directory.join(number.to_string()), number.to_string()).unwrap();
        }
    }
    for _ in 0..2 {
        let begun = std::time::Instant::now();
        let progress = copy(&from, &to).unwrap();
        eprintln!("{progress:?} in {:?}", begun.elapsed());
    }
    judge(&from, &to);
}
