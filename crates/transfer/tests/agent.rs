//! The agent on real disks: image files behind loop devices. The kernel makes
//! no partitions of those, so volumes are loop devices with offsets.

mod bench;

use std::collections::BTreeMap;
use std::time::Duration;

use bench::{Bench, blocks, btrfs, ext4, partitioned, plan, swap, xfs};
use p2v_sys::partition::table::Table;
use p2v_sys::{Cmd, LoopDevice};
use p2v_transfer::protocol::{
    self, DataOrder, DataWork, Fixed, Loss, Order, Prepared, Status, Target,
};

const ROOT: &str = "11111111-2222-4333-8444-555555555555";
const HOME: &str = "22222222-2222-4333-8444-555555555555";

macro_rules! need_root {
    () => {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
    };
}

/// No test: what [`Bench`] starts.
#[test]
fn agent_process() {
    bench::be_agent();
}

/// A root, a home, swap, and blocks.
fn usual(bench: &Bench) -> p2v_transfer::plan::Plan {
    let volumes = vec![
        ext4(ROOT, &["/"]),
        xfs(HOME, &["/home"]),
        swap(),
        blocks("vfat"),
    ];
    plan(vec![partitioned(bench.disk(0), "gpt", volumes)])
}

#[test]
fn disks_are_made_filled_and_known_again() {
    need_root!();
    let bench = Bench::new(&[1 << 30]);
    let plan = usual(&bench);
    let prepared: Prepared = bench.ask(bench.prepare(&plan, false)).unwrap();
    assert!(!prepared.resumed && prepared.complete.is_empty());
    let found = Table::read(&bench.disk(0)).unwrap().unwrap();
    let planned = plan.disks[0].table.as_ref().unwrap();
    assert_eq!(found.partitions.len(), planned.partitions.len());
    for volume in [1, 2] {
        let top = bench.volume(0, volume);
        std::fs::write(top.join("kept"), "here").unwrap();
    }
    // As it is, and after the machine was off: only the disk knows then.
    for powered_off in [false, true] {
        if powered_off {
            bench.power_off();
        }
        let prepared: Prepared = bench.ask(bench.prepare(&plan, false)).unwrap();
        assert!(prepared.resumed, "{powered_off}");
        for volume in [1, 2] {
            let text = std::fs::read(bench.volume(0, volume).join("kept")).unwrap();
            assert_eq!(text, b"here");
        }
    }
    let target: Target = bench.ask(Order::Probe).unwrap();
    let disk = &target.disks[0];
    assert_eq!(disk.plan_id, Some(plan.id()));
    assert_eq!(disk.in_use, None);
    assert!(
        disk.holds[0].contains(" ext4 200.0 MiB"),
        "{:?}",
        disk.holds
    );
    assert!(disk.holds[2].contains(" swap "), "{:?}", disk.holds);
    let status: Status = bench.ask(Order::Status).unwrap();
    assert_eq!(status.plan_id, Some(plan.id()));
    assert_eq!(status.phase, "prepared");
    assert_eq!(status.lines.len(), 5, "{:?}", status.lines);
}

#[test]
fn nothing_is_lost_without_consent() {
    need_root!();
    let bench = Bench::new(&[1 << 30]);
    let first = usual(&bench);
    let mut second = first.clone();
    second.disks[0].volumes[1].identity.label = Some("other".to_owned());
    bench.ask::<Prepared>(bench.prepare(&first, false)).unwrap();
    std::fs::write(bench.volume(0, 1).join("kept"), "here").unwrap();
    let refused = bench.ask::<Prepared>(bench.prepare(&second, false));
    let text = refused.unwrap_err();
    assert!(text.contains("nobody has agreed"), "{text}");
    assert!(text.contains(" ext4 200.0 MiB"), "{text}");
    // And the first one is still there.
    let prepared: Prepared = bench.ask(bench.prepare(&first, false)).unwrap();
    assert!(prepared.resumed);
    assert!(bench.volume(0, 1).join("kept").exists());
    let prepared: Prepared = bench.ask(bench.prepare(&second, true)).unwrap();
    assert!(!prepared.resumed);
    assert!(!bench.volume(0, 1).join("kept").exists());
    let refused = bench.ask::<Prepared>(bench.prepare(&first, false));
    assert!(refused.unwrap_err().contains("nobody has agreed"));
}

#[test]
fn a_filesystem_on_the_whole_disk_needs_consent_too() {
    need_root!();
    let bench = Bench::new(&[300 << 20]);
    let make = Cmd::new("mkfs.ext4", "making it").args(["-q", "-F", "-L", "precious"]);
    make.arg(bench.disk(0)).run().unwrap();
    let volume = p2v_transfer::plan::Volume {
        number: 0,
        ..ext4(ROOT, &["/"])
    };
    let mut plan = usual(&bench);
    plan.disks[0].size = 200 << 20;
    plan.disks[0].table = None;
    plan.disks[0].volumes = vec![volume];
    let text = bench
        .ask::<Prepared>(bench.prepare(&plan, false))
        .unwrap_err();
    assert!(text.contains("\"precious\""), "{text}");
    bench.ask::<Prepared>(bench.prepare(&plan, true)).unwrap();
    // It has no place for a stamp, so only RAM knows.
    let prepared: Prepared = bench.ask(bench.prepare(&plan, false)).unwrap();
    assert!(prepared.resumed);
    bench.power_off();
    let refused = bench.ask::<Prepared>(bench.prepare(&plan, false));
    assert!(refused.unwrap_err().contains("nobody has agreed"));
}

#[test]
fn a_volume_that_is_not_there_is_made_again_alone() {
    need_root!();
    let bench = Bench::new(&[1 << 30]);
    let plan = usual(&bench);
    bench.ask::<Prepared>(bench.prepare(&plan, false)).unwrap();
    std::fs::write(bench.volume(0, 1).join("kept"), "here").unwrap();
    bench.power_off();
    bench.overwrite(&plan, 0, 1);
    let prepared: Prepared = bench.ask(bench.prepare(&plan, false)).unwrap();
    assert!(!prepared.resumed);
    assert!(bench.volume(0, 1).join("kept").exists());
    assert!(bench.volume(0, 2).read_dir().unwrap().next().is_none());
}

/// A disk that still has the plan's stamp is not thereby free to be erased.
#[test]
fn consent_is_to_what_was_shown() {
    need_root!();
    let bench = Bench::new(&[1 << 30]);
    let plan = usual(&bench);
    bench.ask::<Prepared>(bench.prepare(&plan, false)).unwrap();
    bench.power_off();
    let shown = bench.losses();
    // Somebody makes something else of a partition, then of the whole table.
    let table = plan.disks[0].table.as_ref().unwrap();
    let extent = table.partitions[1].extent(512);
    let part = LoopDevice::attach(&bench.disk(0), extent, false).unwrap();
    let make = Cmd::new("mkfs.ext4", "making it").args(["-q", "-F"]);
    make.arg(part.path()).run().unwrap();
    part.close().unwrap();
    let refused = |erase: Vec<Loss>, said: &str| {
        let order = Order::Prepare {
            plan: Box::new(plan.clone()),
            erase,
        };
        let text = bench.ask::<Prepared>(order).unwrap_err();
        assert!(text.contains("nobody has agreed"), "{text}");
        assert!(text.contains(said), "{said}: {text}");
    };
    refused(Vec::new(), "2 ext4");
    refused(shown.clone(), "2 ext4");
    let mut other = table.clone();
    other.partitions.truncate(2);
    other.write(&bench.disk(0)).unwrap();
    let target: Target = bench.ask(Order::Probe).unwrap();
    assert_eq!(target.disks[0].plan_id, Some(plan.id()));
    refused(Vec::new(), " ext4 200.0 MiB");
    refused(shown, " ext4 200.0 MiB");
    bench.ask::<Prepared>(bench.prepare(&plan, true)).unwrap();
}

#[test]
fn what_is_killed_anywhere_goes_on() {
    need_root!();
    let bench = Bench::new(&[1 << 30]);
    let mut finished = 0;
    // Each round another plan, on the disk that the round before has left.
    for round in 0..24_u64 {
        let mut plan = usual(&bench);
        plan.system.hostname = Some(format!("round{round}"));
        let killed = bench.killed(
            bench.prepare(&plan, true),
            Duration::from_millis(round * 25),
        );
        if round % 2 == 1 {
            bench.power_off();
        }
        // What was killed early had not touched the disk: it needs consent.
        let again = bench.ask::<Prepared>(bench.prepare(&plan, false));
        match again {
            Ok(prepared) => finished += u32::from(prepared.resumed),
            Err(text) => {
                assert!(text.contains("nobody has agreed"), "round {round}: {text}");
                assert!(killed, "round {round} had ended");
                bench.ask::<Prepared>(bench.prepare(&plan, true)).unwrap();
            }
        }
        let prepared: Prepared = bench.ask(bench.prepare(&plan, false)).unwrap();
        assert!(prepared.resumed, "round {round}");
        for volume in [1, 2] {
            std::fs::write(bench.volume(0, volume).join("file"), "x").unwrap();
        }
    }
    assert!(finished > 0, "no round was killed after its end");
}

#[test]
fn an_earlier_agent_is_ended_but_not_another_transfers() {
    need_root!();
    let bench = Bench::new(&[1 << 30]);
    let plan = usual(&bench);
    let mut other = plan.clone();
    other.system.hostname = Some("other".to_owned());
    let mut hanging = bench.agent();
    hanging.tell(&bench.prepare(&plan, true));
    hanging.answer::<Prepared>().unwrap();
    let text = bench
        .ask::<Prepared>(bench.prepare(&other, false))
        .unwrap_err();
    assert!(text.contains("another transfer"), "{text}");
    assert!(hanging.is_running());
    let prepared: Prepared = bench.ask(bench.prepare(&plan, false)).unwrap();
    assert!(prepared.resumed);
    assert!(!hanging.is_running());
}

#[test]
fn hostile_plans_are_refused_before_any_write() {
    need_root!();
    let bench = Bench::new(&[1 << 30, 64 << 20]);
    let good = usual(&bench);
    let before = bench.traces(0);
    type Spoil = fn(&mut p2v_transfer::plan::Plan);
    let spoilt: [(&str, Spoil); 20] = [
        ("is no disk of this machine", |plan| {
            plan.disks[0].device = "/dev/null".into();
        }),
        ("is no disk of this machine", |plan| {
            plan.disks[0].device = "../dev/sda".into();
        }),
        ("planned twice", |plan| {
            plan.disks.push(plan.disks[0].clone());
        }),
        ("the plan has no disks", |plan| plan.disks.clear()),
        ("of version 9", |plan| plan.version = 9),
        ("are needed", |plan| plan.disks[0].size = u64::MAX),
        ("overlap", |plan| {
            let table = plan.disks[0].table.as_mut().unwrap();
            table.partitions[1].start -= 1;
        }),
        ("ends behind the disk", |plan| {
            let table = plan.disks[0].table.as_mut().unwrap();
            table.partitions[3].size = u64::MAX;
        }),
        ("there twice", |plan| {
            let table = plan.disks[0].table.as_mut().unwrap();
            table.partitions[1].number = 1;
        }),
        ("out of range", |plan| {
            let table = plan.disks[0].table.as_mut().unwrap();
            table.partitions[0].start = 0;
        }),
        ("no kind of partition table", |plan| {
            plan.disks[0].table.as_mut().unwrap().label = "sun".to_owned();
        }),
        ("sectors have 512 bytes", |plan| {
            plan.disks[0].table.as_mut().unwrap().sector_size = 4096;
        }),
        ("no partition 9", |plan| plan.disks[0].volumes[0].number = 9),
        ("smaller than its volume", |plan| {
            plan.disks[0].volumes[0].size = 1 << 40;
        }),
        ("is no mount point", |plan| {
            plan.disks[0].volumes[0].mounts[0].path = "/../etc".to_owned();
        }),
        ("two filesystems", |plan| {
            plan.disks[0].volumes[1].mounts[0].path = "/".to_owned();
        }),
        ("is no subvolume", |plan| {
            plan.disks[0].volumes[0].mounts[0].subvolume = Some("a,subvolid=5".to_owned());
        }),
        ("is no UUID", |plan| {
            plan.disks[0].volumes[2].identity.uuid = Some("-f".to_owned());
        }),
        ("more than 12 bytes", |plan| {
            plan.disks[0].volumes[1].identity.label = Some("thirteen long".to_owned());
        }),
        ("without partitions it can hold one volume", |plan| {
            plan.disks[0].table = None;
        }),
    ];
    for (said, spoil) in spoilt {
        let mut plan = good.clone();
        spoil(&mut plan);
        let text = bench
            .ask::<Prepared>(bench.prepare(&plan, true))
            .unwrap_err();
        assert!(text.contains(said), "{said}: {text}");
        assert_eq!(bench.traces(0), before, "{said}");
    }
    // Used by somebody: mounted, and through a loop device.
    let make = Cmd::new("mkfs.ext4", "making it").args(["-q", "-F"]);
    make.arg(bench.disk(0)).run().unwrap();
    let mounted = bench.mount_elsewhere(0);
    let text = bench
        .ask::<Prepared>(bench.prepare(&good, true))
        .unwrap_err();
    assert!(text.contains("in use: mounted on"), "{text}");
    let target: Target = bench.ask(Order::Probe).unwrap();
    assert!(target.disks.iter().any(|disk| disk.in_use.is_some()));
    mounted.close().unwrap();
    bench.ask::<Prepared>(bench.prepare(&good, true)).unwrap();
}

#[test]
fn the_system_is_put_together_and_repaired() {
    need_root!();
    let bench = Bench::new(&[1 << 30]);
    // mkfs.btrfs takes none that another disk has, such as another test's.
    let uuid = "44444444-2222-4333-8444-555555555555";
    let mut root = btrfs(uuid, &[("/", Some("@")), ("/home", Some("/@home"))]);
    root.was = vec!["/dev/sda1".to_owned()];
    let mut srv = ext4(HOME, &["/srv/data"]);
    srv.was = vec!["/dev/sda2".to_owned()];
    let plan = plan(vec![partitioned(bench.disk(0), "dos", vec![root, srv])]);
    bench.ask::<Prepared>(bench.prepare(&plan, false)).unwrap();
    let top = bench.volume(0, 1);
    for name in ["@", "@home"] {
        let make = Cmd::new("btrfs", "making a subvolume").args(["subvolume", "create"]);
        make.arg(top.join(name)).run().unwrap();
    }
    std::fs::create_dir_all(top.join("@/etc")).unwrap();
    std::fs::create_dir_all(top.join("@/home")).unwrap();
    // A program of the system would see this one, and no disk.
    std::fs::create_dir_all(top.join("@/dev")).unwrap();
    std::fs::write(top.join("@/dev/null"), "").unwrap();
    // A link that would lead out of the tree.
    std::fs::create_dir_all(top.join("@/var/srv")).unwrap();
    std::os::unix::fs::symlink("/var/srv", top.join("@/srv")).unwrap();
    let fstab = "/dev/sda1 / btrfs subvol=@ 0 0\n/dev/sda1 /home btrfs subvol=@home 0 0\n\
                 /dev/sda2 /srv/data ext4 defaults 0 2\n";
    std::fs::write(top.join("@/etc/fstab"), fstab).unwrap();
    std::fs::write(top.join("@home/user"), "").unwrap();
    let fix = || Order::Fix {
        plan: Box::new(plan.clone()),
    };
    for _ in 0..2 {
        let (fixed, notes) = bench.ask_noting::<Fixed>(fix());
        let fixed = fixed.unwrap();
        let by_part: BTreeMap<_, _> = fixed
            .fixes
            .iter()
            .map(|fix| (fix.part.as_str(), fix))
            .collect();
        assert!(by_part.contains_key("10-repair-fstab"), "{by_part:?}");
        assert_ne!(by_part["10-repair-fstab"].outcome, "failed");
        // There is no kernel in it, and no boot loader.
        assert!(!fixed.will_boot && !fixed.obstacles.is_empty());
        assert!(notes.iter().any(|note| note == "running 10-repair-fstab"));
        assert!(bench.mounts().is_empty(), "{:?}", bench.mounts());
    }
    let prepared: Prepared = bench.ask(bench.prepare(&plan, false)).unwrap();
    assert!(prepared.resumed);
    let fstab = std::fs::read_to_string(top.join("@/etc/fstab")).unwrap();
    assert!(
        fstab.contains(&format!("UUID={uuid} / btrfs subvol=@")),
        "{fstab}"
    );
    assert!(fstab.contains(&format!("UUID={HOME} /srv/data")), "{fstab}");
    assert!(top.join("@/var/srv/data").is_dir());
    let finish = |complete| Order::Finish {
        plan: Box::new(plan.clone()),
        complete,
        restart: false,
        summary: vec!["done \u{1b}[2J".to_owned()],
    };
    // It may go on after this, but not once the system may have started.
    bench.ask::<()>(finish(false)).unwrap();
    assert!(bench.mounts().is_empty());
    let prepared: Prepared = bench.ask(bench.prepare(&plan, false)).unwrap();
    assert!(prepared.resumed);
    bench.ask::<()>(finish(true)).unwrap();
    let refused = bench.ask::<Prepared>(bench.prepare(&plan, false));
    assert!(refused.unwrap_err().contains("nobody has agreed"));
}

#[test]
fn contents_arrive_and_the_disk_remembers() {
    need_root!();
    let bench = Bench::new(&[1 << 30]);
    let plan = usual(&bench);
    let source = tempfile::tempdir().unwrap();
    std::fs::create_dir(source.path().join("etc")).unwrap();
    std::fs::write(source.path().join("etc/fstab"), "text").unwrap();
    let order = |number: u32, plan_id: String| DataOrder {
        v: protocol::VERSION,
        plan_id,
        volume: plan.disks[0].volumes[number as usize - 1].name(&plan.disks[0]),
        work: DataWork::Files,
    };
    let good = order(1, plan.id());
    let refused = |order: &DataOrder, said: &str| {
        let text = bench.send(order, source.path()).unwrap_err();
        assert!(text.contains(said), "{said}: {text}");
    };
    refused(&good, "not prepared for the plan");
    bench.ask::<Prepared>(bench.prepare(&plan, false)).unwrap();
    refused(&order(1, "0".repeat(32)), "not prepared for the plan");
    refused(&order(3, plan.id()), "fills it in another way");
    let mut stray = order(1, plan.id());
    stray.volume = "../../etc".to_owned();
    refused(&stray, "has no volume");
    let sent = bench.send(&good, source.path()).unwrap();
    assert_eq!(sent.bytes_sent, 4);
    let there = std::fs::read(bench.volume(0, 1).join("etc/fstab")).unwrap();
    assert_eq!(there, b"text");
    bench.power_off();
    // A machine that was restarted would take the files into its RAM.
    refused(&good, "not prepared");
    let prepared: Prepared = bench.ask(bench.prepare(&plan, false)).unwrap();
    assert!(prepared.resumed);
    assert_eq!(prepared.complete.concat(), good.volume);
    let sent = bench.send(&good, source.path()).unwrap();
    assert_eq!(sent.bytes_sent, 0);
    // Of what was last written to a disk without power nobody knows whether it
    // is on it: right in size and time, but zeros.
    let file = bench.volume(0, 1).join("etc/fstab");
    let time = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, [0; 4]).unwrap();
    let options = std::fs::File::options().write(true).open(&file).unwrap();
    options.set_modified(time).unwrap();
    drop(options);
    bench.power_off();
    bench.ask::<Prepared>(bench.prepare(&plan, false)).unwrap();
    assert_eq!(bench.send(&good, source.path()).unwrap().bytes_sent, 4);
    assert_eq!(std::fs::read(&file).unwrap(), b"text");
    // What is being filled again is not complete until it is.
    let full = source.path().join("large");
    std::fs::write(&full, vec![1; 220 << 20]).unwrap();
    refused(&good, "No space left");
    let prepared: Prepared = bench.ask(bench.prepare(&plan, false)).unwrap();
    assert!(prepared.resumed && prepared.complete.is_empty());
    std::fs::remove_file(full).unwrap();
    bench.send(&good, source.path()).unwrap();
    assert!(!bench.volume(0, 1).join("large").exists());
    // Nobody may take an empty directory for the volume.
    for point in bench.mounts() {
        p2v_sys::Mount::of_program(&point).close().unwrap();
    }
    refused(&good, "it is not mounted");
}

#[test]
fn orders_out_of_order_and_stray_lines_are_answered() {
    need_root!();
    let bench = Bench::new(&[1 << 30]);
    let plan = usual(&bench);
    let fix = Order::Fix {
        plan: Box::new(plan.clone()),
    };
    let text = bench.ask::<Fixed>(fix).unwrap_err();
    assert!(text.contains("prepare them first"), "{text}");
    let status: Status = bench.ask(Order::Status).unwrap();
    assert_eq!((status.phase.as_str(), status.plan_id), ("none", None));
    let mut agent = bench.agent();
    agent.line("Welcome!");
    assert!(agent.answer::<()>().unwrap_err().contains("something else"));
    agent.line("{\"v\":7}");
    assert!(agent.answer::<()>().unwrap_err().contains("version 7"));
    agent.tell(&Order::Probe);
    assert!(agent.answer::<Target>().unwrap().ram_booted);
}
