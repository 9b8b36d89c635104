//! Commands that end well, badly, late or not at all.

use super::*;

#[test]
fn output_is_read_and_trimmed() {
    let text = Cmd::new("echo", "echoing").arg("a b").read().unwrap();
    assert_eq!(text, "a b");
}

#[test]
fn failure_names_the_work_the_status_and_the_last_words() {
    let error = Cmd::new("ls", "listing the void")
        .arg("/no/such/place")
        .run()
        .unwrap_err();
    let text = format!("{error:#}");
    assert!(text.starts_with("listing the void: `ls` ended with exit status 2: "));
    assert!(text.contains("No such file"), "{text}");
}

#[test]
fn a_missing_program_says_what_to_install() {
    let error = Cmd::new("no-such-program", "trying").run().unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "trying: no-such-program is not found; install it"
    );
    assert!(not_found("sfdisk").ends_with("; install fdisk"));
}

#[test]
fn passwords_and_keys_of_urls_are_not_shown() {
    let command = Cmd::new("sh", "trying").args(["-c", "echo $* >&2; exit 1", "sh"]);
    let command = command.arg("http://user:hunter2@mirror.example/");
    let command = command.arg("rbd:pool/image:key=hunter2");
    for shown in [
        command.to_string(),
        format!("{:#}", command.run().unwrap_err()),
    ] {
        assert!(shown.contains("***@mirror.example"), "{shown}");
        assert!(shown.contains("image:key=***"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn deadline_kills_the_whole_group() {
    let start = Instant::now();
    let error = Cmd::new("sh", "sleeping")
        .args(["-c", "sleep 60 & sleep 60"])
        .timeout(Duration::from_millis(200))
        .run()
        .unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(format!("{error:#}").contains("did not end within"));
}

#[test]
fn the_environment_is_the_given_one() {
    let text = Cmd::new("/usr/bin/env", "listing")
        .env("A", "1")
        .env("LC_ALL", "de_DE")
        .clear_env()
        .env("B", "2 3")
        .read()
        .unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=1", "B=2 3", "LC_ALL=C"]);
    let text = Cmd::new("/usr/bin/env", "listing").env("A", "1").read();
    let text = text.unwrap();
    assert!(text.contains("A=1\n") || text.ends_with("A=1"), "{text}");
    assert!(
        text.contains("PATH=") && text.contains("LC_ALL=C"),
        "{text}"
    );
}

#[test]
fn shown_output_is_in_the_error_too() {
    let error = Cmd::new("sh", "talking")
        .args(["-c", "echo first; echo last words >&2; exit 3"])
        .run_shown()
        .unwrap_err();
    let text = format!("{error:#}");
    assert_eq!(
        text,
        "talking: `sh` ended with exit status 3: first\nlast words"
    );
}

#[test]
fn a_daemon_left_behind_does_not_hold_up_shown_output() {
    let start = Instant::now();
    let command = Cmd::new("sh", "leaving a daemon").args(["-c", "sleep 8 &"]);
    command.run_shown().unwrap();
    assert!(start.elapsed() < Duration::from_secs(7));
}

#[test]
fn standard_input_is_given() {
    let text = Cmd::new("cat", "copying").stdin("hello").read().unwrap();
    assert_eq!(text, "hello");
}
