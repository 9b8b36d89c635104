//! btrfs, with many sets of options and after changes of its layout.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use p2v_backup::ranges::Ranges;
use p2v_sys::Cmd;

use crate::image::Image;
use crate::proof::{Judges, prove};
use crate::tree;

/// Not partclone: it takes logical addresses for places too, and does not map
/// the second copy of DUP.
const JUDGES: Judges = Judges {
    check: "btrfs check --check-data-csum",
    oracle: dump_trees,
    options: "",
    // The boot area and the superblocks.
    slack: (1.0, (1 << 20) + 3 * 4096),
};

const MIB: u64 = 1 << 20;

fn btrfs(words: &str, path: &Path) {
    Cmd::new("btrfs", format!("running btrfs {words}"))
        .args(words.split(' '))
        .arg(path)
        .run()
        .unwrap();
}

/// The trees of extents and of chunks as btrfs-progs prints them.
fn dump_trees(image: &Path) -> Option<Ranges> {
    let inspect = |words: &str| {
        Cmd::new("btrfs", format!("running btrfs inspect-internal {words}"))
            .arg("inspect-internal")
            .args(words.split(' '))
            .arg(image)
            .read()
            .unwrap()
    };
    let superblock = inspect("dump-super");
    let node = superblock
        .lines()
        .find_map(|line| line.strip_prefix("nodesize"));
    let node: u64 = node.unwrap().trim().parse().unwrap();
    let chunks = chunks(&inspect("dump-tree -t chunk"));
    let mut used = Ranges::default();
    for line in inspect("dump-tree -t extent").lines() {
        let Some((start, kind, length)) = key(line) else {
            continue;
        };
        let length = match kind {
            "EXTENT_ITEM" => length,
            "METADATA_ITEM" => node,
            _ => continue,
        };
        let holds = |chunk: &&(u64, u64, u64)| (chunk.0..chunk.0 + chunk.1).contains(&start);
        for chunk in chunks.iter().filter(holds) {
            let place = chunk.2 + start - chunk.0;
            used.add(place..place + length);
        }
    }
    Some(used)
}

/// Logical start, length and place of each stripe.
fn chunks(text: &str) -> Vec<(u64, u64, u64)> {
    let (mut chunks, mut logical, mut length) = (Vec::new(), 0, 0);
    for line in text.lines() {
        if let Some((_, "CHUNK_ITEM", start)) = key(line) {
            logical = start;
        }
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["length", bytes, "owner", ..] => length = bytes.parse().unwrap(),
            ["stripe", _, "devid", _, "offset", place] => {
                chunks.push((logical, length, place.parse().unwrap()));
            }
            _ => {}
        }
    }
    chunks
}

/// The three parts of the key in an item's line.
fn key(line: &str) -> Option<(u64, &str, u64)> {
    let (_, key) = line.split_once(" key (")?;
    let mut parts = key.split_once(')')?.0.split(' ');
    let object = parts.next()?.parse().unwrap_or(0);
    Some((object, parts.next()?, parts.next()?.parse().ok()?))
}

fn filled(length: u64, options: &str, mount: &str) -> (Image, String) {
    let mkfs = format!("mkfs.btrfs -q -f {options}").trim_end().to_owned();
    let image = Image::made("btrfs", length, &mkfs);
    let mounted = image.mount(mount);
    tree::fill(mounted.root(), 20 * MIB);
    mounted.close();
    (image, format!("{mkfs} {mount}"))
}

#[test]
fn btrfs_of_every_layout() {
    p2v_testing::need_private_mounts!();
    for (options, mount) in [
        ("", ""),
        ("-m single -d single", ""),
        ("-m dup -d dup", "compress-force=zstd"),
        ("--mixed", ""),
        (
            "--mixed -m dup -d dup -n 4096 -R ^free-space-tree",
            "space_cache=v1",
        ),
        ("-n 65536 -O no-holes -R free-space-tree", "nodatacow"),
        (
            "-O ^skinny-metadata,^no-holes -R ^free-space-tree",
            "space_cache=v1",
        ),
        ("-n 4096 -m single", "max_inline=0,compress=lzo"),
        ("-R quota", "autodefrag"),
    ] {
        let (image, name) = filled(300 * MIB, options, mount);
        prove(&image, &JUDGES, &name);
    }
}

/// Subvolumes, snapshots, reflinks, a balance, and what resizing leaves.
#[test]
fn changed_after_it_was_made() {
    p2v_testing::need_private_mounts!();
    let (image, _) = filled(500 * MIB, "", "");
    let mounted = image.mount("");
    let root = mounted.root();
    btrfs("subvolume create", &root.join("volume"));
    tree::fill(&root.join("volume"), 10 * MIB);
    for name in ["before", "gone"] {
        let snapshot = format!("subvolume snapshot -r {}", root.join("volume").display());
        btrfs(&snapshot, &root.join(name));
    }
    tree::fragment(&root.join("volume"), 1500);
    btrfs("subvolume delete --commit-after", &root.join("gone"));
    btrfs("filesystem sync", root);
    btrfs("balance start --full-balance", root);
    std::fs::create_dir(root.join("volume/again")).unwrap();
    tree::fill(&root.join("volume/again"), 15 * MIB);
    btrfs("filesystem resize 400m", root);
    mounted.close();
    prove(&image, &JUDGES, "btrfs with subvolumes, balanced, shrunk");
    image.run("btrfstune -u -f").unwrap();
    prove(&image, &JUDGES, "btrfs with another UUID");
    image.run("btrfstune -m").unwrap();
    prove(&image, &JUDGES, "btrfs with another metadata UUID");
}

#[test]
fn converted_from_ext4() {
    p2v_testing::need_private_mounts!();
    // btrfs-convert wants free space in large pieces.
    let image = Image::made("ext4", 1500 * MIB, "mkfs.ext4 -q -F -b 4096");
    let mounted = image.mount("");
    tree::fill(mounted.root(), 20 * MIB);
    mounted.close();
    image.run("e2fsck -fp").unwrap();
    image.run("btrfs-convert").unwrap();
    let image = Image {
        kind: "btrfs",
        ..image
    };
    prove(&image, &JUDGES, "btrfs converted from ext4");
}

/// All that was committed is there; what the log tree has is not in the maps.
#[test]
fn one_that_was_not_unmounted() {
    p2v_testing::need_private_mounts!();
    let (image, _) = filled(300 * MIB, "", "");
    let mounted = image.mount("");
    std::fs::write(mounted.root().join("committed"), [1; 70_000]).unwrap();
    mounted.flush();
    let committed = image.clone_whole();
    let mut options = OpenOptions::new();
    let mut file = options
        .append(true)
        .open(mounted.root().join("committed"))
        .unwrap();
    file.write_all(&[2; 70_000]).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let logged = image.clone_whole();
    mounted.close();
    let error = format!("{:#}", logged.used().unwrap_err());
    assert!(error.contains("its log is not empty"), "{error}");
    prove(&committed, &JUDGES, "btrfs as a crash leaves it");
}

#[test]
fn several_devices_or_unknown_checksums_give_up() {
    p2v_testing::need_private_mounts!();
    let image = Image::made("btrfs", 300 * MIB, "mkfs.btrfs -q -f --csum xxhash");
    let error = format!("{:#}", image.used().unwrap_err());
    assert!(error.contains("crc32c"), "{error}");
    let second = Image::new("btrfs", 300 * MIB);
    let mkfs = format!("mkfs.btrfs -q -f {}", second.path.display());
    image.run(&mkfs).unwrap();
    let error = format!("{:#}", image.used().unwrap_err());
    assert!(error.contains("2 devices"), "{error}");
}
