//! Plans that cannot be carried out, and orders that make no sense.

use p2v_sys::Cmd;
use p2v_transfer::plan::Plan;
use p2v_transfer::protocol::{Fixed, Order, Prepared, Status};
use p2v_transfer::target::Target;

use crate::lab::Lab;
use crate::plans::usual;

type Spoil = fn(&mut Plan);

/// What is said of a plan that is spoilt so.
const SPOILT: [(&str, Spoil); 20] = [
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

#[test]
fn hostile_plans_are_refused_before_any_write() {
    p2v_testing::need_root!();
    let lab = Lab::new(&[1 << 30, 64 << 20]);
    let good = usual(&lab);
    let before = lab.traces(0);
    for (said, spoil) in SPOILT {
        let mut plan = good.clone();
        spoil(&mut plan);
        let text = lab.ask::<Prepared>(lab.prepare(&plan, true)).unwrap_err();
        assert!(text.contains(said), "{said}: {text}");
        assert_eq!(lab.traces(0), before, "{said}");
    }
    // Used by somebody: mounted, and through a loop device.
    let make = Cmd::new("mkfs.ext4", "making it").args(["-q", "-F"]);
    make.arg(lab.disk(0)).run().unwrap();
    let mounted = lab.mount_elsewhere(0);
    let text = lab.ask::<Prepared>(lab.prepare(&good, true)).unwrap_err();
    assert!(text.contains("in use: mounted on"), "{text}");
    let target: Target = lab.ask(Order::Probe).unwrap();
    assert!(target.disks.iter().any(|disk| disk.in_use.is_some()));
    mounted.close().unwrap();
    lab.ask::<Prepared>(lab.prepare(&good, true)).unwrap();
}

#[test]
fn orders_out_of_order_and_stray_lines_are_answered() {
    p2v_testing::need_root!();
    let lab = Lab::new(&[1 << 30]);
    let plan = usual(&lab);
    let fix = Order::Fix {
        plan: Box::new(plan.clone()),
    };
    let text = lab.ask::<Fixed>(fix).unwrap_err();
    assert!(text.contains("prepare them first"), "{text}");
    let status: Status = lab.ask(Order::Status).unwrap();
    assert_eq!((status.phase.as_str(), status.plan_id), ("none", None));
    let mut agent = lab.agent();
    agent.line("Welcome!");
    assert!(agent.answer::<()>().unwrap_err().contains("something else"));
    agent.line("{\"v\":7}");
    assert!(agent.answer::<()>().unwrap_err().contains("version 7"));
    agent.tell(&Order::Probe);
    assert!(agent.answer::<Target>().unwrap().ram_booted);
}
