//! Packing and unpacking keep everything about a tree.

mod common;

use std::fs::File;
use std::path::Path;

use p2v_bootstrap::archive::{Scope, pack, unpack, unpack_what_fits};

#[test]
fn a_tree_survives_with_everything() {
    if !common::root_or_skip() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, copy) = (dir.path().join("tree"), dir.path().join("copy"));
    let archive = dir.path().join("archive");
    common::make_tree(&tree);
    std::fs::create_dir(&copy).unwrap();
    let packed = pack(
        &tree,
        &File::create(&archive).unwrap(),
        &archive,
        &Scope::default(),
    )
    .unwrap();
    unpack(File::open(&archive).unwrap(), &copy).unwrap();
    let (expected, found) = (common::describe(&tree), common::describe(&copy));
    for (path, line) in &expected {
        assert_eq!(found.get(path), Some(line), "{path:?}");
    }
    assert_eq!(found.len(), expected.len());
    // Two of the paths are further names of one file.
    assert_eq!(packed.inodes, expected.len() as u64 - 2);
    assert!(packed.unpacked_bytes > 2_800_000 && packed.unpacked_bytes < 3_100_000);
    assert_eq!(
        packed.archive_bytes,
        std::fs::metadata(&archive).unwrap().len()
    );
    let hash = blake3::hash(&std::fs::read(&archive).unwrap());
    assert_eq!(packed.archive_blake3, hash.to_string());
}

#[test]
fn nothing_is_written_through_a_link_in_the_target() {
    if !common::root_or_skip() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, copy) = (dir.path().join("tree"), dir.path().join("copy"));
    let outside = dir.path().join("outside");
    let archive = dir.path().join("archive");
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    std::fs::write(tree.join("etc/passwd"), "ours").unwrap();
    std::fs::create_dir(&copy).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, copy.join("etc")).unwrap();
    pack(
        &tree,
        &File::create(&archive).unwrap(),
        &archive,
        &Scope::default(),
    )
    .unwrap();
    let error = unpack(File::open(&archive).unwrap(), &copy).unwrap_err();
    assert!(format!("{error:#}").contains("etc"), "{error:#}");
    assert!(!outside.join("passwd").exists());
}

#[test]
fn a_cut_archive_is_an_error() {
    if !common::root_or_skip() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let archive = dir.path().join("archive");
    common::make_tree(&tree);
    pack(
        &tree,
        &File::create(&archive).unwrap(),
        &archive,
        &Scope::default(),
    )
    .unwrap();
    let file = File::options().write(true).open(&archive).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    unpack(File::open(&archive).unwrap(), &copy).unwrap_err();
}

#[test]
fn what_is_out_of_scope_stays_out() {
    if !common::root_or_skip() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, copy) = (dir.path().join("tree"), dir.path().join("copy"));
    let archive = dir.path().join("archive");
    common::make_tree(&tree);
    std::fs::create_dir_all(tree.join("proc")).unwrap();
    std::fs::write(tree.join("secret"), "secret").unwrap();
    std::fs::create_dir(&copy).unwrap();
    let none: Option<&str> = None;
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(none, &tree.join("proc"), Some("proc"), flags, none).unwrap();
    let scope = Scope {
        exclude: ["boot", "secret"].map(Into::into).into(),
        one_filesystem: true,
    };
    let packed = pack(&tree, &File::create(&archive).unwrap(), &archive, &scope);
    nix::mount::umount(&tree.join("proc")).unwrap();
    packed.unwrap();
    let lost = unpack_what_fits(File::open(&archive).unwrap(), &copy).unwrap();
    assert_eq!(lost, 0);
    let mut expected = common::describe(&tree);
    let found = common::describe(&copy);
    expected
        .retain(|path, _| !path.ends_with("secret") && path.parent() != Some(Path::new("boot")));
    let paths = |of: &std::collections::BTreeMap<_, _>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(&found), paths(&expected));
    assert!(found.keys().any(|path| path.ends_with("boot")));
}
