//! Packing and unpacking keep everything about a tree.

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Result;
use p2v_bootstrap::archive::{Packed, Scope, pack, unpack, unpack_what_fits};
use p2v_testing::manifest;

/// Where a tree is packed, and an empty directory for what comes out again.
struct Place {
    tree: PathBuf,
    copy: PathBuf,
    archive: PathBuf,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [tree, copy, archive] = ["tree", "copy", "archive"].map(|name| dir.path().join(name));
        std::fs::create_dir(&copy).unwrap();
        Self {
            tree,
            copy,
            archive,
            dir,
        }
    }

    fn pack(&self, scope: &Scope) -> Result<Packed> {
        let file = File::create(&self.archive).unwrap();
        pack(&self.tree, &file, &self.archive, scope)
    }

    fn packed(&self) -> File {
        File::open(&self.archive).unwrap()
    }
}

#[test]
fn a_tree_survives_with_everything() {
    p2v_testing::need_root!();
    let place = Place::new();
    common::make_tree(&place.tree);
    let packed = place.pack(&Scope::default()).unwrap();
    unpack(place.packed(), &place.copy).unwrap();
    let expected = manifest::of(&place.tree).unwrap();
    let found = manifest::of(&place.copy).unwrap();
    assert_eq!(manifest::differences(&expected, &found), [""; 0]);
    // Two of the paths are further names of one file.
    assert_eq!(packed.inodes, expected.len() as u64 - 2);
    assert!(packed.unpacked_bytes > 2_800_000 && packed.unpacked_bytes < 3_100_000);
    let bytes = std::fs::read(&place.archive).unwrap();
    assert_eq!(packed.archive_bytes, bytes.len() as u64);
    assert_eq!(packed.archive_blake3, blake3::hash(&bytes).to_string());
}

#[test]
fn nothing_is_written_through_a_link_in_the_target() {
    p2v_testing::need_root!();
    let place = Place::new();
    let outside = place.dir.path().join("outside");
    std::fs::create_dir_all(place.tree.join("etc")).unwrap();
    std::fs::write(place.tree.join("etc/passwd"), "ours").unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, place.copy.join("etc")).unwrap();
    place.pack(&Scope::default()).unwrap();
    let error = unpack(place.packed(), &place.copy).unwrap_err();
    assert!(format!("{error:#}").contains("etc"), "{error:#}");
    assert!(!outside.join("passwd").exists());
}

#[test]
fn a_cut_archive_is_an_error() {
    p2v_testing::need_root!();
    let place = Place::new();
    common::make_tree(&place.tree);
    place.pack(&Scope::default()).unwrap();
    let file = File::options().write(true).open(&place.archive).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    unpack(place.packed(), &place.copy).unwrap_err();
}

#[test]
fn what_is_out_of_scope_stays_out() {
    p2v_testing::need_root!();
    let place = Place::new();
    let tree = &place.tree;
    common::make_tree(tree);
    std::fs::create_dir_all(tree.join("proc")).unwrap();
    std::fs::write(tree.join("secret"), "secret").unwrap();
    let none: Option<&str> = None;
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(none, &tree.join("proc"), Some("proc"), flags, none).unwrap();
    let scope = Scope {
        exclude: ["boot", "secret"].map(Into::into).into(),
        one_filesystem: true,
    };
    let packed = place.pack(&scope);
    nix::mount::umount(&tree.join("proc")).unwrap();
    packed.unwrap();
    let lost = unpack_what_fits(place.packed(), &place.copy).unwrap();
    assert_eq!(lost, 0);
    let mut expected = manifest::of(tree).unwrap();
    let found = manifest::of(&place.copy).unwrap();
    expected
        .retain(|path, _| !path.ends_with("secret") && path.parent() != Some(Path::new("boot")));
    let paths = |of: &BTreeMap<PathBuf, String>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(&found), paths(&expected));
    assert!(found.keys().any(|path| path.ends_with("boot")));
}
