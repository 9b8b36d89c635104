//! A comparison finds each kind of difference, and changes nothing.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::common::{copy, nasty, scratch};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use p2v_copy::{Difference, SendOptions};

/// Compares in this process.
pub fn compare(from: &Path, to: &Path, options: &SendOptions) -> Vec<Difference> {
    let (near, far) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let receiving = scope.spawn(move || p2v_copy::answer(to, &far, &far));
        let found = p2v_copy::compare(from, &near, &near, options, &|_| {});
        drop(near);
        receiving.join().unwrap().unwrap();
        found.unwrap()
    })
}

#[test]
fn each_kind_of_difference_is_found() {
    crate::need_root!();
    let scratch = scratch();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    nasty(&from);
    copy(&from, &to).unwrap();
    let options = SendOptions::default();
    assert_eq!(compare(&from, &to, &options), []);

    let at = |name: &str| to.join(name);
    let keeping_time = |name: &str, change: &dyn Fn()| {
        let parent = at(name).parent().unwrap().to_owned();
        let times = [at(name), parent].map(|path| (path.symlink_metadata().ok(), path));
        change();
        for (metadata, path) in times {
            let Some(metadata) = metadata else { continue };
            let modified = TimeSpec::from(
                metadata
                    .modified()
                    .unwrap()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap(),
            );
            let flags = UtimensatFlags::NoFollowSymlink;
            let _ = utimensat(nix::fcntl::AT_FDCWD, &path, &modified, &modified, flags);
        }
    };
    let write = |name: &str| {
        let file = fs::OpenOptions::new().write(true).open(at(name)).unwrap();
        file.write_all_at(b"!", 100).unwrap();
    };
    keeping_time("size-3000001", &|| write("size-3000001"));
    keeping_time("a/b/c/small-20", &|| write("a/b/c/small-20"));
    keeping_time("size-131073", &|| {
        fs::OpenOptions::new()
            .append(true)
            .open(at("size-131073"))
            .unwrap()
            .set_len(9)
            .unwrap();
    });
    keeping_time("secret", &|| {
        lchown(at("secret"), Some(1), Some(2)).unwrap()
    });
    keeping_time("setuid", &|| {
        fs::set_permissions(at("setuid"), fs::Permissions::from_mode(0o755)).unwrap()
    });
    keeping_time("size-511", &|| {
        xattr::remove(at("size-511"), "user.empty").unwrap();
        xattr::set(at("size-511"), "user.long", b"x").unwrap();
        xattr::set(at("size-511"), "user.more", b"x").unwrap();
    });
    keeping_time("dangling", &|| {
        fs::remove_file(at("dangling")).unwrap();
        symlink("/elsewhere", at("dangling")).unwrap();
        lchown(at("dangling"), Some(7), Some(8)).unwrap();
    });
    keeping_time("a/b/link-9", &|| {
        fs::remove_file(at("a/b/link-9")).unwrap();
        fs::write(at("a/b/link-9"), "one of many").unwrap();
        let _ = std::process::Command::new("setfacl")
            .arg("-b")
            .arg(at("a/b/link-9"))
            .status();
    });
    keeping_time("hole", &|| fs::remove_file(at("hole")).unwrap());
    keeping_time("new", &|| fs::write(at("new"), "").unwrap());
    keeping_time("sticky", &|| {
        fs::remove_dir_all(at("sticky")).unwrap();
        symlink("a", at("sticky")).unwrap();
    });
    let found = compare(&from, &to, &options);
    let said = |path: &str| -> Vec<&str> {
        found
            .iter()
            .filter(|d| d.path == path)
            .map(|d| d.what.as_str())
            .collect()
    };
    assert_eq!(said("size-3000001"), ["content"]);
    assert_eq!(said("a/b/c/small-20"), ["content"]);
    assert_eq!(said("size-131073"), ["size 9, not 131073"]);
    assert_eq!(said("secret"), ["owner 1:2, not 33:0"]);
    assert_eq!(said("setuid"), ["mode 0755, not 4755"]);
    let attributes = [
        "attribute user.empty missing",
        "attribute user.long",
        "attribute user.more too many",
    ];
    assert_eq!(said("size-511"), attributes);
    assert_eq!(said("dangling"), ["target /elsewhere, not /nowhere/at/all"]);
    assert!(said("a/b/link-9").contains(&"another file, not another name of the same"));
    assert_eq!(said("hole"), ["missing"]);
    assert_eq!(said("new"), ["not at the source"]);
    assert_eq!(said("sticky"), ["a symbolic link, not a directory"]);
    assert_eq!(
        found
            .iter()
            .filter(|d| !["size-511", "a/b/link-9"].contains(&d.path.as_str()))
            .count(),
        9,
        "{found:#?}"
    );

    let exclude = ["new", "hole", "/sticky", "a/b/link-9", "size-511"]
        .map(String::from)
        .to_vec();
    let fewer = compare(
        &from,
        &to,
        &SendOptions {
            exclude,
            ..SendOptions::default()
        },
    );
    assert_eq!(fewer.len(), 6, "{fewer:#?}");
    crate::common::unlock_all(&[&from, &to]);
}

#[test]
fn many_differences_are_counted() {
    crate::need_root!();
    let scratch = scratch();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    for number in 0..1500 {
        fs::write(from.join(number.to_string()), "").unwrap();
    }
    let found = compare(&from, &to, &SendOptions::default());
    assert_eq!(found.len(), 1001);
    // The directory's own time is one, too.
    assert_eq!(found[1000].what, "and 501 more");
}
