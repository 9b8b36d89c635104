//! A comparison finds each kind of difference, and changes nothing.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::time::UNIX_EPOCH;

use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use p2v_copy::{Difference, SendOptions};
use p2v_sys::Cmd;

use crate::common::{between, copy, from_and_to, nasty, unlock_all};

/// Compares in this process.
pub fn compare(from: &Path, to: &Path, options: &SendOptions) -> Vec<Difference> {
    let (found, answered) = between(
        |far| p2v_copy::answer(to, far, far),
        |near| p2v_copy::compare(from, near, near, options, &|_| {}),
    );
    answered.unwrap();
    found.unwrap()
}

/// A path of the nasty tree, what is done to it, and what a comparison says.
type Change = (&'static str, fn(&Path), &'static [&'static str]);

const CHANGES: [Change; 11] = [
    ("size-3000001", write, &["content"]),
    ("a/b/c/small-20", write, &["content"]),
    ("size-131073", cut, &["size 9, not 131073"]),
    (
        "secret",
        |path| lchown(path, Some(1), Some(2)).unwrap(),
        &["owner 1:2, not 33:0"],
    ),
    (
        "setuid",
        |path| fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap(),
        &["mode 0755, not 4755"],
    ),
    (
        "size-511",
        change_attributes,
        &[
            "attribute user.empty missing",
            "attribute user.long",
            "attribute user.more too many",
        ],
    ),
    (
        "dangling",
        |path| {
            fs::remove_file(path).unwrap();
            symlink("/elsewhere", path).unwrap();
            lchown(path, Some(7), Some(8)).unwrap();
        },
        &["target /elsewhere, not /nowhere/at/all"],
    ),
    (
        "a/b/link-9",
        unlink,
        &["another file, not another name of the same"],
    ),
    ("hole", |path| fs::remove_file(path).unwrap(), &["missing"]),
    (
        "new",
        |path| fs::write(path, "").unwrap(),
        &["not at the source"],
    ),
    (
        "sticky",
        |path| {
            fs::remove_dir_all(path).unwrap();
            symlink("a", path).unwrap();
        },
        &["a symbolic link, not a directory"],
    ),
];

fn write(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(b"!", 100).unwrap();
}

fn cut(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(9).unwrap();
}

fn change_attributes(path: &Path) {
    xattr::remove(path, "user.empty").unwrap();
    xattr::set(path, "user.long", b"x").unwrap();
    xattr::set(path, "user.more", b"x").unwrap();
}

/// Puts a file of its own, with the same contents, in the place of a name.
fn unlink(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::write(path, "one of many").unwrap();
    // It may have inherited an access control list.
    let _ = Cmd::new("setfacl", "changing").arg("-b").arg(path).run();
}

/// Changes what is at `path`, and leaves its time and its directory's.
fn keeping_time(path: &Path, change: fn(&Path)) {
    let parent = path.parent().unwrap();
    let times = [path, parent].map(|path| (path.symlink_metadata().ok(), path));
    change(path);
    for (metadata, path) in times {
        let Some(metadata) = metadata else { continue };
        let since = metadata.modified().unwrap().duration_since(UNIX_EPOCH);
        let modified = TimeSpec::from(since.unwrap());
        let flags = UtimensatFlags::NoFollowSymlink;
        let _ = utimensat(nix::fcntl::AT_FDCWD, path, &modified, &modified, flags);
    }
}

#[test]
fn each_kind_of_difference_is_found() {
    p2v_testing::need_root!();
    let (_scratch, from, to) = from_and_to();
    nasty(&from);
    copy(&from, &to).unwrap();
    let options = SendOptions::default();
    assert_eq!(compare(&from, &to, &options), []);

    for (name, change, _) in CHANGES {
        keeping_time(&to.join(name), change);
    }
    let found = compare(&from, &to, &options);
    for (name, _, expected) in CHANGES {
        let of_it = found.iter().filter(|difference| difference.path == name);
        let mut said: Vec<&str> = of_it.map(|difference| difference.what.as_str()).collect();
        // What is another file differs in other ways, too.
        said.retain(|what| name != "a/b/link-9" || expected.contains(what));
        assert_eq!(said, expected, "{name}");
    }
    let but_two =
        |difference: &&Difference| !["size-511", "a/b/link-9"].contains(&&*difference.path);
    assert_eq!(found.iter().filter(but_two).count(), 9, "{found:#?}");

    let exclude = ["new", "hole", "/sticky", "a/b/link-9", "size-511"];
    let but_those = SendOptions {
        exclude: exclude.map(String::from).to_vec(),
        ..SendOptions::default()
    };
    let fewer = compare(&from, &to, &but_those);
    assert_eq!(fewer.len(), 6, "{fewer:#?}");
    unlock_all(&[&from, &to]);
}

#[test]
fn many_differences_are_counted() {
    p2v_testing::need_root!();
    let (_scratch, from, to) = from_and_to();
    for number in 0..1500 {
        fs::write(from.join(number.to_string()), "").unwrap();
    }
    let found = compare(&from, &to, &SendOptions::default());
    assert_eq!(found.len(), 1001);
    // The directory's own time is one, too.
    assert_eq!(found[1000].what, "and 501 more");
}
