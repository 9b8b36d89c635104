//! Machines and targets with each fault, and with all at once.

use p2v_fixes::machine::BootMode;

use super::*;
use crate::plan::sample::*;
use crate::plan::{Wishes, derive};
use crate::source::{Content, Disk, Kernel, Nic};
use crate::target::AtWork;

struct Case {
    source: Source,
    target: Target,
    plan: Plan,
}

fn efi_disk() -> Disk {
    disk(
        'a',
        40 * GIB,
        "gpt",
        &[
            (100 * MIB, filesystem("vfat", "/boot/efi", MIB)),
            (30 * GIB, filesystem("btrfs", "/", GIB)),
        ],
    )
}

fn case() -> Case {
    let mut source = usual();
    source.system.init = Some("systemd".to_owned());
    made(source, target(&[60 * GIB]))
}

fn made(source: Source, mut target: Target) -> Case {
    target.p2v = env!("CARGO_PKG_VERSION").to_owned();
    let plan = derive(&source, &target, &Wishes::default()).unwrap();
    Case {
        source,
        target,
        plan,
    }
}

fn texts(case: &Case, weight: Weight) -> String {
    let findings = check(&case.source, &case.target, &case.plan);
    let of_weight = findings.iter().filter(|finding| finding.weight == weight);
    let texts: Vec<_> = of_weight.map(ToString::to_string).collect();
    texts.join("\n")
}

#[test]
fn all_well_is_said_too() {
    let case = case();
    assert_eq!(texts(&case, Weight::Error), "");
    assert_eq!(texts(&case, Weight::Warning), "");
    let good = texts(&case, Weight::Good);
    for part in [
        "web1.example.org runs in RAM",
        "1 GiB of memory free",
        "/dev/vda of the target is not in use",
        "start in the same way",
        "1 network card,",
        "the data fits: 12 GiB",
        "the kernel 6.1.0-18-amd64",
        "grub2",
        "systemd",
    ] {
        assert!(good.contains(part), "{part}: {good}");
    }
}

/// What is wrong, and a part of what is then said, with its weight.
type Spoilt = (Weight, &'static str, fn(&mut Case));

const ERROR: Weight = Weight::Error;
const WARNING: Weight = Weight::Warning;

const CASES: &[Spoilt] = &[
    (ERROR, "not running in RAM", |case| {
        case.target.ram_booted = false
    }),
    // Ganeti reinstalls none that runs.
    (
        ERROR,
        "shutdown web1.example.org; gnt-instance reinstall",
        |case| case.target.ram_booted = false,
    ),
    (ERROR, "needs 256 MiB", |case| {
        case.target.memory_available = 200 * MIB
    }),
    (WARNING, "only 300 MiB", |case| {
        case.target.memory_available = 300 * MIB
    }),
    (ERROR, "in use: mounted on /mnt", |case| {
        case.target.disks[0].in_use = Some("mounted on /mnt".to_owned());
    }),
    (WARNING, "prepared for another plan", |case| {
        case.target.disks[0].plan_id = Some("0".to_owned());
    }),
    (Weight::Good, "the transfer goes on there", |case| {
        case.target.disks[0].plan_id = Some(case.plan.id());
    }),
    (ERROR, "for a disk of 60 GiB", |case| {
        case.target.disks[0].size = 59 * GIB
    }),
    (
        ERROR,
        "sectors of 512 bytes, and it has sectors of 4096",
        |case| {
            case.target.disks[0].sector_size = 4096;
        },
    ),
    (ERROR, "no such disk", |case| case.target.disks.clear()),
    (ERROR, "give it its BIOS back", |case| {
        case.target.boot = BootMode::Efi
    }),
    (ERROR, "make the plan anew", |case| {
        case.target.boot = BootMode::Direct
    }),
    // The variant `default` does not start by EFI.
    (
        ERROR,
        "OVMF.fd' web1.example.org; gnt-instance reinstall -o p2v-target+gpt",
        |case| {
            let mut source = source(vec![efi_disk()]);
            source.system.boot = BootMode::Efi;
            *case = made(source, target(&[60 * GIB]));
        },
    ),
    (ERROR, "no EFI system partition", |case| {
        case.source.system.boot = BootMode::Efi;
        case.target.boot = BootMode::Efi;
        *case = made(case.source.clone(), case.target.clone());
    }),
    (WARNING, "use_bootloader=true", |case| {
        case.target.boot = BootMode::Direct;
        case.target.hypervisor = p2v_fixes::machine::Hypervisor::XenPvm;
        *case = made(case.source.clone(), case.target.clone());
    }),
    (ERROR, "no network card", |case| case.target.nics.clear()),
    (WARNING, "source's eno2 has no counterpart", |case| {
        case.source.system.nics.push(Nic {
            name: "eno2".to_owned(),
            mac: None,
        });
    }),
    (
        ERROR,
        "mke2fs is missing on the target: install e2fsprogs",
        |case| {
            case.target.missing_tools = vec!["mkfs.xfs".to_owned(), "mke2fs".to_owned()];
        },
    ),
    (ERROR, "sfdisk is missing", |case| {
        case.target.missing_tools = vec!["sfdisk".to_owned()];
    }),
    (ERROR, "cannot mount ext4", |case| {
        case.target.filesystems.clear()
    }),
    (WARNING, "p2v 0.0.1", |case| {
        case.target.p2v = "0.0.1".to_owned()
    }),
    (ERROR, "the journal must be replayed", |case| {
        case.source
            .obstacles
            .push("the journal must be replayed".to_owned());
    }),
    (WARNING, "two systems", |case| {
        case.source.remarks.push("two systems".to_owned())
    }),
    (ERROR, "no kernel in /boot", |case| {
        case.source.system.kernels.clear()
    }),
    (
        WARNING,
        "has no modules (/lib/modules/6.1.0-18-amd64)",
        |case| {
            case.source.system.kernels[0].modules = false;
        },
    ),
    (ERROR, "for another processor", |case| {
        case.source.system.kernels = vec![Kernel {
            version: "6.1.0-18-arm64".to_owned(),
            image: "/boot/vmlinuz-6.1.0-18-arm64".to_owned(),
            initramfs: None,
            modules: true,
        }];
    }),
    (WARNING, "lilo, which is not installed anew", |case| {
        case.source.system.boot_loaders = vec!["lilo".to_owned()];
    }),
    (WARNING, "none that is known", |case| {
        case.source.system.boot_loaders.clear()
    }),
    (WARNING, "no init system", |case| {
        case.source.system.init = None
    }),
    (ERROR, "files need", |case| {
        let Content::Filesystem(root) = &mut case.source.disks[0].areas[0].content else {
            panic!("no filesystem");
        };
        root.used = 29 * GIB;
    }),
    (ERROR, "inodes, and its files need", |case| {
        let Content::Filesystem(root) = &mut case.source.disks[0].areas[0].content else {
            panic!("no filesystem");
        };
        root.inodes = 5_000_000;
    }),
    (ERROR, "is the system's root", |case| {
        case.plan.disks[0].volumes[0].mounts.clear();
    }),
    (WARNING, "/dev/sda4 is not moved: nothing known", |case| {
        let content = (MIB, Content::Nothing);
        let root = (20 * GIB, filesystem("ext4", "/", GIB));
        let boot = || (GIB, filesystem("ext4", "/srv", MIB));
        let disk = disk(
            'a',
            40 * GIB,
            "gpt",
            &[root, boot(), (GIB, swap()), content],
        );
        *case = made(source(vec![disk]), target(&[60 * GIB]));
    }),
    (WARNING, "the btrfs on / is compressed", |case| {
        let mut source = source(vec![efi_disk()]);
        source.system.fstab = vec!["UUID=1 / btrfs compress=zstd:1,subvol=@ 0 0".to_owned()];
        *case = made(source, target(&[60 * GIB]));
    }),
];

#[test]
fn each_fault_is_found() {
    for (weight, said, spoil) in CASES {
        let mut case = case();
        spoil(&mut case);
        let found = texts(&case, *weight);
        assert!(found.contains(said), "{said}: {found}");
    }
}

#[test]
fn all_faults_are_found_at_once() {
    let mut case = case();
    case.target.ram_booted = false;
    case.target.memory_available = 0;
    case.target.nics.clear();
    case.target.filesystems.clear();
    case.source.system.kernels.clear();
    case.plan.disks[0].size = 1 << 60;
    let findings = check(&case.source, &case.target, &case.plan);
    let errors = findings.iter().filter(|finding| finding.weight == ERROR);
    assert_eq!(errors.count(), 6, "{findings:?}");
    // The gravest come first.
    let weights: Vec<_> = findings.iter().map(|finding| finding.weight).collect();
    assert!(weights.is_sorted_by(|one, next| one >= next));
}

#[test]
fn without_a_plan_all_else_is_found_too() {
    let mut source = usual();
    source.disks = vec![efi_disk()];
    source.system.boot = BootMode::Efi;
    source.system.kernels.clear();
    source.obstacles = vec!["the ext4 on /dev/sda2 is damaged".to_owned()];
    let mut target = target(&[GIB]);
    target.boot = BootMode::Efi;
    target.memory_available = 0;
    target.disks[0].in_use = Some("mounted on /mnt".to_owned());
    let wishes = Wishes::default();
    let error = derive(&source, &target, &wishes).unwrap_err();
    let findings = check_unplanned(&source, &target, &wishes, &error);
    let errors = findings.iter().filter(|finding| finding.weight == ERROR);
    let errors: Vec<_> = errors.map(|finding| finding.text.as_str()).collect();
    assert_eq!(errors.len(), 5, "{errors:#?}");
    for part in [
        "at least",
        "/dev/vda of the target is in use",
        "memory free",
        "damaged",
        "no kernel",
    ] {
        assert!(errors.iter().any(|text| text.contains(part)), "{part}");
    }
}

#[test]
fn another_transfer_that_is_at_work_is_in_the_way() {
    let mut case = case();
    case.target.at_work = Some(AtWork {
        run: "run".to_owned(),
        plan_id: case.plan.id(),
        from: Some("192.0.2.7".to_owned()),
        since: "2024-02-29T12:00:00Z".to_owned(),
        process: 7,
    });
    let text = texts(&case, Weight::Error);
    for part in ["from 192.0.2.7", "2024-02-29T12:00:00Z", "--take-over"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_missing_tool_of_the_source_is_named() {
    let [_, missing, ..] = TOOLS;
    let (what, package) = (missing.0.to_owned(), missing.1);
    let text = source_tool(&Missing { what, package }).to_string();
    assert_eq!(
        text,
        "error: ssh-keyscan is missing on the source: install openssh-client"
    );
}
