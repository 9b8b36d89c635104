//! What `create` says, called as Ganeti does, without arguments: the
//! environment chooses the form, and what hooks print has it too.

use p2v_tests::{GIB, Instance, Lab, Outcome, need_root};

/// Ends the create early, with words on both streams.
const HOOK: &str = "#!/bin/sh\necho 'said \"aloud\"'\nprintf 'no line end' >&2\nexit 3\n";

/// A create that this hook ends, with that variable.
fn refused(name: &str, variable: &str, value: &str) -> Outcome {
    let lab = Lab::new(name).unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    lab.hook("01-speak", HOOK).unwrap();
    let instance = Instance::new("web1.example.org", &disk).with(variable, value);
    let outcome = lab.create(&instance).unwrap();
    assert_eq!(outcome.status.code(), Some(1), "{}", outcome.log);
    lab.assert_nothing_left();
    outcome
}

#[test]
fn each_line_is_an_object_also_what_hooks_print() {
    need_root!();
    let outcome = refused("messages-json", "P2V_LOG_FORMAT", "json");
    let object = |line: &str| -> serde_json::Value { serde_json::from_str(line).expect(line) };
    let lines: Vec<_> = outcome.log.lines().map(object).collect();
    for line in &lines {
        assert_eq!(line["applet"], "create", "{line}");
        let time = line["time"].as_str().unwrap();
        assert!(time.len() == "2024-02-29T12:00:00.123Z".len() && time.ends_with('Z'));
    }
    let printed = lines.iter().filter(|line| line["output"] == true);
    let printed: Vec<_> = printed
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    assert!(
        printed.contains(&"said \"aloud\"") && printed.contains(&"no line end"),
        "{printed:?}"
    );
    let said = |level: &str, words: &str| {
        let has = |line: &&serde_json::Value| {
            line["level"] == level && line["message"].as_str().unwrap().contains(words)
        };
        lines.iter().any(|line| has(&line))
    };
    assert!(said("info", "running 01-speak"), "{}", outcome.log);
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "error");
    assert!(
        last["message"].as_str().unwrap().contains("01-speak"),
        "{last}"
    );
}

#[test]
fn only_the_error_is_said_where_quiet_is_asked_for() {
    need_root!();
    let outcome = refused("messages-quiet", "P2V_LOG_LEVEL", "quiet");
    assert!(outcome.log.starts_with("p2v: error: "), "{}", outcome.log);
    assert_eq!(outcome.log.matches("p2v: ").count(), 1, "{}", outcome.log);
}
