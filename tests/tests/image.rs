//! `p2v image` beside real creates, on real cached roots.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use p2v_testing::flip_a_bit;
use p2v_tests::{GIB, Instance, Lab, need_root};
use serde_json::Value;

/// Longer than a bootstrap through a slow mirror on a busy machine.
const LONGEST: Duration = Duration::from_secs(900);

fn command(lab: &Lab, args: &[&str]) -> Command {
    let mut command = Command::new(lab.binary());
    command.arg("image").args(args).envs(lab.directories());
    command.stdin(Stdio::null());
    command
}

fn image(lab: &Lab, args: &[&str]) -> Output {
    command(lab, args).output().unwrap()
}

/// What it prints, if it succeeds.
#[track_caller]
fn said(lab: &Lab, args: &[&str]) -> String {
    let output = image(lab, args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn listed(lab: &Lab) -> Value {
    serde_json::from_str(&said(lab, &["list", "--json"])).unwrap()
}

/// A lab whose own cache has the root that the variants need, and its key.
fn with_image(test: &str) -> (Lab, String) {
    let shared = Lab::new(test).unwrap();
    // Takes minutes where the tests' cache is empty.
    said(&shared, &["build"]);
    let lab = Lab::with_own_cache(test).unwrap();
    std::fs::set_permissions(lab.cache_dir(), PermissionsExt::from_mode(0o700)).unwrap();
    let shown: Value =
        serde_json::from_str(&said(&shared, &["show", "default", "--json"])).unwrap();
    let key = shown["key"].as_str().unwrap().to_owned();
    for end in ["tar.zst", "json"] {
        let name = format!("{key}.{end}");
        std::fs::copy(shared.cache_dir().join(&name), lab.cache_dir().join(&name)).unwrap();
    }
    (lab, key)
}

fn names(lab: &Lab) -> Vec<String> {
    let entries = std::fs::read_dir(lab.cache_dir()).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect()
}

fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !there() {
        assert!(start.elapsed() < LONGEST, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn create_takes_what_was_built_before() {
    need_root!();
    let (lab, key) = with_image("image-build");
    let text = said(&lab, &["build", "default", "gpt"]);
    assert!(text.starts_with(&format!("was there: {key}, ")), "{text}");
    assert_eq!(
        text.lines().count(),
        1,
        "both variants have one root: {text}"
    );
    let disk = lab.disk("disk.img", GIB).unwrap();
    let outcome = lab
        .create(&Instance::new("built.example.org", &disk))
        .unwrap();
    outcome.assert_success();
    for words in [
        "building the bootstrap",
        "built the bootstrap",
        "installing bookworm",
    ] {
        assert!(!outcome.log.contains(words), "{}", outcome.log);
    }
    let roots = names(&lab)
        .into_iter()
        .filter(|name| name.ends_with(".tar.zst"));
    assert_eq!(roots.collect::<Vec<_>>(), [format!("{key}.tar.zst")]);
    let listing = listed(&lab);
    assert_eq!(listing["images"][0]["key"], key.as_str());
    assert_eq!(
        listing["images"][0]["variants"],
        serde_json::json!(["default", "gpt"])
    );
    assert!(listing["initrds"]["count"].as_u64() > Some(0), "{listing}");
    lab.assert_nothing_left();
}

#[test]
fn an_image_that_a_create_reads_is_not_removed() {
    need_root!();
    let (lab, key) = with_image("image-in-use");
    let (waits, go) = (lab.dir().join("waits"), lab.dir().join("go"));
    let script = format!(
        "#!/bin/sh\n: >'{}'\nwhile [ ! -e '{}' ]; do sleep 0.1; done\n",
        waits.display(),
        go.display()
    );
    lab.hook("15-wait", &script).unwrap();
    let disk = lab.disk("disk.img", GIB).unwrap();
    let running = lab
        .start_create(&Instance::new("reads.example.org", &disk))
        .unwrap();
    wait_until("the hook", || waits.exists());
    assert_eq!(listed(&lab)["images"][0]["in_use"], true);
    assert!(said(&lab, &["list"]).contains("(in use)"));
    for args in [
        &["prune", "--keep", "0"][..],
        &["prune", "--keep", "0", "--dry-run"],
    ] {
        let text = said(&lab, args);
        assert!(
            text.starts_with(&format!("in use, stays: {key}, ")),
            "{text}"
        );
    }
    std::fs::write(&go, "").unwrap();
    running.finish(LONGEST).unwrap().assert_success();
    let dry = said(&lab, &["prune", "--keep", "0", "--dry-run"]);
    assert!(dry.contains(&format!("would be removed: {key}, ")), "{dry}");
    assert_eq!(said(&lab, &["prune", "--unused"]), "nothing to remove\n");
    let text = said(&lab, &["prune", "--keep", "0"]);
    assert!(text.contains(&format!("removed: {key}, ")), "{text}");
    assert!(!names(&lab).iter().any(|name| name.ends_with(".tar.zst")));
    lab.assert_nothing_left();
}

/// With the bootstrap tool at work, in a build that goes over an image that is
/// there, and in one for an OS parameter.
#[test]
fn a_killed_build_leaves_what_the_next_run_sweeps() {
    need_root!();
    let (lab, key) = with_image("image-killed");
    let builds = [
        (
            &["build", "--rebuild", "default"][..],
            ".building-bookworm-",
        ),
        (
            &["build", "default", "-O", "suite=trixie"],
            ".building-trixie-",
        ),
    ];
    for (args, prefix) in builds {
        let mut child = command(&lab, args).stderr(Stdio::null()).spawn().unwrap();
        let begun = || {
            let names = names(&lab);
            let scratch = names.iter().find(|name| name.starts_with(prefix));
            scratch.is_some_and(|name| lab.cache_dir().join(name).join("root").exists())
        };
        wait_until("the build", || {
            begun() || child.try_wait().unwrap().is_some()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(listed(&lab)["images"].as_array().unwrap().len(), 1);
    }
    let text = said(&lab, &["verify"]);
    assert_eq!(text, format!("whole: {key}\n"));
    // What the killed one's tools held goes a moment later.
    wait_until("the sweep", || {
        said(&lab, &["prune", "--damaged"]);
        !names(&lab)
            .iter()
            .any(|name| name.starts_with(".building-"))
    });
    assert_eq!(
        said(&lab, &["verify", "default"]),
        format!("whole: {key}\n")
    );
    lab.assert_nothing_left();
}

#[test]
fn damage_is_told_with_what_to_do() {
    need_root!();
    let (lab, key) = with_image("image-damaged");
    let archive: PathBuf = lab.cache_dir().join(format!("{key}.tar.zst"));
    flip_a_bit(&archive);
    let verify = || {
        let output = image(&lab, &["verify"]);
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (status, text) = verify();
    assert_eq!(status, Some(1), "{text}");
    assert!(text.starts_with(&format!("damaged: {key}: ")), "{text}");
    assert!(
        text.contains("its checksum is wrong\n  -> p2v image build default\n"),
        "{text}"
    );
    // An image that no variant needs is only in the way.
    lab.configure("EXTRA_PKGS+=,tmux").unwrap();
    let (_, text) = verify();
    assert!(text.contains("-> p2v image prune --damaged\n"), "{text}");
    let text = said(&lab, &["prune", "--unused", "--dry-run"]);
    assert!(text.contains("no variant uses it"), "{text}");
    assert!(said(&lab, &["prune", "--damaged"]).starts_with("removed: "));
    assert_eq!(verify(), (Some(0), String::new()));
    for (args, words) in [
        (&["show", "default"][..], "p2v image build default"),
        (&["show", "nothing"], "p2v image list"),
        (&["build", "nothing"], "there is no such variant"),
        (&["build", "-O", "suite=No"], "suite=`No`"),
        (&["build", "-O", "suite"], "NAME=VALUE"),
    ] {
        let output = image(&lab, args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(words), "{error}");
    }
    // What cannot be told unused is not removed; and nobody takes an image of
    // settings that cannot be used for nobody's, or for none.
    lab.configure("FILESYSTEM=zfs").unwrap();
    let listed = image(&lab, &["list"]);
    let warned = String::from_utf8(listed.stderr).unwrap();
    assert_eq!(warned.matches("FILESYSTEM=`zfs`").count(), 1, "{warned}");
    let shown = image(&lab, &["show", "default"]);
    let error = String::from_utf8(shown.stderr).unwrap();
    assert!(error.contains("FILESYSTEM=`zfs`"), "{error}");
    let output = image(&lab, &["prune", "--unused"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(image(&lab, &["prune"]).status.code(), Some(64));
    lab.assert_nothing_left();
}
