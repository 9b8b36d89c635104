//! The connection to a real sshd: which host keys are taken, how each failure is
//! told, and how soon.

mod sshd;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::Result;
use p2v_transfer::connection::{Address, Agent, Link, Policy, is_lost, retry};
use p2v_transfer::protocol::{DataOrder, DataWork, Order, Status, VERSION};

use sshd::{Sshd, skipped};

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

/// What asking an agent that is `script` ends with, whether that is a loss, and
/// how long it took.
fn failure(script: &str) -> (String, bool, Duration) {
    let sshd = Sshd::start(script);
    let mut agent = sshd.link().agent().unwrap();
    let start = Instant::now();
    let error = ask(&mut agent).unwrap_err();
    (format!("{error:#}"), is_lost(&error), start.elapsed())
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
    if skipped() {
        return;
    }
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
    if skipped() {
        return;
    }
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
    if skipped() {
        return;
    }
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
    if skipped() {
        return;
    }
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
    if skipped() {
        return;
    }
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
    if skipped() {
        return;
    }
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

#[test]
fn a_session_that_ends_midway_is_a_loss_at_once() {
    if skipped() {
        return;
    }
    // The forced command's parent is the session's sshd.
    let cuts = [
        "read order; echo '{\"v\":1,\"say\":{\"note\":\"a\"}}'; kill -9 $PPID; sleep 60",
        "read order; printf '{\"v\":1,\"say\":{\"no'; sleep 0.2; kill -9 $PPID; sleep 60",
        "kill -9 $PPID",
        "read order; kill -9 $$",
        "read order",
    ];
    for script in cuts {
        let (text, lost, time) = failure(script);
        assert!(lost, "{script}: {text}");
        assert!(time < Duration::from_secs(10), "{script}: {time:?}");
    }
}

#[test]
fn a_dead_link_is_noticed_within_seconds() {
    if skipped() {
        return;
    }
    // Nobody answers any more, and nobody says so.
    let (text, lost, time) = failure("read order; kill -STOP $PPID; sleep 40; kill -9 $PPID");
    assert!(lost, "{text}");
    assert!(time > Duration::from_secs(10), "{time:?}: {text}");
    assert!(time < Duration::from_secs(30), "{time:?}: {text}");
}

#[test]
fn an_agent_that_hangs_is_given_up() {
    if skipped() {
        return;
    }
    let sshd = Sshd::start("read order; sleep 60");
    let agent = sshd.link().agent().unwrap();
    let mut agent = agent.with_patience(Duration::from_secs(2));
    let start = Instant::now();
    let error = ask(&mut agent).unwrap_err();
    assert!(
        is_lost(&error) && start.elapsed() < Duration::from_secs(6),
        "{error:#}"
    );
    assert!(format!("{error:#}").contains("nothing came"), "{error:#}");
}

#[test]
fn what_is_no_agent_is_an_error_and_no_loss() {
    if skipped() {
        return;
    }
    let table = [
        (
            "read order; echo 'Welcome to web1!'; sleep 60",
            "Welcome to web1!",
        ),
        ("echo 'Welcome to web1!'; exit 1", "Welcome to web1!"),
        (
            "printf '\\033]0;owned\\007\\n'; sleep 60",
            "\\x1b]0;owned\\x07",
        ),
        (
            "head -c 10000000 /dev/zero | tr '\\0' x; echo; sleep 60",
            "xxxxxxxx",
        ),
        (
            "echo '{\"v\":2,\"say\":{\"note\":\"a\"}}'; sleep 60",
            "the same p2v on both",
        ),
        (
            "echo '{\"v\":1,\"say\":{\"do\":\"rm\"}}'; sleep 60",
            "receiving a message",
        ),
        (
            "echo '{\"v\":1,\"say\":{\"done\":7}}'; sleep 60",
            "understanding",
        ),
        ("exit 127", "no p2v"),
        (
            "printf 'p2v: error: no \\033[31mdisk\\n' >&2; exit 1",
            "no ?[31mdisk",
        ),
        (
            "head -c 10000000 /dev/urandom >&2; echo last words >&2; exit 3",
            "last words",
        ),
        (
            "echo '{\"v\":1,\"say\":{\"failed\":\"/dev/vda is\\u001b busy\"}}'; sleep 60",
            "/dev/vda is? busy",
        ),
    ];
    for (script, words) in table {
        let (text, lost, time) = failure(script);
        assert!(!lost && text.contains(words), "{script}: {text}");
        assert!(
            !text.contains('\x1b') && text.len() < 6000,
            "{script}: {text}"
        );
        assert!(time < Duration::from_secs(10), "{script}: {time:?}");
    }
}

#[test]
fn a_hostile_banner_changes_nothing() {
    if skipped() {
        return;
    }
    let banner = std::env::temp_dir().join(format!("p2v-test-banner-{}", std::process::id()));
    std::fs::write(
        &banner,
        "\x1b[2JPermission denied (publickey).\n{\"v\":1}\n",
    )
    .unwrap();
    let more = format!("Banner {}", banner.display());
    let sshd = Sshd::configured(GOOD, &more);
    ask(&mut sshd.link().agent().unwrap()).unwrap();
    let sshd = Sshd::configured("echo of my own >&2; exit 1", &more);
    let error = ask(&mut sshd.link().agent().unwrap()).unwrap_err();
    assert!(format!("{error:#}").ends_with("of my own"), "{error:#}");
    assert!(!format!("{error:#}").contains("denied"), "{error:#}");
    std::fs::remove_file(banner).unwrap();
}

fn data_order() -> DataOrder {
    DataOrder {
        v: VERSION,
        run: "r".to_owned(),
        plan_id: "p".to_owned(),
        volume: "vda1".to_owned(),
        work: DataWork::Files,
    }
}

#[test]
fn contents_go_both_ways() {
    if skipped() {
        return;
    }
    let sshd = Sshd::start(
        "echo $SSH_ORIGINAL_COMMAND >$HERE/command; read -r order; echo $order >$HERE/order; cat",
    );
    let mut data = sshd.link().data(&data_order()).unwrap();
    let sent: Vec<u8> = (0..32 << 20)
        .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut received = vec![0; sent.len()];
    std::thread::scope(|scope| {
        let (from, to) = (&mut data.from, &mut data.to);
        scope.spawn(|| {
            to.write_all(&sent).unwrap();
            to.flush().unwrap();
        });
        from.read_exact(&mut received).unwrap();
    });
    assert!(sent == received);
    data.close().unwrap();
    assert!(sshd.text("command").ends_with(" p2v agent --data\n"));
    assert!(sshd.text("order").contains("\"volume\":\"vda1\""));
}

#[test]
fn whose_fault_a_broken_copy_is() {
    if skipped() {
        return;
    }
    let copied = |script: &str, error: &str| {
        let sshd = Sshd::start(script);
        let data = sshd.link().data(&data_order()).unwrap();
        // Until the script has done what it does.
        std::thread::sleep(Duration::from_millis(700));
        let failed: Result<()> = Err(anyhow::anyhow!("{error}"));
        let error = data.settle(failed).unwrap_err();
        (format!("{error:#}"), is_lost(&error))
    };
    let (text, lost) = copied("read order; kill -9 $PPID", "the stream ended");
    assert!(lost, "{text}");
    let (text, lost) = copied("read order; cat", "reading /home/x: I/O error");
    assert_eq!((text.as_str(), lost), ("reading /home/x: I/O error", false));
    let full = "read order; echo p2v: error: the disk is full >&2; exit 1";
    let (text, lost) = copied(full, "the stream ended");
    assert!(text.contains("the disk is full") && !lost, "{text}");

    let sshd = Sshd::start("read order; echo p2v: error: the disk is full >&2; exit 1");
    let error = sshd
        .link()
        .data(&data_order())
        .unwrap()
        .close()
        .unwrap_err();
    assert!(
        format!("{error:#}").ends_with("the disk is full"),
        "{error:#}"
    );
}

#[test]
fn work_is_repeated_until_the_connection_lasts() {
    if skipped() {
        return;
    }
    let sshd = Sshd::start(
        "read order; echo >>$HERE/tries; [ $(wc -l <$HERE/tries) -gt 3 ] || kill -9 $PPID; echo good; cat >/dev/null",
    );
    let link = sshd.link();
    let policy = Policy {
        first: Duration::from_millis(20),
        longest: Duration::from_millis(100),
        give_up: Duration::from_secs(60),
    };
    let mut said = Vec::new();
    let text = retry(&policy, &mut |line| said.push(line.to_owned()), |pulse| {
        let mut data = link.data(&data_order())?;
        let mut text = [0; 5];
        let read = data.from.read_exact(&mut text);
        pulse.beat();
        data.settle(read.map(|()| text).map_err(Into::into))
    });
    assert_eq!(&text.unwrap(), b"good\n");
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said[0].starts_with("connection lost; trying again in 1 s: "),
        "{said:?}"
    );
}
