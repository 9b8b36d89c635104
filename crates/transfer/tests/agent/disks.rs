//! Disks become what the plan says, lose nothing without consent, and are
//! known again.

use std::time::Duration;

use p2v_sys::partition::table::Table;
use p2v_sys::{Cmd, LoopDevice};
use p2v_transfer::protocol::{Loss, Order, Prepared, Status};
use p2v_transfer::target::Target;

use crate::lab::Lab;
use crate::plans::{ROOT, ext4, usual};

#[test]
fn disks_are_made_filled_and_known_again() {
    p2v_testing::need_root!();
    let lab = Lab::new(&[1 << 30]);
    let plan = usual(&lab);
    let prepared: Prepared = lab.ask(lab.prepare(&plan, false)).unwrap();
    assert!(!prepared.resumed && prepared.complete.is_empty());
    let found = Table::read(&lab.disk(0)).unwrap().unwrap();
    let planned = plan.disks[0].table.as_ref().unwrap();
    assert_eq!(found.partitions.len(), planned.partitions.len());
    for volume in [1, 2] {
        let top = lab.volume(0, volume);
        std::fs::write(top.join("kept"), "here").unwrap();
    }
    // As it is, and after the machine was off: only the disk knows then.
    for powered_off in [false, true] {
        if powered_off {
            lab.power_off();
        }
        let prepared: Prepared = lab.ask(lab.prepare(&plan, false)).unwrap();
        assert!(prepared.resumed, "{powered_off}");
        for volume in [1, 2] {
            let text = std::fs::read(lab.volume(0, volume).join("kept")).unwrap();
            assert_eq!(text, b"here");
        }
    }
    let target: Target = lab.ask(Order::Probe).unwrap();
    let disk = &target.disks[0];
    assert_eq!(disk.plan_id, Some(plan.id()));
    assert_eq!(disk.in_use, None);
    assert!(
        disk.holds[0].contains(" ext4 200.0 MiB"),
        "{:?}",
        disk.holds
    );
    assert!(disk.holds[2].contains(" swap "), "{:?}", disk.holds);
    let status: Status = lab.ask(Order::Status).unwrap();
    assert_eq!(status.plan_id, Some(plan.id()));
    assert_eq!(status.phase, "prepared");
    assert_eq!(status.lines.len(), 5, "{:?}", status.lines);
}

#[test]
fn nothing_is_lost_without_consent() {
    p2v_testing::need_root!();
    let lab = Lab::new(&[1 << 30]);
    let first = usual(&lab);
    let mut second = first.clone();
    second.disks[0].volumes[1].identity.label = Some("other".to_owned());
    lab.ask::<Prepared>(lab.prepare(&first, false)).unwrap();
    std::fs::write(lab.volume(0, 1).join("kept"), "here").unwrap();
    let refused = lab.ask::<Prepared>(lab.prepare(&second, false));
    let text = refused.unwrap_err();
    assert!(text.contains("nobody has agreed"), "{text}");
    assert!(text.contains(" ext4 200.0 MiB"), "{text}");
    // And the first one is still there.
    let prepared: Prepared = lab.ask(lab.prepare(&first, false)).unwrap();
    assert!(prepared.resumed);
    assert!(lab.volume(0, 1).join("kept").exists());
    let prepared: Prepared = lab.ask(lab.prepare(&second, true)).unwrap();
    assert!(!prepared.resumed);
    assert!(!lab.volume(0, 1).join("kept").exists());
    let refused = lab.ask::<Prepared>(lab.prepare(&first, false));
    assert!(refused.unwrap_err().contains("nobody has agreed"));
}

#[test]
fn a_filesystem_on_the_whole_disk_needs_consent_too() {
    p2v_testing::need_root!();
    let lab = Lab::new(&[300 << 20]);
    let make = Cmd::new("mkfs.ext4", "making it").args(["-q", "-F", "-L", "precious"]);
    make.arg(lab.disk(0)).run().unwrap();
    let volume = p2v_transfer::plan::Volume {
        number: 0,
        ..ext4(ROOT, &["/"])
    };
    let mut plan = usual(&lab);
    plan.disks[0].size = 200 << 20;
    plan.disks[0].table = None;
    plan.disks[0].volumes = vec![volume];
    let text = lab.ask::<Prepared>(lab.prepare(&plan, false)).unwrap_err();
    assert!(text.contains("\"precious\""), "{text}");
    lab.ask::<Prepared>(lab.prepare(&plan, true)).unwrap();
    // It has no place for a stamp, so only RAM knows.
    let prepared: Prepared = lab.ask(lab.prepare(&plan, false)).unwrap();
    assert!(prepared.resumed);
    lab.power_off();
    let refused = lab.ask::<Prepared>(lab.prepare(&plan, false));
    assert!(refused.unwrap_err().contains("nobody has agreed"));
}

#[test]
fn data_that_nobody_knows_is_named_and_needs_consent() {
    p2v_testing::need_root!();
    let lab = Lab::new(&[1 << 30]);
    let plan = usual(&lab);
    let holds = || {
        let target: Target = lab.ask(Order::Probe).unwrap();
        target.disks[0].holds.clone()
    };
    assert_eq!(holds(), [""; 0]);
    let write = |at: u64| {
        use std::os::unix::fs::FileExt;
        let disk = std::fs::File::options().write(true).open(lab.disk(0));
        let disk = disk.unwrap();
        disk.write_all_at(b"somebody's", at).unwrap();
        disk.sync_all().unwrap();
    };
    write((1 << 30) - 100);
    let name = lab.disk(0).file_name().unwrap().to_owned();
    let expected = format!("{} unknown data 1.0 GiB", name.to_string_lossy());
    assert_eq!(holds(), [expected.as_str()]);
    let text = lab.ask::<Prepared>(lab.prepare(&plan, false)).unwrap_err();
    assert!(text.contains("nobody has agreed"), "{text}");
    assert!(text.contains("unknown data"), "{text}");
    // The same in a partition; the others are empty.
    let table = plan.disks[0].table.as_ref().unwrap();
    table.write(&lab.disk(0)).unwrap();
    write(table.partitions[1].extent(512).offset + 5000);
    let found = holds();
    assert!(found[0].contains("1 empty 200.0 MiB"), "{found:?}");
    assert!(found[1].contains("2 unknown data 304.0 MiB"), "{found:?}");
    lab.ask::<Prepared>(lab.prepare(&plan, true)).unwrap();
}

#[test]
fn a_volume_that_is_not_there_is_made_again_alone() {
    p2v_testing::need_root!();
    let lab = Lab::new(&[1 << 30]);
    let plan = usual(&lab);
    lab.ask::<Prepared>(lab.prepare(&plan, false)).unwrap();
    std::fs::write(lab.volume(0, 1).join("kept"), "here").unwrap();
    lab.power_off();
    lab.overwrite(&plan, 0, 1);
    let prepared: Prepared = lab.ask(lab.prepare(&plan, false)).unwrap();
    assert!(!prepared.resumed);
    assert!(lab.volume(0, 1).join("kept").exists());
    assert!(lab.volume(0, 2).read_dir().unwrap().next().is_none());
}

/// A disk that still has the plan's stamp is not thereby free to be erased.
#[test]
fn consent_is_to_what_was_shown() {
    p2v_testing::need_root!();
    let lab = Lab::new(&[1 << 30]);
    let plan = usual(&lab);
    lab.ask::<Prepared>(lab.prepare(&plan, false)).unwrap();
    lab.power_off();
    let shown = lab.losses();
    // Somebody makes something else of a partition, then of the whole table.
    let table = plan.disks[0].table.as_ref().unwrap();
    let extent = table.partitions[1].extent(512);
    let part = LoopDevice::attach(&lab.disk(0), extent, false).unwrap();
    let make = Cmd::new("mkfs.ext4", "making it").args(["-q", "-F"]);
    make.arg(part.path()).run().unwrap();
    part.close().unwrap();
    let refused = |erase: Vec<Loss>, said: &str| {
        let order = Order::Prepare {
            plan: Box::new(plan.clone()),
            erase,
            take_over: false,
        };
        let text = lab.ask::<Prepared>(order).unwrap_err();
        assert!(text.contains("nobody has agreed"), "{text}");
        assert!(text.contains(said), "{said}: {text}");
    };
    refused(Vec::new(), "2 ext4");
    refused(shown.clone(), "2 ext4");
    let mut other = table.clone();
    other.partitions.truncate(2);
    other.write(&lab.disk(0)).unwrap();
    let target: Target = lab.ask(Order::Probe).unwrap();
    assert_eq!(target.disks[0].plan_id, Some(plan.id()));
    refused(Vec::new(), " ext4 200.0 MiB");
    refused(shown, " ext4 200.0 MiB");
    lab.ask::<Prepared>(lab.prepare(&plan, true)).unwrap();
}

#[test]
fn what_is_killed_anywhere_goes_on() {
    p2v_testing::need_root!();
    let lab = Lab::new(&[1 << 30]);
    let mut finished = 0;
    // Each round another plan, on the disk that the round before has left.
    for round in 0..24_u64 {
        let mut plan = usual(&lab);
        plan.system.hostname = Some(format!("round{round}"));
        // The last one after its end, however busy the machine is.
        let after = match round {
            23 => Duration::from_secs(20),
            _ => Duration::from_millis(round * 25),
        };
        let killed = lab.killed(lab.prepare(&plan, true), after);
        if round % 2 == 1 {
            lab.power_off();
        }
        // What was killed early had not touched the disk: it needs consent.
        let again = lab.ask::<Prepared>(lab.prepare(&plan, false));
        match again {
            Ok(prepared) => finished += u32::from(prepared.resumed),
            Err(text) => {
                assert!(text.contains("nobody has agreed"), "round {round}: {text}");
                assert!(killed, "round {round} had ended");
                lab.ask::<Prepared>(lab.prepare(&plan, true)).unwrap();
            }
        }
        let prepared: Prepared = lab.ask(lab.prepare(&plan, false)).unwrap();
        assert!(prepared.resumed, "round {round}");
        for volume in [1, 2] {
            std::fs::write(lab.volume(0, volume).join("file"), "x").unwrap();
        }
    }
    assert!(finished > 0, "no round was killed after its end");
}
