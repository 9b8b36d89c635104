//! What the plans of machines made by hand come to.

mod any;
mod edited;
mod shown;

use p2v_fixes::machine::BootMode;

use super::sample::*;
use super::*;
use crate::source::{Content, Disk};

fn derived(source: &Source, sizes: &[u64]) -> Plan {
    let plan = derive(source, &target(sizes), &Wishes::default()).unwrap();
    check_layout(source, &plan);
    plan
}

fn refused(source: &Source, sizes: &[u64]) -> String {
    let error = derive(source, &target(sizes), &Wishes::default()).unwrap_err();
    format!("{error:#}")
}

fn sizes(plan: &Plan) -> Vec<u64> {
    plan.volumes()
        .map(|(_, volume)| volume.size / MIB)
        .collect()
}

/// A plan and what it is for, to be spoilt.
fn sound() -> (Plan, Source, Target) {
    let source = source(vec![disk(
        'a',
        60 * GIB,
        "dos",
        &[
            (GIB, filesystem("ext4", "/boot", 200 * MIB)),
            (20 * GIB, filesystem("xfs", "/", 4 * GIB)),
            (2 * GIB, swap()),
            (10 * GIB, filesystem("vfat", "/data", GIB)),
            (20 * GIB, filesystem("ext3", "/home", 2 * GIB)),
        ],
    )]);
    let target = target(&[50 * GIB]);
    let plan = derive(&source, &target, &Wishes::default()).unwrap();
    (plan, source, target)
}

/// What must be so of any plan.
fn check_layout(source: &Source, plan: &Plan) {
    for planned in &plan.disks {
        let disk = source.disks.iter().find(|disk| disk.path == planned.source);
        let Some(table) = &planned.table else {
            assert!(planned.volumes[0].size <= planned.size);
            continue;
        };
        table.check_writable(planned.size).unwrap();
        layout::check_apart(table).unwrap();
        let old = disk.unwrap().table.as_ref().unwrap();
        assert_eq!((&old.label, &old.id), (&table.label, &table.id));
        let mut last = 0;
        for volume in &planned.volumes {
            let number = |entry: &&p2v_sys::partition::table::Entry| entry.number == volume.number;
            let entry = table.partitions.iter().find(number).unwrap();
            let was = old.partitions.iter().find(number).unwrap();
            let extent = entry.extent(table.sector_size);
            assert_eq!(extent.length, volume.size);
            assert!(
                extent.offset >= last && extent.offset % MIB == 0,
                "{planned:?}"
            );
            last = extent.offset + extent.length;
            assert!(last <= planned.size);
            assert!(volume.size >= demand::least_of(volume), "{volume:?}");
            let same = |entry: &p2v_sys::partition::table::Entry| {
                (
                    entry.kind.clone(),
                    entry.uuid.clone(),
                    entry.name.clone(),
                    entry.attributes.clone(),
                    entry.bootable,
                )
            };
            assert_eq!(same(entry), same(was));
        }
    }
}

#[test]
fn the_same_size_keeps_everything_in_its_place() {
    let source = usual();
    let plan = derived(&source, &[100 * GIB]);
    assert_eq!(plan.disks[0].table, source.disks[0].table);
    assert_eq!(sizes(&plan), [30 << 10, 4 << 10, 60 << 10]);
    assert_eq!(plan.disks[0].device.to_str(), Some("/dev/vda"));
    assert_eq!(plan.disks[0].source_names, source.disks[0].names);
    assert!(plan.left_out.is_empty());
}

#[test]
fn a_larger_disk_gives_to_files_by_what_they_hold() {
    let plan = derived(&usual(), &[160 * GIB]);
    let sizes = sizes(&plan);
    assert_eq!(sizes[1], 4 << 10, "swap stays");
    // 66 GiB more, a third of it for the root.
    assert!((sizes[0] as i64 - (52 << 10)).abs() < 8, "{sizes:?}");
    assert!((sizes[2] as i64 - (104 << 10)).abs() < 8, "{sizes:?}");
}

#[test]
fn a_smaller_disk_takes_from_files_in_proportion() {
    let plan = derived(&usual(), &[40 * GIB]);
    let sizes = sizes(&plan);
    assert_eq!(sizes[1], 4 << 10, "swap stays while it can");
    assert!(
        sizes[0] > 4400 && sizes[2] > 8800 && sizes[2] > sizes[0],
        "{sizes:?}"
    );
    let all: u64 = sizes.iter().sum();
    assert!((all as i64 - (40 << 10)).abs() < 8, "{sizes:?}");
}

#[test]
fn swap_shrinks_before_the_files_do_not_fit() {
    let plan = derived(&usual(), &[16 * GIB]);
    let swap = sizes(&plan)[1];
    assert!((64..4 << 10).contains(&swap), "{swap}");
    let text = refused(&usual(), &[13 * GIB]);
    assert!(text.contains("/dev/vda has 13 GiB, and at least"), "{text}");
    assert!(text.contains("gnt-instance grow-disk"), "{text}");
}

#[test]
fn what_has_no_files_keeps_its_size() {
    let source = source(vec![disk(
        'a',
        50 * GIB,
        "gpt",
        &[
            (MIB, Content::BiosBoot),
            (
                100 * MIB + 512 * 3,
                filesystem("vfat", "/boot/efi", 5 * MIB),
            ),
            (500 * MIB, filesystem("xfs", "/boot", 100 * MIB)),
            (40 * GIB, filesystem("btrfs", "/", 3 * GIB)),
        ],
    )]);
    for size in [10 * GIB, 50 * GIB, 500 * GIB] {
        let plan = derived(&source, &[size]);
        let volumes = &plan.disks[0].volumes;
        assert_eq!(volumes[0].fill, Fill::Reserved);
        assert_eq!(volumes[1].size, 100 * MIB + 512 * 3);
        assert!(matches!(&volumes[1].fill, Fill::Blocks { kind } if kind == "vfat"));
        assert!(volumes[2].size >= 300 * MIB, "{:?}", volumes[2]);
    }
}

#[test]
fn logical_partitions_stay_inside_and_keep_their_numbers() {
    let parts = |third: Content| {
        [
            (GIB, filesystem("ext4", "/boot", 200 * MIB)),
            (10 * GIB, filesystem("ext4", "/", 3 * GIB)),
            (2 * GIB, swap()),
            (5 * GIB, third),
            (20 * GIB, filesystem("ext4", "/home", 2 * GIB)),
            (MIB, Content::Nothing),
        ]
    };
    let all = source(vec![disk(
        'a',
        40 * GIB,
        "dos",
        &parts(filesystem("ext3", "/var", GIB)),
    )]);
    for size in [14 * GIB, 40 * GIB, 41 * GIB, 400 * GIB] {
        let plan = derived(&all, &[size]);
        let numbers: Vec<_> = plan.volumes().map(|(_, volume)| volume.number).collect();
        assert_eq!(numbers, [1, 2, 3, 5, 6]);
        assert_eq!(plan.left_out.len(), 1);
    }
    // One before another is left out: its number is kept.
    let without = source(vec![disk('a', 40 * GIB, "dos", &parts(Content::Nothing))]);
    let plan = derived(&without, &[20 * GIB]);
    let fifth = &plan.disks[0].volumes[3];
    assert_eq!(
        (fifth.number, &fifth.fill, fifth.size),
        (5, &Fill::Reserved, MIB)
    );
    assert_eq!(plan.disks[0].volumes[4].number, 6);
    assert_eq!(plan.left_out.len(), 2);
    assert_eq!(plan.left_out[0].was, ["/dev/sda5"]);
}

#[test]
fn old_alignment_becomes_whole_mib() {
    let mut source = usual();
    let table = source.disks[0].table.as_mut().unwrap();
    table.partitions[0].start = 63;
    table.partitions[0].size += 2048 - 63;
    source.disks[0].areas[0].start = 63 * 512;
    source.disks[0].areas[0].size += (2048 - 63) * 512;
    let plan = derived(&source, &[100 * GIB]);
    assert_eq!(
        plan.disks[0].table.as_ref().unwrap().partitions[0].start,
        2048
    );
}

#[test]
fn disks_go_in_order_and_that_which_starts_goes_first() {
    let data = |letter| whole(letter, 10 * GIB, filesystem("ext4", "/srv", GIB));
    let system = disk(
        'b',
        20 * GIB,
        "dos",
        &[(18 * GIB, filesystem("ext4", "/", GIB))],
    );
    let boot = disk(
        'c',
        2 * GIB,
        "gpt",
        &[(GIB, filesystem("ext4", "/boot", 100 * MIB))],
    );
    let empty = whole('d', GIB, Content::Nothing);
    let source = source(vec![system, data('a'), empty, boot]);
    let plan = derived(&source, &[GIB, 20 * GIB, 5 * GIB]);
    let order: Vec<_> = plan
        .disks
        .iter()
        .map(|disk| disk.source.to_str().unwrap())
        .collect();
    assert_eq!(order, ["/dev/sdc", "/dev/sdb", "/dev/sda"]);
    assert_eq!(plan.disks[2].table, None);
    assert_eq!(plan.disks[2].volumes[0].size, 5 * GIB);
    let text = refused(&source, &[20 * GIB]);
    assert!(text.contains("has 1 disks, and 3 are needed"), "{text}");
    assert!(
        text.contains("/dev/sdb (20 GiB), /dev/sda (10 GiB)"),
        "{text}"
    );
}

#[test]
fn a_disk_without_table_scales_too() {
    let one = |used| source(vec![whole('a', 10 * GIB, filesystem("ext4", "/", used))]);
    assert_eq!(
        derived(&one(GIB), &[3 * GIB + 5]).disks[0].volumes[0].size,
        3 * GIB
    );
    assert!(refused(&one(9 * GIB), &[5 * GIB]).contains("at least 10 GiB"));
}

#[test]
fn what_the_system_needs_and_cannot_come_is_refused() {
    let lvm = || Content::Unmovable("LVM2_member".to_owned());
    let boot = (GIB, filesystem("ext4", "/boot", 100 * MIB));
    let rootless = source(vec![disk('a', 50 * GIB, "gpt", &[boot, (40 * GIB, lvm())])]);
    let text = refused(&rootless, &[50 * GIB]);
    assert!(text.contains("LVM2_member on /dev/sda2"), "{text}");
    let root = (10 * GIB, filesystem("ext4", "/", GIB));
    let mut data = source(vec![disk('a', 50 * GIB, "gpt", &[root, (30 * GIB, lvm())])]);
    let plan = derived(&data, &[50 * GIB]);
    assert_eq!(plan.left_out[0].reason, "LVM2_member cannot be moved yet");
    data.system.fstab = vec!["/dev/mapper/vg-srv /srv\\040x ext4 defaults 0 2".to_owned()];
    let text = refused(&data, &[50 * GIB]);
    assert!(
        text.contains("mounts /dev/mapper/vg-srv on /srv x"),
        "{text}"
    );
    for optional in [
        "/dev/mapper/vg-srv /srv ext4 noauto",
        "/dev/mapper/vg-srv /srv ext4 defaults,nofail 0 2",
        "/srv/x /home/x none bind",
        "tmpfs /tmp tmpfs",
        "/dev/sr0 /media/cdrom0 udf,iso9660 user 0 0",
        "nas:/export /mnt nfs",
        "/dev/mapper/vg-swap none swap sw",
        "UUID=1",
    ] {
        data.system.fstab = vec![optional.to_owned()];
        derived(&data, &[50 * GIB]);
    }
}

#[test]
fn another_sector_size_is_converted_or_refused() {
    let parts = |esp: bool| {
        let root = (10 * GIB, filesystem("ext4", "/", GIB));
        let srv = (10 * GIB, filesystem("xfs", "/srv", GIB));
        let esp = esp.then(|| (100 * MIB, filesystem("vfat", "/boot/efi", MIB)));
        [root, srv].into_iter().chain(esp).collect::<Vec<_>>()
    };
    let mut large = target(&[40 * GIB]);
    large.disks[0].sector_size = 4096;
    let plain = source(vec![disk('a', 40 * GIB, "gpt", &parts(false))]);
    let plan = derive(&plain, &large, &Wishes::default()).unwrap();
    let table = plan.disks[0].table.as_ref().unwrap();
    assert_eq!((table.sector_size, table.partitions[0].start), (4096, 256));
    let Fill::Files { format, .. } = &plan.disks[0].volumes[1].fill else {
        panic!("no files");
    };
    assert_eq!(format.value("-s"), Some("size=4096"));
    let esp = source(vec![disk('a', 40 * GIB, "gpt", &parts(true))]);
    let error = derive(&esp, &large, &Wishes::default()).unwrap_err();
    assert!(format!("{error:#}").contains("sectors of 512 bytes"));
}

#[test]
fn an_mbr_ends_at_two_tib() {
    let large = 3 << 40;
    let source = source(vec![disk(
        'a',
        large,
        "dos",
        &[(GIB, filesystem("ext4", "/", MIB))],
    )]);
    let plan = derived(&source, &[large + GIB]);
    assert!(plan.disks[0].volumes[0].size < 2 << 40);
    assert!(plan.disks[0].volumes[0].size > (2 << 40) - 10 * MIB);
}

#[test]
fn inodes_are_made_enough_on_a_small_disk() {
    let mut many = usual();
    let Content::Filesystem(root) = &mut many.disks[0].areas[0].content else {
        panic!("no filesystem");
    };
    root.inodes = 1_500_000;
    let plan = derived(&many, &[30 * GIB]);
    let volume = &plan.disks[0].volumes[0];
    let Fill::Files { format, .. } = &volume.fill else {
        panic!("no files");
    };
    assert!(demand::inodes_of(format, volume.size).unwrap() >= 1_575_000);
}

#[test]
fn what_is_on_the_target_now_has_no_say() {
    let source = usual();
    let mut busy = target(&[60 * GIB]);
    let plan = derive(&source, &busy, &Wishes::default()).unwrap();
    busy.memory_available = 1;
    busy.disks[0].plan_id = Some(plan.id());
    busy.disks[0].holds = vec!["vda1 ext4".to_owned()];
    busy.disks[0].in_use = Some("/mnt".to_owned());
    let again = derive(&source, &busy, &Wishes::default()).unwrap();
    assert_eq!(plan.id(), again.id());
    let other = derive(&source, &target(&[61 * GIB]), &Wishes::default()).unwrap();
    assert_ne!(plan.id(), other.id());
    // A clone that has made itself SSH host keys of its own.
    let mut clone = usual();
    clone.system.installation = Some("clone".to_owned());
    let other = derive(&clone, &target(&[60 * GIB]), &Wishes::default()).unwrap();
    assert_ne!(plan.id(), other.id());
}

#[test]
fn a_direct_kernel_is_the_targets_choice() {
    let mut direct = target(&[100 * GIB]);
    direct.boot = BootMode::Direct;
    let plan = derive(&usual(), &direct, &Wishes::default()).unwrap();
    assert_eq!(plan.boot, BootMode::Direct);
}

#[test]
fn a_source_that_goes_on_working_keeps_its_plan() {
    for size in [30 * GIB, 100 * GIB, 200 * GIB] {
        let mut source = usual();
        let plan = derived(&source, &[size]);
        let Content::Filesystem(home) = &mut source.disks[0].areas[2].content else {
            panic!("no filesystem");
        };
        home.used += 100 * MIB;
        home.inodes += 1000;
        source.system.kernels.clear();
        let again = derived(&source, &[size]);
        assert_eq!(plan.id(), again.id());
        assert_ne!(plan, again);
    }
}
