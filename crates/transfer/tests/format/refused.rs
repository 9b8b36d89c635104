//! Plans that a person edited, and what no format can be made of.

use std::path::Path;

use p2v_sys::loopdev::Extent;
use p2v_testing::image;
use p2v_transfer::format::Format;
use p2v_transfer::source::Identity;

use crate::tool;

#[test]
fn what_cannot_be_made_is_refused() {
    let first = image(64 << 20);
    tool("mke2fs -q -F -t ext4 -O encrypt", first.path());
    let refused = |path: &Path, kind: &str, wanted: &str| {
        let error = Format::of(path, Extent::default(), kind).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains(wanted), "{text}");
    };
    refused(first.path(), "ext4", "encrypted directories");
    refused(first.path(), "xfs", "no superblock");
    refused(first.path(), "btrfs", "no superblock");
    refused(first.path(), "reiserfs", "reiserfs");
    refused(Path::new("/nonexistent"), "ext4", "/nonexistent");
    // A part that ends before the superblock.
    let short = Extent {
        offset: 0,
        length: 1024,
    };
    assert!(Format::of(first.path(), short, "ext4").is_err());
}

#[test]
fn an_edited_format_reaches_nothing_else() {
    let format = |kind: &str, options: &[&str]| Format {
        kind: kind.to_owned(),
        options: options.iter().map(|text| (*text).to_owned()).collect(),
    };
    let ext = ["-b", "4096", "-I", "256", "-i", "16384"];
    let with = |more: &[&'static str]| -> Vec<&str> { [&ext[..], more].concat() };
    let none = ["-O", "none"];
    format("ext4", &with(&none)).check().unwrap();
    let wrong = [
        format("ext4", &with(&["-O", "has_journal"])),
        format("ext4", &with(&["-O", "none,journal_dev"])),
        format("ext4", &with(&["-O", "none", "-J", "device=/dev/vdb"])),
        format("ext4", &with(&["-O", "none", "-d", "/etc"])),
        format("ext4", &with(&["-O", "none", "-E", "offset=5"])),
        format(
            "ext4",
            &with(&["-O", "none", "-E", "quotatype=usrquota,root_owner=1:1"]),
        ),
        format("ext4", &with(&["-O", "none", "-o", "acl\n[x]"])),
        format("ext4", &with(&["-O", "none", "/dev/vdb", "1"])),
        format("ext4", &with(&["-O", "none", "-b", "4096"])),
        format("ext4", &with(&["-O"])),
        format(
            "ext4",
            &["-b", "-S", "-I", "256", "-i", "4096", "-O", "none"],
        ),
        format("xfs", &["-l", "logdev=/dev/vdb"]),
        format("xfs", &["-m", "uuid=1"]),
        format("xfs", &["-b", "size=4096,file=1"]),
        format("xfs", &["-c", "options=/etc/passwd"]),
        format("xfs", &["-p", "/etc/passwd"]),
        format("btrfs", &["-r", "/etc"]),
        format("btrfs", &["-O", "zoned"]),
        format("btrfs", &["/dev/vdb", "/dev/vdc"]),
        format("vfat", &["-n", "x"]),
        format("reiserfs", &[]),
    ];
    for wrong in wrong {
        let target = image(64 << 20);
        assert!(wrong.check().is_err(), "{wrong:?}");
        assert!(wrong.make(target.path(), &Identity::default()).is_err());
    }
    let good = format("ext4", &with(&none));
    let bad_uuid = Identity {
        uuid: Some("clear".to_owned()),
        label: None,
    };
    let target = image(64 << 20);
    assert!(good.make(target.path(), &bad_uuid).is_err());
    assert!(good.make(Path::new("-n"), &Identity::default()).is_err());
}
