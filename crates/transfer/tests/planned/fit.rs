//! What a plan says fits does fit: filesystems of the smallest size that a plan
//! accepts are made and filled.

use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::mount::MsFlags;
use p2v_sys::loopdev::Extent;
use p2v_sys::{Cmd, LoopDevice, Mount};
use p2v_testing::image;
use p2v_transfer::format::Format;
use p2v_transfer::plan::{Fill, Plan, Wishes, derive};
use p2v_transfer::source::{Area, Content, Disk, Filesystem, Identity, MountPoint, Source, System};

use crate::{MIB, target};

const GIB: u64 = 1 << 30;

/// The format that a mkfs gives a filesystem of that size.
fn format(line: &str, size: u64) -> Format {
    let image = image(size);
    let mut words = line.split_whitespace();
    Cmd::new(words.next().unwrap(), "making a source")
        .args(words)
        .arg(image.path())
        .run()
        .unwrap();
    let kind = Cmd::new("blkid", "probing")
        .args(["-p", "-o", "value", "-s", "TYPE"])
        .arg(image.path());
    Format::of(image.path(), Extent::default(), &kind.read().unwrap()).unwrap()
}

/// A machine whose disk is one filesystem.
fn source(format: &Format, size: u64, used: u64, inodes: u64) -> Source {
    let filesystem = Filesystem {
        format: format.clone(),
        identity: Identity::default(),
        used,
        inodes,
        mounts: vec![MountPoint {
            path: "/".to_owned(),
            subvolume: None,
        }],
    };
    Source {
        version: p2v_transfer::source::VERSION,
        disks: vec![Disk {
            path: "/dev/sda".into(),
            names: Vec::new(),
            model: None,
            hardware: None,
            size,
            sector_size: 512,
            table: None,
            areas: vec![Area {
                number: 0,
                start: 0,
                size,
                names: Vec::new(),
                content: Content::Filesystem(filesystem),
            }],
        }],
        system: System::default(),
        obstacles: Vec::new(),
        remarks: Vec::new(),
    }
}

/// The plan for the smallest disk that is taken.
fn smallest(source: &Source, most: u64) -> Plan {
    let planned = |size: u64| derive(source, &target(size), &Wishes::default());
    let (mut small, mut large) = (0, most / MIB);
    while small + 1 < large {
        let middle = (small + large) / 2;
        match planned(middle * MIB) {
            Ok(_) => large = middle,
            Err(_) => small = middle,
        }
    }
    planned(large * MIB).unwrap()
}

/// Makes the planned filesystem and puts files of so many bytes into it, and
/// so many of them.
fn fill(plan: &Plan, used: u64, inodes: u64) -> Result<(), String> {
    let volume = &plan.disks[0].volumes[0];
    let Fill::Files { format, .. } = &volume.fill else {
        panic!("no files");
    };
    let image = image(volume.size);
    let device = LoopDevice::attach(image.path(), Extent::default(), false).unwrap();
    format.make(device.path(), &Identity::default()).unwrap();
    let point = tempfile::tempdir().unwrap();
    let mount = Mount::new(
        device.path(),
        point.path(),
        &format.kind,
        MsFlags::empty(),
        "",
    )
    .unwrap();
    let result = put(point.path(), used, inodes);
    mount.close().unwrap();
    device.close().unwrap();
    result.map_err(|error| {
        format!(
            "{} of {} MiB, for {} MiB in {inodes} files: {error}",
            format.kind,
            volume.size / MIB,
            used / MIB
        )
    })
}

fn put(top: &Path, used: u64, inodes: u64) -> std::io::Result<()> {
    let per_directory = 1000;
    for number in 0..inodes {
        let directory = top.join(format!("d{}", number / per_directory));
        if number % per_directory == 0 {
            std::fs::create_dir(&directory)?;
        }
        std::fs::File::create(directory.join(format!("file {number}")))?;
    }
    let large = std::fs::File::create(top.join("large"))?;
    fallocate(
        &large,
        FallocateFlags::empty(),
        0,
        i64::try_from(used).unwrap(),
    )
    .or_else(|error| match error {
        // ext2 and ext3 have no extents.
        nix::errno::Errno::EOPNOTSUPP => {
            let block = vec![1; MIB as usize];
            for at in 0..used / MIB {
                large.write_all_at(&block, at * MIB)?;
            }
            Ok(())
        }
        error => Err(std::io::Error::from(error)),
    })?;
    large.sync_all()
}

#[test]
fn the_smallest_planned_filesystem_holds_its_files() {
    p2v_testing::need_private_mounts!();
    let makers = [
        "mke2fs -q -F -t ext4",
        "mke2fs -q -F -t ext4 -O ^64bit,^metadata_csum -I 128 -m 0",
        "mke2fs -q -F -t ext4 -b 1024 -i 1048576",
        "mke2fs -q -F -t ext3",
        "mke2fs -q -F -t ext2",
        "mke2fs -q -F -t ext4 -O bigalloc -C 65536",
        "mkfs.xfs -q -f -m rmapbt=1",
        "mkfs.btrfs -q -f",
        "mkfs.btrfs -q -f --mixed -m dup -d dup",
    ];
    let size = 8 * GIB;
    let mut wrong = Vec::new();
    for maker in makers {
        let format = format(maker, size);
        for (used, files) in [(5 * MIB, 10), (100 * MIB, 10_000), (700 * MIB, 100)] {
            // In a mixed btrfs that keeps two of each, the source counts both.
            let counted = match maker.contains("-d dup") {
                true => used * 2,
                false => used,
            };
            let source = source(&format, size, counted, files + 30);
            let plan = smallest(&source, size);
            let asked = plan.disks[0].size;
            if let Err(error) = fill(&plan, used, files) {
                wrong.push(format!("{maker}: {error}"));
            }
            // And it is no waste.
            let is_large = asked > counted + counted / 2 + 600 * MIB;
            // A file takes a cluster at least.
            if is_large && !maker.contains("bigalloc") {
                wrong.push(format!(
                    "{maker}: {} MiB for {} MiB",
                    asked / MIB,
                    counted / MIB
                ));
            }
            eprintln!(
                "{maker}: {} MiB in {files} files: {} MiB",
                used / MIB,
                asked / MIB
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
