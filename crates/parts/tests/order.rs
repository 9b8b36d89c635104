//! What runs, in which order, as what, and what is said when a part fails:
//! with real scripts, and against the real run-parts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use p2v_parts::{Parts, Reason};

const LONG: Duration = Duration::from_secs(60);

fn script(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn environment(pairs: &[(&str, &Path)]) -> BTreeMap<OsString, OsString> {
    pairs
        .iter()
        .map(|(name, value)| (name.into(), value.as_os_str().to_owned()))
        .collect()
}

fn error_of(parts: &Parts, timeout: Duration) -> String {
    let error = parts.run(&BTreeMap::new(), timeout).unwrap_err();
    format!("{error:#}")
}

/// Names and kinds of files that run-parts takes or leaves, in no good order.
fn odd_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let names = [
        "20-b",
        "10-a",
        "Z",
        "a",
        "_under",
        "-dash",
        "100",
        "B-2",
        "b_2",
        "9",
        "ä",
        "with space",
        "with.dot",
        "10-a.dpkg-old",
        "10-a~",
        "10-a.bak",
        ".hidden",
        "#10-a#",
        "x+y",
        "new\nline",
        "UPPER",
        "README.md",
        "lib.sh",
    ];
    for name in names {
        script(path, name, "true");
    }
    let bytes = OsString::from_vec(b"not-utf8-\xff".to_vec());
    fs::copy(path.join("a"), path.join(bytes)).unwrap();
    fs::write(path.join("30-no-run-bit"), "#!/bin/sh\n").unwrap();
    fs::write(path.join("31-group-only"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(
        path.join("31-group-only"),
        fs::Permissions::from_mode(0o610),
    )
    .unwrap();
    fs::create_dir(path.join("40-directory")).unwrap();
    symlink("10-a", path.join("50-link")).unwrap();
    symlink("/bin/true", path.join("51-link-out")).unwrap();
    symlink("40-directory", path.join("52-link-to-directory")).unwrap();
    symlink("with.dot", path.join("53-link-to-bad-name")).unwrap();
    symlink("30-no-run-bit", path.join("54-link-to-no-run-bit")).unwrap();
    nix::unistd::mkfifo(&path.join("60-fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("nowhere", path.join("70-broken")).unwrap();
    directory
}

#[test]
fn names_and_order_are_those_of_run_parts() {
    let directory = odd_directory();
    let parts = Parts::in_directory(directory.path()).unwrap();
    let real = Command::new("run-parts")
        .arg("--test")
        .arg(directory.path())
        .env("LC_ALL", "C")
        .output();
    let Ok(real) = real else {
        p2v_testing::skip("run-parts (debianutils) is not installed");
        return;
    };
    let listed: Vec<String> = String::from_utf8(real.stdout)
        .unwrap()
        .lines()
        .map(|line| line.rsplit_once('/').unwrap().1.to_owned())
        .collect();
    assert!(listed.len() >= 12, "{listed:?}");
    assert_eq!(parts.names(), listed);
}

#[test]
fn every_other_file_is_listed_with_its_reason() {
    let directory = odd_directory();
    let parts = Parts::in_directory(directory.path()).unwrap();
    let reason = |name: &str| {
        let skipped = parts.skipped().iter().find(|skipped| skipped.name == *name);
        skipped
            .unwrap_or_else(|| panic!("{name} is not listed"))
            .reason
    };
    assert_eq!(reason("10-a.dpkg-old"), Reason::Name);
    assert_eq!(reason("new\nline"), Reason::Name);
    assert_eq!(reason(".hidden"), Reason::Name);
    assert_eq!(reason("30-no-run-bit"), Reason::NotExecutable);
    assert_eq!(reason("54-link-to-no-run-bit"), Reason::NotExecutable);
    assert_eq!(reason("40-directory"), Reason::NotAFile);
    assert_eq!(reason("60-fifo"), Reason::NotAFile);
    assert_eq!(reason("70-broken"), Reason::BrokenLink);
    let files = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(parts.names().len() + parts.skipped().len(), files);
}

#[test]
fn parts_run_in_order_with_the_given_environment_only() {
    let directory = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    let log = r#"echo "${0##*/}" >> "$TARGET/log""#;
    script(directory.path(), "20-second", log);
    script(directory.path(), "10-first", log);
    script(directory.path(), "9-third", log);
    script(
        directory.path(),
        "99-last",
        "env | cut -d= -f1 | sort > \"$TARGET/env\"; umask > \"$TARGET/umask\"; cat > \"$TARGET/stdin\"",
    );
    let parts = Parts::in_directory(directory.path()).unwrap();
    parts
        .run(&environment(&[("TARGET", target.path())]), LONG)
        .unwrap();
    let read = |name: &str| fs::read_to_string(target.path().join(name)).unwrap();
    assert_eq!(read("log"), "10-first\n20-second\n9-third\n");
    assert_eq!(read("env"), "LC_ALL\nPATH\nPWD\nTARGET\n");
    assert_eq!(read("umask").trim(), "0022");
    assert_eq!(read("stdin"), "");
}

#[test]
fn a_failing_part_is_named_and_ends_the_run() {
    let directory = tempfile::tempdir().unwrap();
    script(directory.path(), "10-good", "echo fine");
    script(
        directory.path(),
        "20-bad",
        "echo progress; echo 'cannot do it' >&2; exit 7",
    );
    script(directory.path(), "30-never", "touch \"${0%/*}/ran\"");
    let parts = Parts::in_directory(directory.path()).unwrap();
    let text = error_of(&parts, LONG);
    assert!(text.starts_with("running 20-bad: "), "{text}");
    assert!(text.contains("ended with exit status 7: "), "{text}");
    assert!(text.ends_with("cannot do it"), "{text}");
    assert!(!directory.path().join("ran").exists());
}

#[test]
fn a_part_ended_by_a_signal_is_named() {
    let directory = tempfile::tempdir().unwrap();
    script(directory.path(), "10-suicide", "kill -9 $$");
    let parts = Parts::in_directory(directory.path()).unwrap();
    let text = error_of(&parts, LONG);
    assert!(text.contains("running 10-suicide: "), "{text}");
    assert!(text.contains("signal 9"), "{text}");
}

#[test]
fn a_hanging_part_is_killed_with_its_children_and_named() {
    let directory = tempfile::tempdir().unwrap();
    // Deaf to SIGTERM, and with a child that is too.
    script(
        directory.path(),
        "10-hang",
        "trap '' TERM; sleep 300 & echo $! > \"${0%/*}/child\"; wait; sleep 300",
    );
    let parts = Parts::in_directory(directory.path()).unwrap();
    let start = Instant::now();
    let text = error_of(&parts, Duration::from_secs(1));
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(text.starts_with("running 10-hang: "), "{text}");
    assert!(text.contains("did not end within 1 s"), "{text}");
    let child = fs::read_to_string(directory.path().join("child")).unwrap();
    // Gone, or a zombie that the machine's init has yet to reap; being killed
    // takes a moment.
    let lives = || {
        let status = fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        status.is_ok_and(|status| !status.contains(") Z "))
    };
    while lives() {
        assert!(start.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_script_without_an_interpreter_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    script(directory.path(), "10-plain", "");
    fs::write(directory.path().join("10-plain"), "true\n").unwrap();
    let parts = Parts::in_directory(directory.path()).unwrap();
    assert!(error_of(&parts, LONG).contains("10-plain is neither a program nor a script"));
    fs::write(directory.path().join("10-plain"), "#!/no/such/sh\n").unwrap();
    let text = error_of(&parts, LONG);
    assert!(text.contains("interpreter in its #! line"), "{text}");
}

#[test]
fn a_missing_directory_is_named() {
    let error = Parts::in_directory(Path::new("/no/such/hooks.d")).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("/no/such/hooks.d"), "{text}");
}

#[test]
fn an_empty_directory_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let parts = Parts::in_directory(directory.path()).unwrap();
    assert!(parts.names().is_empty());
    parts.run(&BTreeMap::new(), LONG).unwrap();
}
