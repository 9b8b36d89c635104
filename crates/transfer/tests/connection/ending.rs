//! The last order's answer is lost, as a target that restarts loses it.

use std::time::{Duration, Instant};

use p2v_transfer::connection::{Link, Policy};
use p2v_transfer::protocol::{Order, Status};
use p2v_transfer::run::{Ending, Session, finish};

use crate::sshd::Sshd;

const SOON: Policy = Policy {
    first: Duration::from_millis(50),
    longest: Duration::from_millis(200),
    give_up: Duration::from_secs(3),
};

/// A session that has worked, with what answers any one order.
const FIRST: &str = r#"read -r order; echo '{"v":1,"say":{"done":{"plan_id":null,"phase":"fixed","lines":[]}}}'; [ -e $HERE/told ] || "#;

/// Takes the next order, and loses its session.
const CUT: &str = "{ read -r order; touch $HERE/told; kill -9 $PPID; sleep 60; }";

fn session(link: &Link) -> Session<'_> {
    let mut session = Session::new(link);
    let status: Status = session.ask_once(&Order::Status, &|_| ()).unwrap();
    assert_eq!(status.phase, "fixed");
    session
}

fn ending(session: &mut Session, own: &[String]) -> anyhow::Result<Ending> {
    finish(session, &Order::Status, &SOON, &|| own.to_vec(), &|_| ())
}

fn unknown(ending: anyhow::Result<Ending>) -> String {
    match ending.unwrap() {
        Ending::Unknown(why) => why,
        known => panic!("{known:?}"),
    }
}

#[test]
fn a_target_that_is_still_there_is_told_again() {
    p2v_testing::need_root!();
    let sshd = Sshd::start(&format!("{FIRST}{CUT}"));
    let link = sshd.link();
    let found = ending(&mut session(&link), &[]).unwrap();
    assert_eq!(found, Ending::Told);
    assert!(sshd.path("told").exists());
}

#[test]
fn what_it_says_then_counts() {
    p2v_testing::need_root!();
    let script = format!(
        "[ ! -e $HERE/told ] || {{ read -r order; echo '{{\"v\":1,\"say\":{{\"failed\":\"/home is busy\"}}}}'; exit; }}; {FIRST}{CUT}"
    );
    let sshd = Sshd::start(&script);
    let link = sshd.link();
    let error = ending(&mut session(&link), &[]).unwrap_err();
    assert!(format!("{error:#}").ends_with("/home is busy"), "{error:#}");
}

#[test]
fn the_moved_machine_is_known_by_its_own_keys_and_nobody_else_is() {
    p2v_testing::need_root!();
    for is_own in [true, false] {
        let mut sshd = Sshd::start(&format!("{FIRST}{CUT}"));
        let link = sshd.link();
        let mut session = session(&link);
        let old = sshd.fingerprint("ed25519");
        // The session that there is outlives its server.
        sshd.change_host_keys();
        let new = sshd.fingerprint("ed25519");
        let own = if is_own { &new } else { &old };
        let found = ending(&mut session, std::slice::from_ref(own));
        assert!(sshd.path("told").exists());
        if is_own {
            assert_eq!(found.unwrap(), Ending::Started);
        } else {
            let why = unknown(found);
            assert!(why.contains(&new), "{why}");
        }
    }
}

#[test]
fn silence_is_said_to_tell_nothing() {
    p2v_testing::need_root!();
    let mut sshd = Sshd::start(&format!("{FIRST}{CUT}"));
    let link = sshd.link();
    let mut session = session(&link);
    sshd.end();
    let begun = Instant::now();
    let why = unknown(ending(&mut session, &[]));
    assert!(why.contains("does not answer"), "{why}");
    assert!(begun.elapsed() > Duration::from_secs(2));
}
