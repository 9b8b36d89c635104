//! What every applet has: help, and messages as one asks for them, by
//! arguments and by the environment.

mod call;

use std::os::unix::process::CommandExt;
use std::process::Command;

use p2v::applets::APPLETS;

use call::p2v;

/// A call of each applet that fails at once, whoever makes it. `init` is the
/// kernel's, `ready` writes to consoles, and what is wrong is `doctor`'s answer.
const FAILING: &[&[&str]] = &[
    &["create"],
    &["import"],
    &["export"],
    &["rename"],
    &["verify", "parameters"],
    &["distribute"],
    &["initrd", "--kernel", "../1"],
    &["transfer", "--target", "@host"],
    &["image", "show", "nonexistent"],
    &["inspect", "/dev/null"],
    &["agent", "--data"],
    &["fixes", "--root", "/proc", "--dry-run"],
    &["fix", "repair-fstab"],
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The lines of a log in JSON; every one must be an object with these fields.
fn lines(log: &[u8]) -> Vec<serde_json::Value> {
    let line = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect(line);
        for field in ["time", "level", "applet", "message"] {
            assert!(value[field].is_string(), "{field}: {line}");
        }
        value
    };
    text(log).lines().map(line).collect()
}

/// A whole command, and clap's list of values, are in one line.
fn may_be_long(line: &str) -> bool {
    line.starts_with("      p2v ") || line.trim_start().starts_with("[possible values")
}

#[test]
fn every_applet_explains_itself_by_either_name() {
    for applet in APPLETS.iter().filter(|applet| applet.names[0] != "init") {
        for name in applet.names {
            let by_argument = p2v(&[name, "--help"], &[]);
            let by_name = Command::new(env!("CARGO_BIN_EXE_p2v"))
                .arg0(format!("/usr/share/ganeti/os/p2v-target/{name}"))
                .arg("--help")
                .output()
                .unwrap();
            for output in [by_argument, by_name] {
                assert!(output.status.success(), "{name}");
                let help = text(&output.stdout);
                for part in [
                    "Usage:",
                    "--quiet",
                    "--verbose",
                    "--log-format",
                    "Exit status:",
                ] {
                    assert!(help.contains(part), "{name}: {part}");
                }
                for line in help.lines().filter(|line| !may_be_long(line)) {
                    assert!(line.chars().count() <= 80, "{name}: {line}");
                }
            }
        }
    }
}

#[test]
fn every_failure_is_a_line_of_json_where_that_is_asked_for() {
    for call in FAILING {
        let plain = p2v(call, &[]);
        let words = text(&plain.stderr);
        assert_eq!(plain.status.code(), Some(1), "{call:?}: {words}");
        let last = words.rfind("p2v: error: ").expect(&words);
        let message = words[last + "p2v: error: ".len()..].trim_end();

        let asked = [call, &["--log-format", "json"][..]].concat();
        let environment = [("P2V_LOG_FORMAT", "json")];
        for output in [p2v(&asked, &[]), p2v(call, &environment)] {
            assert_eq!(output.status.code(), Some(1), "{call:?}");
            let lines = lines(&output.stderr);
            let line = lines.last().expect("an error");
            assert_eq!(line["level"], "error");
            assert_eq!(line["applet"], call[0]);
            assert_eq!(line["message"], message, "{call:?}");
        }
    }
    let mut called: Vec<&str> = FAILING.iter().map(|call| call[0]).collect();
    called.extend(["init", "ready", "doctor"]);
    for applet in APPLETS {
        assert!(
            called.contains(&applet.names[0]),
            "{} is not called",
            applet.names[0]
        );
    }
}

#[test]
fn wrong_arguments_have_a_status_of_their_own() {
    let calls: [&[&str]; 4] = [
        &["create", "surprise"],
        &["--quiet", "--verbose", "verify", "parameters"],
        &["transfer", "--target", "host", "--port", "ssh"],
        &[],
    ];
    for call in calls {
        let output = p2v(call, &[]);
        assert_eq!(output.status.code(), Some(64), "{call:?}");
        let said = text(&output.stderr);
        assert!(said.contains("Usage:") || said.contains("--help"), "{said}");
        assert!(output.stdout.is_empty());
        for asked in [
            [call, &["--log-format=json"][..]].concat(),
            [call, &["--log-format", "json"][..]].concat(),
        ] {
            let output = p2v(&asked, &[]);
            assert_eq!(lines(&output.stderr).len(), 1, "{asked:?}");
        }
    }
}

#[test]
fn more_and_less_is_said_as_asked() {
    let debugs = |arguments: &[&str], environment: &[(&str, &str)]| {
        let said = text(&p2v(arguments, environment).stderr);
        said.contains("p2v: debug: running gnt-node")
    };
    assert!(!debugs(&["distribute"], &[]));
    assert!(debugs(&["distribute", "--verbose"], &[]));
    assert!(debugs(&["-v", "distribute"], &[]));
    assert!(debugs(&["distribute"], &[("DEBUG_LEVEL", "1")]));
    assert!(!debugs(&["distribute"], &[("DEBUG_LEVEL", "0")]));
    assert!(debugs(&["distribute"], &[("P2V_LOG_LEVEL", "verbose")]));
    let both = [("DEBUG_LEVEL", "1"), ("P2V_LOG_LEVEL", "normal")];
    assert!(!debugs(&["distribute"], &both));
    assert!(!debugs(&["distribute", "--quiet"], &[("DEBUG_LEVEL", "1")]));
}

#[test]
fn a_variable_that_means_nothing_is_named_with_what_it_may_be() {
    for (name, known) in [
        ("P2V_LOG_FORMAT", "text, json"),
        ("P2V_LOG_LEVEL", "quiet, normal"),
    ] {
        let output = p2v(&["verify", "parameters"], &[(name, "loud")]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(name) && said.contains(known), "{said}");
    }
}
