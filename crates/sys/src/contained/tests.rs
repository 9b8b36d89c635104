//! Links and paths that lead out of a root, which nobody follows.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

fn rooted() -> (tempfile::TempDir, Root) {
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("root");
    std::fs::create_dir(&inner).unwrap();
    let root = Root::open(&inner).unwrap();
    (outer, root)
}

#[test]
fn a_final_link_is_replaced_not_followed() {
    let (outer, root) = rooted();
    let victim = outer.path().join("passwd");
    std::fs::write(&victim, "precious").unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    symlink(&victim, root.path().join("etc/fstab")).unwrap();
    symlink("../../passwd", root.path().join("etc/hostname")).unwrap();
    root.write("/etc/fstab", "ours", 0o644).unwrap();
    root.write("/etc/hostname", "ours", 0o644).unwrap();
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    let fstab = root.path().join("etc/fstab");
    assert!(std::fs::symlink_metadata(fstab).unwrap().is_file());
}

#[test]
fn a_linked_directory_leads_to_its_place_inside() {
    let (outer, root) = rooted();
    std::fs::create_dir(outer.path().join("etc")).unwrap();
    symlink(outer.path().join("etc"), root.path().join("etc")).unwrap();
    let error = root.write("etc/fstab", "ours", 0o644);
    assert!(error.is_err(), "the link dangles inside the root");
    symlink("/../../real", root.path().join("lib")).unwrap();
    std::fs::create_dir(root.path().join("real")).unwrap();
    root.write("lib/file", "ours", 0o644).unwrap();
    assert!(root.path().join("real/file").exists());
    assert_eq!(
        std::fs::read_dir(outer.path().join("etc")).unwrap().count(),
        0
    );
}

#[test]
fn reading_never_leaves_the_root_nor_hangs() {
    let (outer, root) = rooted();
    std::fs::write(outer.path().join("secret"), "secret").unwrap();
    symlink("../secret", root.path().join("link")).unwrap();
    assert_eq!(root.read("link").unwrap(), None);
    nix::unistd::mkfifo(&root.path().join("fifo"), Mode::S_IRWXU).unwrap();
    let error = root.read("fifo").unwrap_err();
    assert!(format!("{error:#}").contains("not a regular file"));
}

#[test]
fn rewriting_keeps_owner_mode_attributes_and_links() {
    let (outer, root) = rooted();
    let file = root.path().join("etc/real");
    std::fs::create_dir(root.path().join("etc")).unwrap();
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o2640)).unwrap();
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        std::os::unix::fs::chown(&file, Some(7), Some(8)).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o2640)).unwrap();
        xattr::set(&file, "trusted.label", b"x").unwrap();
    }
    symlink("/etc/real", root.path().join("link")).unwrap();
    root.rewrite("link", "new").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
    assert!(root.path().join("link").is_symlink());
    let metadata = std::fs::metadata(&file).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o2640);
    if is_root {
        assert_eq!((metadata.uid(), metadata.gid()), (7, 8));
        let label = xattr::get(&file, "trusted.label").unwrap();
        assert_eq!(label.as_deref(), Some(&b"x"[..]));
    }
    assert_eq!(root.list("etc").unwrap(), ["real"]);
    std::fs::write(outer.path().join("passwd"), "precious").unwrap();
    symlink("../passwd", root.path().join("out")).unwrap();
    assert!(root.rewrite("out", "new").is_err());
    assert!(root.rewrite("etc", "new").is_err());
    assert!(root.rewrite("missing", "new").is_err());
    let passwd = std::fs::read_to_string(outer.path().join("passwd"));
    assert_eq!(passwd.unwrap(), "precious");
}

#[test]
fn links_are_told_and_resolved_inside() {
    let (_outer, root) = rooted();
    root.write("etc/default/grub", "x", 0o644).unwrap();
    root.symlink("/etc/default/grub", "etc/sysconfig").unwrap();
    root.symlink("/dev/null", "etc/masked").unwrap();
    let real = |path| root.real_path(path).unwrap();
    assert_eq!(real("/etc/sysconfig"), Some("etc/default/grub".into()));
    assert_eq!(real("/etc/masked"), None);
    assert_eq!(real("../.."), Some("".into()));
    let link = |path| root.read_link(path).unwrap();
    assert_eq!(link("etc/masked"), Some("/dev/null".into()));
    assert_eq!(link("etc/default/grub"), None);
    assert_eq!(link("etc/none"), None);
}

#[test]
fn missing_directories_are_made_and_modes_kept() {
    let (_outer, root) = rooted();
    root.write("a/b/c", "x", 0o640).unwrap();
    let metadata = std::fs::metadata(root.path().join("a/b/c")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    assert_eq!(root.list("a").unwrap(), ["b"]);
    root.remove_file("a/b/c").unwrap();
    root.remove_file("a/b/c").unwrap();
    assert!(!root.exists("a/b/c"));
}
