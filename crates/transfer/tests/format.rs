//! A filesystem made like another one has its features, as the filesystem's
//! own tools tell them. On image files: nothing here needs root.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use p2v_sys::Cmd;
use p2v_sys::loopdev::Extent;
use p2v_transfer::format::{Format, label_bytes, label_text, make_swap};
use p2v_transfer::source::Identity;

const UUID: &str = "2b0f8d1e-6a3c-4d5e-9f70-8192a3b4c5d6";

fn image(size: u64) -> tempfile::NamedTempFile {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(size).unwrap();
    image
}

/// Runs a tool and returns what it prints.
fn tool(line: &str, at: &Path) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .arg(at)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{line}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn whole(path: &Path, kind: &str) -> Format {
    Format::of(path, Extent::default(), kind).unwrap()
}

/// A second filesystem in the first one's format, and the identity given.
fn made_like(first: &Path, kind: &str, size: u64) -> tempfile::NamedTempFile {
    let format = whole(first, kind);
    let text = serde_json::to_string(&format).unwrap();
    let format: Format = serde_json::from_str(&text).unwrap();
    let second = image(size);
    let identity = Identity {
        uuid: Some(UUID.to_owned()),
        label: Some("a b\"\\xff".to_owned()),
    };
    format
        .make(second.path(), &identity)
        .unwrap_or_else(|error| panic!("{format:?}: {error:#}"));
    if first.metadata().unwrap().len() == size {
        assert_eq!(whole(second.path(), kind), format);
    }
    second
}

/// The lines of dumpe2fs that tell of features and measures that do not follow
/// from the size.
fn ext_facts(path: &Path) -> Vec<String> {
    const FACTS: [&str; 16] = [
        "Filesystem features:",
        "Default mount options:",
        "Errors behavior:",
        "Block size:",
        "Cluster size:",
        "Inode size:",
        "Flex block group size:",
        "Inode count:",
        "Reserved block count:",
        "Character encoding:",
        "User quota inode:",
        "Group quota inode:",
        "Project quota inode:",
        "Checksum type:",
        "Required extra isize:",
        "Filesystem revision #:",
    ];
    let text = tool("dumpe2fs -h", path);
    let lines = text
        .lines()
        .filter(|line| FACTS.iter().any(|fact| line.starts_with(fact)));
    lines
        .map(|line| {
            let words: BTreeSet<_> = line.split_whitespace().collect();
            // The journal's own passing marks, and the order, do not count.
            words.into_iter().collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn ext_features_come_back() {
    // What Debian and others made by default, and single features.
    let matrix = [
        "-t ext2",
        "-t ext2 -I 128 -b 1024 -O none",
        "-t ext3",
        "-t ext3 -I 128 -O none,has_journal,filetype,sparse_super,large_file",
        "-t ext3 -I 128 -O ^resize_inode,^dir_index",
        "-t ext4",
        "-t ext4 -O ^metadata_csum,uninit_bg,^64bit",
        "-t ext4 -O ^64bit,^metadata_csum",
        "-t ext4 -O metadata_csum,metadata_csum_seed,orphan_file",
        "-t ext4 -O metadata_csum,^metadata_csum_seed,^orphan_file",
        "-t ext4 -O ^has_journal",
        "-t ext4 -O quota",
        "-t ext4 -O quota,project",
        "-t ext4 -O quota -E quotatype=grpquota",
        "-t ext4 -O casefold -E encoding_flags=strict",
        "-t ext4 -O bigalloc -C 65536",
        "-t ext4 -O inline_data,large_dir,ea_inode,verity,stable_inodes",
        "-t ext4 -O fast_commit",
        "-t ext4 -O sparse_super2,^resize_inode",
        "-t ext4 -O meta_bg,^resize_inode",
        "-t ext4 -O mmp",
        "-t ext4 -G 1",
        "-t ext4 -G 64 -b 2048 -I 512",
        "-t ext4 -i 65536 -m 0 -e remount-ro",
        "-t ext4 -b 1024 -i 2048 -m 2.5 -e panic",
        "-t ext4 -O ^flex_bg,^extent,^64bit",
    ];
    for line in matrix {
        let first = image(256 << 20);
        tool(&format!("mke2fs -q -F {line}"), first.path());
        let kind = line.split_whitespace().nth(1).unwrap();
        let second = made_like(first.path(), kind, 256 << 20);
        assert_eq!(ext_facts(second.path()), ext_facts(first.path()), "{line}");
        let named = tool("dumpe2fs -h", second.path());
        assert!(named.contains(UUID), "{line}: {named}");
        tool("e2fsck -f -n", second.path());
        // blkid must call it the same.
        let found = tool("blkid -p -o value -s TYPE", second.path());
        let before = tool("blkid -p -o value -s TYPE", first.path());
        assert_eq!(found, before, "{line}");
    }
}

#[test]
fn ext_settings_of_tune2fs_come_back() {
    for line in [
        "tune2fs -o journal_data_writeback,^acl",
        "tune2fs -o debug,nobarrier,discard",
        "tune2fs -o ^acl,^user_xattr",
        "tune2fs -e panic -m 1",
    ] {
        let first = image(256 << 20);
        tool("mke2fs -q -F -t ext4", first.path());
        tool(line, first.path());
        let second = made_like(first.path(), "ext4", 256 << 20);
        assert_eq!(ext_facts(second.path()), ext_facts(first.path()), "{line}");
    }
}

#[test]
fn ext_in_another_size_keeps_its_features() {
    let first = image(300 << 20);
    tool("mke2fs -q -F -t ext4 -O ^metadata_csum_seed", first.path());
    for size in [32 << 20, 3 << 30, 200 << 30_u64] {
        let second = made_like(first.path(), "ext4", size);
        let features = |path: &Path| ext_facts(path).swap_remove(1);
        assert_eq!(features(second.path()), features(first.path()));
        tool("e2fsck -f -n", second.path());
    }
}

/// xfs_db's words for what the filesystem has.
fn xfs_facts(path: &Path) -> Vec<String> {
    let text = tool("xfs_db -r -c version -c info", path);
    let mut facts: Vec<_> = text
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .filter(|word| {
            let (name, _) = word.split_once('=').unwrap_or((word, ""));
            !["meta-data", "agcount", "agsize", "blocks"].contains(&name)
        })
        .map(str::to_owned)
        .collect();
    facts.retain(|word| !word.contains('/'));
    facts
}

#[test]
fn xfs_features_come_back() {
    let matrix = [
        "",
        "-m crc=0",
        "-m crc=0 -n ftype=0",
        "-m crc=0 -i size=512 -l lazy-count=0",
        "-m crc=0 -i attr=1,projid32bit=0",
        "-m crc=1,finobt=0,reflink=0,bigtime=0,inobtcount=0 -i sparse=0",
        "-m finobt=1,reflink=0,bigtime=0,inobtcount=0",
        "-m rmapbt=1,reflink=1",
        "-i nrext64=1",
        "-i nrext64=0,size=1024",
        "-b size=1024 -n size=8192",
        "-b size=2048 -s size=2048",
        "-s size=4096",
        "-n version=ci",
    ];
    for line in matrix {
        let first = image(512 << 20);
        tool(&format!("mkfs.xfs -q -f {line}"), first.path());
        let mut second = made_like_xfs(first.path(), 512 << 20);
        assert_eq!(xfs_facts(second.path()), xfs_facts(first.path()), "{line}");
        second = made_like_xfs(first.path(), 2 << 30);
        tool("xfs_repair -n -f", second.path());
    }
    // Smaller than mkfs.xfs makes of itself.
    let first = image(512 << 20);
    tool("mkfs.xfs -q -f", first.path());
    made_like_xfs(first.path(), 200 << 20);
}

/// Labels are shorter there.
fn made_like_xfs(first: &Path, size: u64) -> tempfile::NamedTempFile {
    let second = made_like(first, "xfs", size);
    let uuid = tool("blkid -p -o value -s UUID", second.path());
    assert_eq!(uuid.trim(), UUID);
    second
}

/// What dump-super says of features and sizes.
fn btrfs_facts(path: &Path) -> Vec<String> {
    const FACTS: [&str; 6] = [
        "csum_type",
        "incompat_flags",
        "compat_ro_flags",
        "nodesize",
        "sectorsize",
        "num_devices",
    ];
    let text = tool("btrfs inspect-internal dump-super", path);
    let lines = text
        .lines()
        .filter(|line| FACTS.iter().any(|fact| line.starts_with(fact)));
    let mut facts: Vec<_> = lines.map(str::to_owned).collect();
    let chunks = tool("btrfs inspect-internal dump-tree -t chunk", path);
    let types = chunks.lines().filter_map(|line| line.split("type ").nth(1));
    let types: BTreeSet<_> = types.map(str::to_owned).collect();
    facts.extend(types);
    facts
}

#[test]
fn btrfs_features_come_back() {
    let matrix = [
        "",
        "-O ^no-holes -R ^free-space-tree",
        "-O ^extref,^skinny-metadata,^no-holes -R ^free-space-tree",
        "-m single",
        "-m dup",
        "-n 4096",
        "-n 65536",
        "--mixed -m single -d single",
        "--mixed -m dup -d dup",
        "--csum xxhash",
        "--csum sha256",
        "--csum blake2",
    ];
    for line in matrix {
        let first = image(512 << 20);
        tool(&format!("mkfs.btrfs -q -f {line}"), first.path());
        let second = made_like(first.path(), "btrfs", 700 << 20);
        assert_eq!(
            btrfs_facts(second.path()),
            btrfs_facts(first.path()),
            "{line}"
        );
        tool("btrfs check --readonly", second.path());
    }
}

/// Whether this mkfs could make it; older ones do not know all.
fn could(line: &str, at: &Path) -> bool {
    let mut words = line.split_whitespace();
    let command = Cmd::new(words.next().unwrap(), "trying")
        .args(words)
        .arg(at);
    let made = command.run().is_ok();
    if !made {
        eprintln!("SKIPPED: no {line} here");
    }
    made
}

#[test]
fn features_of_newer_tools_come_back() {
    for line in ["-i exchange=1", "-n parent=1 -i exchange=1"] {
        let first = image(512 << 20);
        if could(&format!("mkfs.xfs -q -f {line}"), first.path()) {
            let second = made_like_xfs(first.path(), 512 << 20);
            assert_eq!(xfs_facts(second.path()), xfs_facts(first.path()), "{line}");
        }
    }
    let first = image(512 << 20);
    if could("mkfs.btrfs -q -f -O block-group-tree", first.path()) {
        let second = made_like(first.path(), "btrfs", 512 << 20);
        assert_eq!(btrfs_facts(second.path()), btrfs_facts(first.path()));
    }
}

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
fn a_part_of_a_disk_is_read_by_itself() {
    let disk = image(600 << 20);
    Cmd::new("mke2fs", "making")
        .args(["-q", "-F", "-t", "ext3", "-E", "offset=104857600"])
        .arg(disk.path())
        .arg("64M")
        .run()
        .unwrap();
    let extent = Extent {
        offset: 100 << 20,
        length: 64 << 20,
    };
    let format = Format::of(disk.path(), extent, "ext3").unwrap();
    let features = format.value("-O").unwrap();
    assert!(features.starts_with("none,has_journal"), "{features}");
    assert!(Format::of(disk.path(), Extent::default(), "ext3").is_err());
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

#[test]
fn swap_and_labels_of_any_bytes() {
    let target = image(16 << 20);
    let odd = label_text(b"s \xfe\"\\").unwrap();
    let identity = Identity {
        uuid: Some(UUID.to_owned()),
        label: Some(odd.clone()),
    };
    make_swap(target.path(), &identity).unwrap();
    let bytes = std::fs::read(target.path()).unwrap();
    assert_eq!(&bytes[1052..1052 + 5], label_bytes(&odd));
    let found = tool("blkid -p -o value -s UUID", target.path());
    assert_eq!(found.trim(), UUID);
}
