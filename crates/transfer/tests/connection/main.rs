//! The connection to a real sshd: which host keys are taken, how each failure is
//! told, and how soon.

mod contents;
mod ending;
mod lost;
mod sshd;

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::Result;
use p2v_transfer::connection::{Address, Agent, Link, is_lost};
use p2v_transfer::protocol::{Order, Status};

use sshd::Sshd;

/// Answers every order like an agent.
const GOOD: &str = r#"echo "$SSH_ORIGINAL_COMMAND" >$HERE/command
while read -r order; do
    echo "$order" >$HERE/order
    echo '{"v":1,"say":{"note":"looking"}}'
    echo '{"v":1,"say":{"done":{"plan_id":null,"phase":"copying","lines":["a"]}}}'
done
touch $HERE/ended"#;

fn ask(agent: &mut Agent) -> Result<Status> {
    agent.ask(Order::Status, &mut |_| {})
}

fn refusal(address: &Address, confirmed: bool) -> (String, bool) {
    let error = Link::establish(address, &mut |_| Ok(confirmed)).unwrap_err();
    (format!("{error:#}"), is_lost(&error))
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_there() {
        assert!(Instant::now() < deadline, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn with_the_right_fingerprint_orders_are_answered() {
    p2v_testing::need_root!();
    let sshd = Sshd::start(GOOD);
    let mut runs = Vec::new();
    for kind in ["ed25519", "ecdsa"] {
        let mut address = sshd.address();
        // One that create printed for another instance does no harm.
        address.host_keys = vec![format!("SHA256:{}", "x".repeat(43)), sshd.fingerprint(kind)];
        let link = Link::establish(&address, &mut |_| panic!("asked")).unwrap();
        assert_eq!(link.fingerprints(), [sshd.fingerprint(kind)]);
        runs.push(link.run().to_owned());
        let mut agent = link.agent().unwrap();
        let mut notes = Vec::new();
        for _ in 0..3 {
            let status: Status = agent
                .ask(Order::Status, &mut |note| notes.push(note.to_owned()))
                .unwrap();
            assert_eq!((status.phase.as_str(), status.lines.len()), ("copying", 1));
        }
        assert_eq!(notes, ["looking"; 3]);
    }
    assert!(sshd.text("command").trim_end().ends_with(" p2v agent"));
    let order = format!("{{\"v\":1,\"run\":{:?},\"order\":\"status\"}}\n", runs[1]);
    assert_eq!(sshd.text("order"), order);
    assert_ne!(runs[0], runs[1]);
    // Dropping it ends the other side too.
    wait_for("the agent's end", || sshd.path("ended").exists());
}

#[test]
fn another_fingerprint_is_refused_before_any_login() {
    p2v_testing::need_root!();
    let sshd = Sshd::start(GOOD);
    let mut address = sshd.address();
    address.host_keys = vec![format!("SHA256:{}", "x".repeat(43))];
    let (text, lost) = refusal(&address, true);
    assert!(!lost);
    for words in [
        "WARNING",
        "Expected SHA256:xxx",
        &sshd.fingerprint("ed25519"),
    ] {
        assert!(text.contains(words), "{words} is missing in {text}");
    }
    assert!(!sshd.log().contains("Accepted"), "{}", sshd.log());
}

#[test]
fn a_person_decides_where_no_fingerprint_is_given() {
    p2v_testing::need_root!();
    let sshd = Sshd::start(GOOD);
    let mut shown = Vec::new();
    let link = Link::establish(&sshd.address(), &mut |keys| {
        shown = keys.to_vec();
        Ok(true)
    });
    let mut keys = [
        format!("{} (ED25519)", sshd.fingerprint("ed25519")),
        format!("{} (ECDSA)", sshd.fingerprint("ecdsa")),
    ];
    keys.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, keys);
    ask(&mut link.unwrap().agent().unwrap()).unwrap();

    let (text, lost) = refusal(&sshd.address(), false);
    assert!(text.contains("--host-key") && !lost, "{text}");
    let failed = Link::establish(&sshd.address(), &mut |_| anyhow::bail!("nobody there"));
    assert_eq!(format!("{:#}", failed.unwrap_err()), "nobody there");
}

#[test]
fn a_machine_that_takes_the_targets_place_is_noticed() {
    p2v_testing::need_root!();
    let mut sshd = Sshd::start(GOOD);
    let link = sshd.link();
    ask(&mut link.agent().unwrap()).unwrap();
    sshd.change_host_keys();
    let error = ask(&mut link.agent().unwrap()).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("WARNING") && !is_lost(&error), "{text}");
    assert!(!sshd.log().contains("Accepted"), "{}", sshd.log());
}

#[test]
fn a_closed_port_is_a_loss_and_says_what_to_look_at() {
    p2v_testing::need_root!();
    let mut sshd = Sshd::start(GOOD);
    let link = sshd.link();
    sshd.end();
    let (text, lost) = refusal(&sshd.address(), true);
    assert!(text.contains("\"ready\"") && lost, "{text}");
    let error = ask(&mut link.agent().unwrap()).unwrap_err();
    assert!(is_lost(&error), "{error:#}");
    // It comes back: the same link is good.
    sshd.run();
    ask(&mut link.agent().unwrap()).unwrap();
}

#[test]
fn a_key_that_is_not_let_in_is_no_loss() {
    p2v_testing::need_root!();
    let sshd = Sshd::start(GOOD);
    let mut address = sshd.address();
    address.identity = Some(sshd.path("stranger"));
    let link = Link::establish(&address, &mut |_| Ok(true)).unwrap();
    let error = ask(&mut link.agent().unwrap()).unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("authorized_keys") && !is_lost(&error),
        "{text}"
    );
}

#[test]
fn a_server_that_speaks_no_ssh_is_told_soon() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let garbage = [b"HTTP/1.0 400 \x1b[31mno\r\n".as_slice(), &[0xff; 5000]].concat();
            let _ = stream.write_all(&garbage);
        }
    });
    let address = Address {
        host: "127.0.0.1".to_owned(),
        port,
        user: "root".to_owned(),
        ..Address::default()
    };
    let start = Instant::now();
    let (text, _) = refusal(&address, true);
    assert!(start.elapsed() < Duration::from_secs(40));
    assert!(text.contains("is that an SSH server"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}
