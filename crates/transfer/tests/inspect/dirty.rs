//! Filesystems whose journals would have to be replayed.

use std::io::Write;

use super::image::*;
use p2v_transfer::source::OpenSource;

/// Of no other test, since the kernel knows every btrfs by it.
const BTRFS: &str = "11111111-2222-3333-4444-555555555503";

/// A copy of the image as it is while it is mounted, and something has just
/// been written for sure.
fn copied_while_mounted(image: &Image, kind: &str) -> Image {
    let mounted = image.mounted(0, kind, "");
    std::fs::write(mounted.path().join("first"), "x").unwrap();
    let top = std::fs::File::open(mounted.path()).unwrap();
    nix::unistd::syncfs(&top).unwrap();
    let mut file = std::fs::File::create(mounted.path().join("second")).unwrap();
    file.write_all(&[1; 9000]).unwrap();
    file.sync_all().unwrap();
    let copy = Image::new(1);
    std::fs::copy(&image.path, &copy.path).unwrap();
    drop((top, file));
    mounted.close();
    copy
}

#[test]
fn a_dirty_journal_is_refused_and_a_clean_one_is_not() {
    p2v_testing::need_private_mounts!();
    for (kind, args, mib, tool) in [
        ("ext2", &["-q", "-F", "-U", UUID][..], 64, "e2fsck"),
        ("ext3", &["-q", "-F", "-U", UUID], 64, "e2fsck"),
        ("ext4", &["-q", "-F", "-U", UUID], 64, "e2fsck"),
        (
            "xfs",
            &["-q", "-m", "uuid=11111111-2222-3333-4444-5555555555aa"],
            310,
            // xfs_repair refuses a log that has something in it.
            "mount and unmount it",
        ),
        ("btrfs", &["-q", "-U", BTRFS], 130, "mount and unmount it"),
    ] {
        let image = Image::new(mib);
        image.make(0, &format!("mkfs.{kind}"), args);
        let uuid = if kind == "btrfs" { BTRFS } else { UUID };
        let fstab = format!("UUID={uuid} / {kind}\n");
        image.fill(0, kind, "", |root| system(root, &fstab));
        let dirty = copied_while_mounted(&image, kind);
        let source = dirty.inspected();
        assert_told(&source.obstacles, "start the machine once and shut it down");
        assert_told(&source.obstacles, tool);
        assert!(mounts(area(&source, 0)).is_empty(), "{kind}");
        let open = OpenSource::open(std::slice::from_ref(&dirty.path)).unwrap();
        let refused = open.mount(&dirty.path, 0).unwrap_err();
        assert!(format!("{refused:#}").contains(tool), "{refused:#}");
        open.close().unwrap();

        let source = image.inspected();
        assert_eq!(source.obstacles, [""; 0], "{kind}");
        assert_eq!(mounts(area(&source, 0)), ["/"], "{kind}");
    }
}

#[test]
fn a_filesystem_with_errors_is_refused() {
    p2v_testing::need_private_mounts!();
    let image = Image::new(64);
    image.make(0, "mkfs.ext4", &["-q", "-F", "-U", UUID]);
    image.fill(0, "ext4", "", |root| system(root, "UUID=x / ext4\n"));
    let error = p2v_sys::Cmd::new("debugfs", "marking it")
        .args(["-w", "-R", "ssv state 2"])
        .arg(&image.path);
    error.run().unwrap();
    assert_told(&image.inspected().obstacles, "it has errors");
}
