//! Transfers that meet on one target: one that comes again after a broken
//! connection, and another one.

use std::time::{Duration, Instant};

use p2v_transfer::protocol::{self, DataOrder, DataWork, Fixed, Order, Prepared, Status};
use p2v_transfer::target::Target;

use crate::lab::Lab;
use crate::plans::small;

#[test]
fn a_second_transfer_ends_the_first_only_with_consent_to_that() {
    p2v_testing::need_root!();
    let mut lab = Lab::new(&[300 << 20]);
    let plan = small(&lab);
    let mut first = lab.agent();
    first.tell(&lab.prepare(&plan, true));
    first.answer::<Prepared>().unwrap();
    lab.run = "second".to_owned();
    // That of the same machine's clone, of another machine, all agreed to.
    let mut other = plan.clone();
    other.system.hostname = Some("other".to_owned());
    for (plan, erase) in [
        (&plan, false),
        (&plan, true),
        (&other, false),
        (&other, true),
    ] {
        let text = lab.ask::<Prepared>(lab.prepare(plan, erase)).unwrap_err();
        assert!(text.contains("another transfer is at work"), "{text}");
        assert!(text.contains("from 192.0.2.7 since 20"), "{text}");
        assert!(text.contains("--take-over"), "{text}");
    }
    let fix = Order::Fix {
        plan: Box::new(plan.clone()),
    };
    let text = lab.ask::<Fixed>(fix).unwrap_err();
    assert!(text.contains("another transfer is at work"), "{text}");
    assert!(first.is_running());
    // It is told before anybody is asked anything.
    let target: Target = lab.ask(Order::Probe).unwrap();
    let at_work = target.at_work.unwrap();
    assert_eq!((at_work.run.as_str(), at_work.plan_id), ("run", plan.id()));
    let status: Status = lab.ask(Order::Status).unwrap();
    assert!(status.lines.concat().contains("192.0.2.7"), "{status:?}");
    let mut taking = lab.prepare(&other, true);
    if let Order::Prepare { take_over, .. } = &mut taking {
        *take_over = true;
    }
    lab.ask::<Prepared>(taking).unwrap();
    assert!(!first.is_running());
    // And now the first one has lost it.
    let mut second = lab.agent();
    second.tell(&lab.prepare(&other, false));
    assert!(second.answer::<Prepared>().unwrap().resumed);
    lab.run = "run".to_owned();
    let text = lab.ask::<Prepared>(lab.prepare(&plan, false)).unwrap_err();
    assert!(text.contains("another transfer is at work"), "{text}");
}

#[test]
fn one_that_comes_again_ends_its_own_agents() {
    p2v_testing::need_root!();
    let mut lab = Lab::new(&[300 << 20]);
    let plan = small(&lab);
    let mut hanging = lab.agent();
    hanging.tell(&lab.prepare(&plan, true));
    hanging.answer::<Prepared>().unwrap();
    let order = DataOrder {
        v: protocol::VERSION,
        run: lab.run.clone(),
        plan_id: plan.id(),
        volume: plan.disks[0].volumes[0].name(&plan.disks[0]),
        work: DataWork::Files,
    };
    let mut filling = lab.data();
    filling.line(&serde_json::to_string(&order).unwrap());
    wait_for("the claim to fill", || {
        let agents = lab.dir().join("run/agents");
        std::fs::read_dir(agents).unwrap().count() == 2
    });
    let prepared: Prepared = lab.ask(lab.prepare(&plan, false)).unwrap();
    assert!(prepared.resumed);
    assert!(!hanging.is_running() && !filling.is_running());
    // An order of nobody's could be anybody's.
    lab.run = String::new();
    let text = lab.ask::<Prepared>(lab.prepare(&plan, false)).unwrap_err();
    assert!(text.contains("which run"), "{text}");
}

/// Clones of one image have the same plan to the last letter.
#[test]
fn what_a_clones_transfer_has_begun_is_not_gone_on_with() {
    p2v_testing::need_root!();
    let lab = Lab::new(&[300 << 20]);
    let of = |hardware: Option<&str>| {
        let mut plan = small(&lab);
        plan.disks[0].hardware = hardware.map(str::to_owned);
        plan
    };
    assert_eq!(of(Some("one")).id(), of(Some("other")).id());
    let prepare = |hardware, erase| {
        let order = lab.prepare(&of(hardware), erase);
        lab.ask::<Prepared>(order)
    };
    // Begun from an image, which is anybody's; then from the machine.
    prepare(None, false).unwrap();
    assert!(prepare(Some("one"), false).unwrap().resumed);
    assert!(prepare(None, false).unwrap().resumed);
    lab.power_off();
    let target: Target = lab.ask(Order::Probe).unwrap();
    assert_eq!(target.disks[0].begun_from.as_deref(), Some("one"));
    let text = prepare(Some("other"), false).unwrap_err();
    assert!(text.contains("nobody has agreed"), "{text}");
    assert!(prepare(Some("one"), false).unwrap().resumed);
    assert!(!prepare(Some("other"), true).unwrap().resumed);
    prepare(Some("one"), false).unwrap_err();
}

/// Its source was killed: the next run need not be told to take over.
#[test]
fn one_whose_source_is_gone_is_in_nobodys_way() {
    p2v_testing::need_root!();
    let mut lab = Lab::new(&[300 << 20]);
    let plan = small(&lab);
    let mut agent = lab.agent();
    agent.tell(&lab.prepare(&plan, true));
    agent.answer::<Prepared>().unwrap();
    // Amid an order, which takes long: it waits for another process.
    let lock = p2v_sys::lock::FileLock::wait(&lab.dir().join("run/agents.lock"), "").unwrap();
    agent.tell(&lab.prepare(&plan, false));
    let mut process = agent.hang_up();
    wait_for("the agent's end", || process.try_wait().unwrap().is_some());
    drop(lock);
    lab.run = "second".to_owned();
    let prepared: Prepared = lab.ask(lab.prepare(&plan, false)).unwrap();
    assert!(prepared.resumed);
}

/// As by the kernel when memory is short; what it had started holds the disk.
#[test]
fn what_a_killed_agent_had_started_ends_with_it() {
    p2v_testing::need_root!();
    let mut lab = Lab::new(&[300 << 20]);
    let plan = small(&lab);
    // Takes its device, and longer than anybody waits.
    let tools = lab.dir().join("tools");
    let begun = lab.dir().join("begun");
    std::fs::create_dir(&tools).unwrap();
    let script = format!(
        "#!/bin/sh\n[ \"$1\" != -V ] || PATH=${{PATH#*:}} exec mke2fs -V\n\
         for last; do :; done\nexec 9<>\"$last\"\ntouch {}\nexec sleep 600\n",
        begun.display()
    );
    std::fs::write(tools.join("mke2fs"), script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(tools.join("mke2fs"), mode).unwrap();
    lab.tools = Some(tools);
    let mut agent = lab.agent();
    agent.tell(&lab.prepare(&plan, true));
    wait_for("the program", || begun.exists());
    agent.kill();
    lab.tools = None;
    let prepared: Prepared = lab.ask(lab.prepare(&plan, false)).unwrap();
    assert!(!prepared.resumed);
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_there() {
        assert!(Instant::now() < deadline, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
