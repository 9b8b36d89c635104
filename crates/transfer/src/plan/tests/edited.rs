//! Plans that somebody has edited.

use super::*;

#[test]
fn a_derived_plan_has_no_faults() {
    let (plan, source, target) = sound();
    assert_eq!(plan.faults(&source, &target), Vec::<String>::new());
    let usual = usual();
    for size in [20 * GIB, 100 * GIB, 300 * GIB] {
        let plan = derived(&usual, &[size]);
        let target = super::sample::target(&[size]);
        assert_eq!(plan.faults(&usual, &target), Vec::<String>::new());
    }
}

type Spoil = fn(&mut Plan);

/// What is said of a plan that is spoilt so.
const FAULTS: [(&str, Spoil); 23] = [
    ("of version 2", |plan| plan.version = 2),
    ("no disks", |plan| plan.disks.clear()),
    ("planned twice", |plan| {
        plan.disks.push(plan.disks[0].clone())
    }),
    ("no such disk; it has /dev/vda", |plan| {
        plan.disks[0].device = "/dev/vdx".into()
    }),
    ("for a disk of 60 GiB", |plan| plan.disks[0].size = 60 * GIB),
    ("no disk /dev/sdz", |plan| {
        plan.disks[0].source = "/dev/sdz".into()
    }),
    ("is no kind of partition table", |plan| {
        plan.disks[0].table.as_mut().unwrap().label = "bsd".to_owned();
    }),
    ("sectors of 4096 bytes", |plan| {
        plan.disks[0].table.as_mut().unwrap().sector_size = 4096;
    }),
    ("lie in each other", |plan| {
        plan.disks[0].table.as_mut().unwrap().partitions[1].start -= 8;
    }),
    ("must lie between 1 MiB", |plan| {
        plan.disks[0].table.as_mut().unwrap().partitions[0].start = 63;
    }),
    ("must lie between 1 MiB and 50 GiB", |plan| {
        plan.disks[0].table.as_mut().unwrap().partitions[5].size = u64::MAX;
    }),
    ("partition 1 has no volume", |plan| {
        drop(plan.disks[0].volumes.remove(0))
    }),
    ("no partition 7", |plan| plan.disks[0].volumes[0].number = 7),
    ("has two volumes", |plan| {
        plan.disks[0].volumes[0].number = 2
    }),
    ("extended and has a volume", |plan| {
        plan.disks[0].volumes[0].number = 4
    }),
    ("another size than its volume", |plan| {
        plan.disks[0].volumes[0].size += 512
    }),
    ("no such filesystem", |plan| {
        plan.disks[0].volumes[0].source_start += 512
    }),
    ("neither moves it nor names it", |plan| {
        plan.disks[0].volumes.remove(0);
        plan.disks[0].table.as_mut().unwrap().partitions.remove(0);
    }),
    ("/ has two filesystems", |plan| {
        plan.disks[0].volumes[0].mounts[0].path = "/".to_owned();
    }),
    ("is no mount point", |plan| {
        plan.disks[0].volumes[0].mounts[0].path = "/x/../..".to_owned();
    }),
    ("is no option that a plan may have", |plan| {
        let Fill::Files { format, .. } = &mut plan.disks[0].volumes[0].fill else {
            panic!("no files");
        };
        format.options.extend(["-d".to_owned(), "/etc".to_owned()]);
    }),
    ("is copied as it is", |plan| {
        plan.disks[0].volumes[3].size -= GIB;
        plan.disks[0].table.as_mut().unwrap().partitions[4].size -= GIB / 512;
    }),
    ("give -i a smaller value", |plan| {
        let Fill::Files { format, .. } = &mut plan.disks[0].volumes[0].fill else {
            panic!("no files");
        };
        format.set("-i", "67108864");
    }),
];

#[test]
fn faults_of_an_edited_plan_are_found() {
    let (_, source, target) = sound();
    for (said, spoil) in FAULTS {
        let (mut plan, ..) = sound();
        spoil(&mut plan);
        let faults = plan.faults(&source, &target).join("\n");
        assert!(faults.contains(said), "{said}: {faults}");
    }
    // Many at once.
    let (mut plan, ..) = sound();
    plan.disks[0].source = "/dev/sdz".into();
    plan.disks[0].size = 60 * GIB;
    plan.disks[0].volumes[0].number = 7;
    assert!(plan.faults(&source, &target).len() >= 4);
}

#[test]
fn too_small_for_its_files_is_a_fault() {
    let (mut plan, source, target) = sound();
    let dir = tempfile::tempdir().unwrap();
    plan.disks[0].volumes[1].size = 4 * GIB;
    let path = dir.path().join("plan.json");
    plan.save(&path).unwrap();
    let plan = Plan::load(&path).unwrap();
    let faults = plan.faults(&source, &target);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].contains("vda2: it has 4 GiB, and its files need"),
        "{faults:?}"
    );
}

#[test]
fn partitions_follow_edited_sizes() {
    let (plan, source, target) = sound();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plan.json");
    plan.save(&path).unwrap();
    assert_eq!(Plan::load(&path).unwrap(), plan);
    let mut edited = plan.clone();
    edited.disks[0].volumes[0].size += 100 * MIB;
    edited.disks[0].volumes[1].size -= 200 * MIB;
    edited.save(&path).unwrap();
    let loaded = Plan::load(&path).unwrap();
    assert_eq!(loaded.disks[0].volumes, edited.disks[0].volumes);
    assert_eq!(loaded.faults(&source, &target), Vec::<String>::new());
    assert_ne!(loaded.id(), plan.id());
    edited.disks[0].volumes[1].size += 100 * GIB;
    edited.save(&path).unwrap();
    let text = format!("{:#}", Plan::load(&path).unwrap_err());
    assert!(text.contains("would end behind the disk"), "{text}");
}

#[test]
fn what_is_no_plan_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plan.json");
    for (text, said) in [
        ("", "EOF"),
        ("[]", "no version"),
        ("{\"version\": 9}", "of version 9"),
        ("{\"version\": 1}", "missing field"),
        ("{\"version\": 1, \"disk\": []}", "unknown field `disk`"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = format!("{:#}", Plan::load(&path).unwrap_err());
        assert!(
            error.contains(said) && error.contains("plan.json"),
            "{error}"
        );
    }
    assert!(Plan::load(&dir.path().join("none")).is_err());
    assert!(sound().0.save(&dir.path().join("none/plan.json")).is_err());
}
