//! Reports made by hand, for tests.

mod hostile;

use std::path::PathBuf;

use p2v_copy::{Difference, Progress};
use p2v_fixes::machine::{BootMode, HostnamePolicy};

use crate::format::Format;
use crate::plan::sample;
use crate::plan::{Fill, LeftOut, Plan, PlannedDisk, Volume};
use crate::preflight::{Finding, Weight};
use crate::protocol::{FixResult, Fixed};
use crate::report::{Outcome, Report, VolumeReport};
use crate::source::{
    Area, Content, Disk, Filesystem, Identity, Kernel, MountPoint, Nic, Source, System,
};
use crate::target::{Target, TargetNic};

pub(crate) use hostile::hostile;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn format(kind: &str) -> Format {
    Format {
        kind: kind.to_owned(),
        options: Vec::new(),
    }
}

fn mounts(path: &str) -> Vec<MountPoint> {
    let path = Some(path).filter(|path| !path.is_empty());
    path.map(|path| MountPoint {
        path: path.to_owned(),
        subvolume: None,
    })
    .into_iter()
    .collect()
}

fn label(text: &str) -> Identity {
    Identity {
        uuid: None,
        label: Some(text.to_owned()).filter(|text| !text.is_empty()),
    }
}

fn area(number: u32, start: u64, size: u64, content: Content) -> Area {
    Area {
        number,
        start,
        size,
        names: Vec::new(),
        content,
    }
}

fn filesystem(kind: &str, name: &str, used: u64, mount: &str) -> Content {
    Content::Filesystem(Filesystem {
        format: format(kind),
        identity: label(name),
        used,
        inodes: 1000,
        mounts: mounts(mount),
    })
}

fn disk(path: &str, model: &str, size: u64, areas: Vec<Area>) -> Disk {
    Disk {
        path: path.into(),
        names: Vec::new(),
        model: Some(model.to_owned()),
        hardware: None,
        size,
        sector_size: 512,
        table: None,
        areas,
    }
}

fn source() -> Source {
    let root = filesystem("ext4", "root", 8 * GIB, "/");
    let first = vec![
        area(
            1,
            MIB,
            512 * MIB,
            filesystem("ext4", "", 190 * MIB, "/boot"),
        ),
        area(5, 514 * MIB, 4 * GIB, Content::Swap(Identity::default())),
        area(6, 4611 * MIB, 60 * GIB, root),
    ];
    let home = filesystem("xfs", "home", 4 * GIB + 300 * MIB, "/home");
    let system = System {
        installation: None,
        hostname: Some("web1".to_owned()),
        name: Some("Debian GNU/Linux 12 (bookworm)".to_owned()),
        init: Some("systemd".to_owned()),
        kernels: vec![Kernel {
            version: "6.1.0-18-amd64".to_owned(),
            image: "/boot/vmlinuz-6.1.0-18-amd64".to_owned(),
            initramfs: None,
            modules: true,
        }],
        boot_loaders: vec!["grub2".to_owned()],
        network: vec!["ifupdown".to_owned()],
        nics: vec![Nic {
            name: "eno1".to_owned(),
            mac: Some("00:25:90:12:34:56".to_owned()),
        }],
        ..System::default()
    };
    Source {
        version: 1,
        disks: vec![
            disk("/dev/sda", "INTEL SSDSC2BB080G4", 75 * GIB, first),
            disk(
                "/dev/sdb",
                "ST1000NM0011",
                40 * GIB,
                vec![area(1, MIB, 30 * GIB, home)],
            ),
        ],
        system,
        obstacles: Vec::new(),
        remarks: vec!["/dev/sda: 10 GiB after the last partition are free".to_owned()],
    }
}

fn volume(number: u32, size: u64, from: (u64, u64), fill: Fill, mount: &str) -> Volume {
    Volume {
        number,
        size,
        source_start: from.0,
        source_size: from.1,
        fill,
        identity: label(mount.trim_start_matches('/')),
        mounts: mounts(mount),
        was: Vec::new(),
    }
}

fn files(kind: &str, used: u64) -> Fill {
    Fill::Files {
        format: format(kind),
        used,
        inodes: 1000,
    }
}

fn plan() -> Plan {
    let disk = |device: &str, size, source: &str, volumes| PlannedDisk {
        device: device.into(),
        size,
        source: PathBuf::from(source),
        source_names: Vec::new(),
        hardware: None,
        table: None,
        volumes,
    };
    let first = vec![
        volume(
            1,
            512 * MIB,
            (MIB, 512 * MIB),
            files("ext4", 190 * MIB),
            "/boot",
        ),
        volume(2, 4 * GIB, (514 * MIB, 4 * GIB), Fill::Swap, ""),
        volume(
            5,
            35 * GIB,
            (4611 * MIB, 60 * GIB),
            files("ext4", 8 * GIB),
            "/",
        ),
    ];
    let home = files("xfs", 4 * GIB + 300 * MIB);
    let second = vec![volume(
        1,
        20 * GIB - 2 * MIB,
        (MIB, 30 * GIB),
        home,
        "/home",
    )];
    Plan {
        version: 1,
        disks: vec![
            disk("/dev/vda", 40 * GIB, "/dev/sda", first),
            disk("/dev/vdb", 20 * GIB, "/dev/sdb", second),
        ],
        boot: BootMode::Bios,
        hostname: HostnamePolicy::default(),
        left_out: vec![LeftOut {
            was: vec!["/swapfile".to_owned()],
            reason: "a swap file is made anew by its system".to_owned(),
        }],
        system: System::default(),
    }
}

fn target() -> Target {
    Target {
        hostname: "web1".to_owned(),
        nics: vec![TargetNic {
            name: "ens3".to_owned(),
            mac: "aa:00:00:12:34:56".to_owned(),
        }],
        ..sample::target(&[40 * GIB, 20 * GIB])
    }
}

fn copy(name: &str, entries: u64, mebibytes: u64, seconds: f64, retries: u32) -> VolumeReport {
    VolumeReport {
        volume: name.to_owned(),
        copied: Progress {
            entries,
            bytes_done: mebibytes * MIB,
            bytes_sent: mebibytes * MIB,
            bytes_wire: mebibytes * MIB * 5 / 11,
        },
        seconds,
        retries,
    }
}

fn fix(part: &str, outcome: &str, lines: &[&str]) -> FixResult {
    FixResult {
        part: part.to_owned(),
        outcome: outcome.to_owned(),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
    }
}

/// What each fix has to say, and one that failed.
fn fixes() -> Vec<FixResult> {
    vec![
        fix(
            "10-repair-fstab",
            "changed",
            &[
                "/etc/fstab: 2 lines",
                "-/dev/sda5 none swap sw 0 0",
                "+/dev/vda2 none swap sw 0 0",
            ],
        ),
        fix(
            "20-drop-persistent-rules",
            "not needed",
            &["/etc/udev/rules.d has none"],
        ),
        fix(
            "30-rename-interfaces",
            "changed",
            &["eno1 is ens3 now in /etc/network/interfaces"],
        ),
        fix(
            "40-set-consoles",
            "changed",
            &["GRUB_CMDLINE_LINUX: console=tty0 console=ttyS0,38400"],
        ),
        fix(
            "60-rebuild-initramfs",
            "changed",
            &["6.1.0-18-amd64: virtio_blk was missing; rebuilt in 41 s"],
        ),
        fix(
            "70-install-boot-loader",
            "changed",
            &["GRUB 2 for BIOS on /dev/vda"],
        ),
        fix(
            "80-stop-vendor-daemons",
            "failed",
            &["hpsmh: its unit cannot be disabled: it is masked elsewhere"],
        ),
        fix("90-relabel-selinux", "right", &[]),
    ]
}

/// A machine with two disks, before the first write.
pub(crate) fn begun() -> Report {
    Report::new(&source(), &target(), &plan())
}

/// A machine with two disks, moved well, but for one fix.
pub(crate) fn moved() -> Report {
    let mut report = begun();
    let finding = |weight, text: &str| Finding {
        weight,
        text: text.to_owned(),
        remedy: None,
    };
    report.findings = vec![
        finding(Weight::Good, "the data fits: 12.5 GiB onto 60 GiB"),
        finding(
            Weight::Warning,
            "the target has 2 GiB of RAM, of which 1 GiB is free; rebuilding an initramfs may take long",
        ),
        finding(Weight::Good, "every disk of the target is free"),
    ];
    report.volumes = vec![
        copy("vda1", 312, 190, 2.1, 0),
        copy("vda5", 41_877, 8122, 84.2, 2),
        copy("vdb1", 6024, 4280, 45.7, 0),
    ];
    report.differences = Some(Vec::new());
    report.fixed = Some(Fixed {
        will_boot: true,
        obstacles: Vec::new(),
        fixes: fixes(),
    });
    report.restarted = true;
    report.end(Ok(()));
    assert_eq!(report.outcome, Outcome::Moved);
    report.seconds = 212.4;
    report
}

/// The same machine, when things went wrong.
pub(crate) fn failed() -> Report {
    let mut report = moved();
    let difference = |path: &str, what: &str| Difference {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    report.differences = Some(vec![
        difference("var/log/\u{1b}[31msyslog", "content"),
        difference("etc/shadow", "owner 0:0, not 0:42"),
    ]);
    let fixed = report.fixed.as_mut().unwrap();
    fixed.will_boot = false;
    fixed.obstacles = vec!["no boot loader: grub-install found no BIOS boot partition".to_owned()];
    report.volumes.pop();
    report.plan.disks[1].volumes[0].fill = Fill::Blocks {
        kind: "jfs".to_owned(),
    };
    let error = anyhow::anyhow!("on 192.0.2.17:22: running 60-rebuild-initramfs: no space left");
    report.end(Err(&error));
    report.restarted = false;
    report
}
