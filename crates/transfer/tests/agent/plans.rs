//! Plans for disks of tests.

use std::path::PathBuf;

use p2v_fixes::machine::{BootMode, HostnamePolicy};
use p2v_sys::Cmd;
use p2v_sys::loopdev::Extent;
use p2v_sys::partition::table::{Entry, Table};
use p2v_transfer::format::Format;
use p2v_transfer::plan::{Fill, Plan, PlannedDisk, VERSION, Volume};
use p2v_transfer::source::{Identity, MountPoint, System};

use crate::lab::Lab;

/// For a volume's identity.
pub const ROOT: &str = "11111111-2222-4333-8444-555555555555";
/// Another one.
pub const HOME: &str = "22222222-2222-4333-8444-555555555555";

/// A root, a home, swap, and blocks.
pub fn usual(lab: &Lab) -> Plan {
    let volumes = vec![
        ext4(ROOT, &["/"]),
        xfs(HOME, &["/home"]),
        swap(),
        blocks("vfat"),
    ];
    plan(vec![partitioned(lab.disk(0), "gpt", volumes)])
}

/// A root alone.
pub fn small(lab: &Lab) -> Plan {
    let volumes = vec![ext4(ROOT, &["/"])];
    plan(vec![partitioned(lab.disk(0), "dos", volumes)])
}

pub fn plan(disks: Vec<PlannedDisk>) -> Plan {
    Plan {
        version: VERSION,
        disks,
        boot: BootMode::Bios,
        hostname: HostnamePolicy::default(),
        left_out: Vec::new(),
        system: System::default(),
    }
}

/// A disk with a partition for each volume: 200 MiB, or what the smallest xfs
/// takes.
pub fn partitioned(device: PathBuf, label: &str, mut volumes: Vec<Volume>) -> PlannedDisk {
    let mut partitions = Vec::new();
    let mut start = 2048;
    for (index, volume) in volumes.iter_mut().enumerate() {
        let sectors = volume.size / 512;
        volume.number = index as u32 + 1;
        partitions.push(Entry {
            number: volume.number,
            start,
            size: sectors,
            kind: match label {
                "gpt" => "0FC63DAF-8483-4772-8E79-3D69D8477DE4".to_owned(),
                _ => "83".to_owned(),
            },
            uuid: None,
            name: None,
            attributes: None,
            bootable: false,
        });
        start += sectors;
    }
    PlannedDisk {
        device,
        size: start * 512 + (1 << 20),
        source: "/dev/sda".into(),
        source_names: vec!["/dev/sda".to_owned()],
        hardware: None,
        table: Some(Table {
            label: label.to_owned(),
            id: (label == "dos").then(|| "0x0badcafe".to_owned()),
            sector_size: 512,
            first_lba: None,
            partitions,
        }),
        volumes,
    }
}

fn volume(size: u64, fill: Fill, uuid: Option<&str>, mounts: &[(&str, Option<&str>)]) -> Volume {
    let mount = |(path, subvolume): &(&str, Option<&str>)| MountPoint {
        path: (*path).to_owned(),
        subvolume: subvolume.map(str::to_owned),
    };
    Volume {
        number: 1,
        size,
        source_start: 1 << 20,
        source_size: size,
        fill,
        identity: Identity {
            uuid: uuid.map(str::to_owned),
            label: None,
        },
        mounts: mounts.iter().map(mount).collect(),
        was: Vec::new(),
    }
}

fn files(kind: &str) -> Fill {
    Fill::Files {
        format: format(kind),
        used: 0,
        inodes: 0,
    }
}

/// That of a filesystem as today's tools make them.
fn format(kind: &str) -> Format {
    let sample = p2v_testing::image(304 << 20);
    let make = Cmd::new(format!("mkfs.{kind}"), "making a sample").arg("-q");
    let make = match kind {
        "ext4" => make.args(["-b", "4096"]),
        _ => make,
    };
    make.arg(sample.path()).run().unwrap();
    Format::of(sample.path(), Extent::default(), kind).unwrap()
}

pub fn ext4(uuid: &str, mounts: &[&str]) -> Volume {
    let mounts: Vec<_> = mounts.iter().map(|path| (*path, None)).collect();
    volume(200 << 20, files("ext4"), Some(uuid), &mounts)
}

pub fn xfs(uuid: &str, mounts: &[&str]) -> Volume {
    let mounts: Vec<_> = mounts.iter().map(|path| (*path, None)).collect();
    volume(304 << 20, files("xfs"), Some(uuid), &mounts)
}

pub fn btrfs(uuid: &str, mounts: &[(&str, Option<&str>)]) -> Volume {
    volume(304 << 20, files("btrfs"), Some(uuid), mounts)
}

pub fn swap() -> Volume {
    let uuid = "33333333-2222-4333-8444-555555555555";
    volume(32 << 20, Fill::Swap, Some(uuid), &[])
}

pub fn blocks(kind: &str) -> Volume {
    let fill = Fill::Blocks {
        kind: kind.to_owned(),
    };
    volume(32 << 20, fill, None, &[])
}
