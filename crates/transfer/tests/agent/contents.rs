//! Contents come over a connection of their own.

use p2v_transfer::protocol::{self, DataOrder, DataWork, Prepared};

use crate::lab::Lab;
use crate::plans::usual;

#[test]
fn contents_arrive_and_the_disk_remembers() {
    p2v_testing::need_root!();
    let lab = Lab::new(&[1 << 30]);
    let plan = usual(&lab);
    let source = tempfile::tempdir().unwrap();
    std::fs::create_dir(source.path().join("etc")).unwrap();
    std::fs::write(source.path().join("etc/fstab"), "text").unwrap();
    let order = |number: u32, plan_id: String| DataOrder {
        v: protocol::VERSION,
        run: lab.run.clone(),
        plan_id,
        volume: plan.disks[0].volumes[number as usize - 1].name(&plan.disks[0]),
        work: DataWork::Files,
    };
    let good = order(1, plan.id());
    let refused = |order: &DataOrder, said: &str| {
        let text = lab.send(order, source.path()).unwrap_err();
        assert!(text.contains(said), "{said}: {text}");
    };
    refused(&good, "not prepared for the plan");
    lab.ask::<Prepared>(lab.prepare(&plan, false)).unwrap();
    refused(&order(1, "0".repeat(32)), "not prepared for the plan");
    refused(&order(3, plan.id()), "fills it in another way");
    let mut stray = order(1, plan.id());
    stray.volume = "../../etc".to_owned();
    refused(&stray, "has no volume");
    let sent = lab.send(&good, source.path()).unwrap();
    assert_eq!(sent.bytes_sent, 4);
    let there = std::fs::read(lab.volume(0, 1).join("etc/fstab")).unwrap();
    assert_eq!(there, b"text");
    lab.power_off();
    // A machine that was restarted would take the files into its RAM.
    refused(&good, "not prepared");
    let prepared: Prepared = lab.ask(lab.prepare(&plan, false)).unwrap();
    assert!(prepared.resumed);
    assert_eq!(prepared.complete.concat(), good.volume);
    let sent = lab.send(&good, source.path()).unwrap();
    assert_eq!(sent.bytes_sent, 0);
    lose_power_before_the_contents_are_on_the_disk(&lab);
    lab.ask::<Prepared>(lab.prepare(&plan, false)).unwrap();
    assert_eq!(lab.send(&good, source.path()).unwrap().bytes_sent, 4);
    let there = std::fs::read(lab.volume(0, 1).join("etc/fstab")).unwrap();
    assert_eq!(there, b"text");
    // What is being filled again is not complete until it is.
    let full = source.path().join("large");
    std::fs::write(&full, vec![1; 220 << 20]).unwrap();
    refused(&good, "No space left");
    let prepared: Prepared = lab.ask(lab.prepare(&plan, false)).unwrap();
    assert!(prepared.resumed && prepared.complete.is_empty());
    std::fs::remove_file(full).unwrap();
    lab.send(&good, source.path()).unwrap();
    assert!(!lab.volume(0, 1).join("large").exists());
    // Nobody may take an empty directory for the volume.
    for point in lab.mounts() {
        p2v_sys::Mount::of_program(&point).close().unwrap();
    }
    refused(&good, "it is not mounted");
}

/// Of what was last written to a disk without power nobody knows whether it is on
/// it: right in size and time, but zeros.
fn lose_power_before_the_contents_are_on_the_disk(lab: &Lab) {
    let path = lab.volume(0, 1).join("etc/fstab");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, [0; 4]).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(time).unwrap();
    drop(file);
    lab.power_off();
}
