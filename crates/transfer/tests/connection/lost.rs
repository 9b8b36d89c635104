//! An agent that is cut off, hangs or is none: whether that is a loss, and how
//! soon it is told.

use std::time::{Duration, Instant};

use p2v_transfer::connection::is_lost;

use crate::sshd::Sshd;
use crate::{GOOD, ask};

/// What asking an agent that is `script` ends with, whether that is a loss, and
/// how long it took.
fn failure(script: &str) -> (String, bool, Duration) {
    let sshd = Sshd::start(script);
    let mut agent = sshd.link().agent().unwrap();
    let start = Instant::now();
    let error = ask(&mut agent).unwrap_err();
    (format!("{error:#}"), is_lost(&error), start.elapsed())
}

#[test]
fn a_session_that_ends_midway_is_a_loss_at_once() {
    p2v_testing::need_root!();
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
    p2v_testing::need_root!();
    // Nobody answers any more, and nobody says so.
    let (text, lost, time) = failure("read order; kill -STOP $PPID; sleep 40; kill -9 $PPID");
    assert!(lost, "{text}");
    assert!(time > Duration::from_secs(10), "{time:?}: {text}");
    assert!(time < Duration::from_secs(30), "{time:?}: {text}");
}

#[test]
fn an_agent_that_hangs_is_given_up() {
    p2v_testing::need_root!();
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
    p2v_testing::need_root!();
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
    p2v_testing::need_root!();
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
