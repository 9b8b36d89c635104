//! Machines and targets made by hand, for tables of tests.

use p2v_fixes::machine::{BootMode, Hypervisor};
use p2v_sys::partition::table::{Entry, Table};

use crate::format::Format;
use crate::source::{
    Area, Content, Disk, Filesystem, Identity, Kernel, MountPoint, Nic, Source, System,
};
use crate::target::{Target, TargetDisk, TargetNic};

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

/// An area's size and what it holds.
pub type Part = (u64, Content);

pub fn filesystem(kind: &str, mount: &str, used: u64) -> Content {
    let options: &[&str] = match kind {
        "xfs" => &["-b", "size=4096", "-s", "size=512", "-m", "crc=1"],
        "btrfs" => &["-n", "16384", "-s", "4096", "-m", "dup"],
        "vfat" => &[],
        _ => &[
            "-b",
            "4096",
            "-I",
            "256",
            "-i",
            "16384",
            "-m",
            "5.00",
            "-O",
            "none,has_journal",
        ],
    };
    let mounts = [mount].into_iter().filter(|mount| !mount.is_empty());
    Content::Filesystem(Filesystem {
        format: Format {
            kind: kind.to_owned(),
            options: options.iter().map(|text| (*text).to_owned()).collect(),
        },
        identity: Identity {
            uuid: Some(format!("uuid of {mount}")),
            label: None,
        },
        used,
        inodes: 1000 + used / 65536,
        mounts: mounts
            .map(|path| MountPoint {
                path: path.to_owned(),
                subvolume: None,
            })
            .collect(),
    })
}

pub fn swap() -> Content {
    Content::Swap(Identity {
        uuid: Some("uuid of swap".to_owned()),
        label: None,
    })
}

/// A disk `/dev/sdX` whose partitions follow each other from the first MiB on;
/// with `dos`, those from the fourth on are logical ones if there are more.
pub fn disk(letter: char, size: u64, label: &str, parts: &[Part]) -> Disk {
    let path = format!("/dev/sd{letter}");
    let logical = label == "dos" && parts.len() > 4;
    let mut at = MIB;
    let mut entries = Vec::new();
    let mut areas = Vec::new();
    for (index, (bytes, content)) in parts.iter().enumerate() {
        let inside = logical && index >= 3;
        let number = index as u32 + 1 + u32::from(inside);
        if inside {
            at += MIB;
        }
        let kind = match label {
            "gpt" => "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
            _ => "83",
        };
        entries.push(entry(number, at, *bytes, kind));
        areas.push(area(&path, number, at, *bytes, content.clone()));
        at = (at + bytes).next_multiple_of(MIB);
    }
    if logical {
        let start = entries[3].start * 512 - MIB;
        entries.insert(3, entry(4, start, at - start, "5"));
    }
    Disk {
        names: vec![path.clone(), format!("/dev/disk/by-id/{letter}")],
        path: path.into(),
        model: None,
        hardware: None,
        size,
        sector_size: 512,
        table: Some(Table {
            label: label.to_owned(),
            id: Some("0x12345678".to_owned()).filter(|_| label == "dos"),
            sector_size: 512,
            first_lba: Some(2048).filter(|_| label == "gpt"),
            partitions: entries,
        }),
        areas,
    }
}

/// A disk that is one filesystem.
pub fn whole(letter: char, size: u64, content: Content) -> Disk {
    let path = format!("/dev/sd{letter}");
    Disk {
        names: vec![path.clone()],
        areas: vec![area(&path, 0, 0, size, content)],
        path: path.into(),
        model: None,
        hardware: None,
        size,
        sector_size: 512,
        table: None,
    }
}

fn entry(number: u32, start: u64, size: u64, kind: &str) -> Entry {
    Entry {
        number,
        start: start / 512,
        size: size / 512,
        kind: kind.to_owned(),
        uuid: Some(format!("2B0F8D1E-6A3C-4D5E-9F70-8192A3B4C5{number:02X}")),
        name: None,
        attributes: None,
        bootable: number == 1 && kind == "83",
    }
}

fn area(path: &str, number: u32, start: u64, size: u64, content: Content) -> Area {
    let name = match number {
        0 => path.to_owned(),
        _ => format!("{path}{number}"),
    };
    Area {
        number,
        start,
        size,
        names: vec![name],
        content,
    }
}

pub fn source(disks: Vec<Disk>) -> Source {
    Source {
        version: crate::source::VERSION,
        disks,
        system: System {
            installation: None,
            hostname: Some("web1".to_owned()),
            distribution: Some("debian".to_owned()),
            kernels: vec![Kernel {
                version: "6.1.0-18-amd64".to_owned(),
                image: "/boot/vmlinuz-6.1.0-18-amd64".to_owned(),
                initramfs: Some("/boot/initrd.img-6.1.0-18-amd64".to_owned()),
                modules: true,
            }],
            boot_loaders: vec!["grub2".to_owned()],
            nics: vec![Nic {
                name: "eno1".to_owned(),
                mac: None,
            }],
            ..System::default()
        },
        obstacles: Vec::new(),
        remarks: Vec::new(),
    }
}

/// A target with disks of these sizes.
pub fn target(sizes: &[u64]) -> Target {
    let disk = |(index, size): (usize, &u64)| TargetDisk {
        device: format!("/dev/vd{}", char::from(b'a' + index as u8)),
        size: *size,
        sector_size: 512,
        in_use: None,
        holds: Vec::new(),
        plan_id: None,
        begun_from: None,
    };
    Target {
        p2v: "0.1.0".to_owned(),
        hostname: "target".to_owned(),
        instance: Some("web1.example.org".to_owned()),
        hypervisor: Hypervisor::Kvm,
        boot: BootMode::Bios,
        ram_booted: true,
        memory: 2 * GIB,
        memory_available: GIB,
        processors: 2,
        disks: sizes.iter().enumerate().map(disk).collect(),
        nics: vec![TargetNic {
            name: "ens3".to_owned(),
            mac: "aa:00:00:00:00:01".to_owned(),
        }],
        missing_tools: Vec::new(),
        at_work: None,
        filesystems: ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat"]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// The usual machine: root, swap and home on an MBR of 100 GiB.
pub fn usual() -> Source {
    source(vec![disk(
        'a',
        100 * GIB,
        "dos",
        &[
            (30 * GIB, filesystem("ext4", "/", 4 * GIB)),
            (4 * GIB, swap()),
            (60 * GIB, filesystem("ext4", "/home", 8 * GIB)),
        ],
    )])
}
