//! The scripts as files: names, run bits, headers, syntax; and the five that
//! are on by default, run together by the runner.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use p2v_parts::{Parts, Reason};

use crate::root::{TestRoot, hooks_directory};

const ON: [&str; 5] = [
    "10-clear-root-password",
    "20-write-interfaces",
    "30-prepare-ramboot",
    "40-enable-console",
    "50-install-fixes",
];
const OFF: [&str; 4] = [
    "60-write-hosts",
    "70-add-ssh-keys",
    "80-set-timezone",
    "90-set-defaultpasswords",
];

#[test]
fn the_first_five_are_on_and_the_others_lack_their_run_bit_only() {
    let parts = Parts::in_directory(&hooks_directory()).unwrap();
    assert_eq!(parts.names(), ON);
    let off: Vec<_> = parts
        .skipped()
        .iter()
        .filter(|it| it.reason == Reason::NotExecutable)
        .map(|it| it.name.to_str().unwrap())
        .collect();
    assert_eq!(off, OFF);
}

#[test]
fn every_hook_says_its_purpose_inputs_and_order() {
    for hook in ON.iter().chain(&OFF) {
        let text = fs::read_to_string(hooks_directory().join(hook)).unwrap();
        assert!(text.starts_with("#!/bin/sh\n#\n# Purpose: "), "{hook}");
        for part in ["\n# Inputs: ", "\n# Order: ", "\nset -eu\n"] {
            assert!(text.contains(part), "{hook} lacks {part:?}");
        }
    }
}

#[test]
fn shellcheck_and_dash_find_nothing() {
    let mut files: Vec<_> = ON.iter().chain(&OFF).collect();
    files.push(&"contained.sh");
    for program in [&["shellcheck", "-x"][..], &["dash", "-n"]] {
        for file in &files {
            let output = Command::new(program[0])
                .args(&program[1..])
                .arg(file)
                .current_dir(hooks_directory())
                .output();
            let Ok(output) = output else {
                p2v_testing::skip(&format!("{} is not installed", program[0]));
                break;
            };
            let said = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{file}: {said}{errors}");
        }
    }
}

/// A root with everything, and the environment of a KVM instance.
fn complete() -> TestRoot {
    let mut root = TestRoot::with_systemd();
    let fixes = root.outer.path().join("fixes");
    fs::create_dir(&fixes).unwrap();
    fs::write(fixes.join("10-fix"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(fixes.join("10-fix"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(fixes.join("README.md"), "read me\n").unwrap();
    root.set("P2V_FIXES_DIR", fixes);
    root.set("P2V_BINARY", "/bin/true");
    root.set_all(&[
        ("HYPERVISOR", "kvm"),
        ("NIC_COUNT", "1"),
        ("NIC_0_MAC", "aa:00:00:12:34:56"),
    ]);
    root
}

#[test]
fn the_default_hooks_run_together_and_again_to_the_same_end() {
    let root = complete();
    let parts = Parts::in_directory(&hooks_directory()).unwrap();
    parts.run(&root.env, Duration::from_secs(60)).unwrap();
    root.assert_contained();
    let first = root.snapshot();
    parts.run(&root.env, Duration::from_secs(60)).unwrap();
    assert_eq!(root.snapshot(), first);
}

#[test]
fn final_links_are_replaced_and_not_followed() {
    let files = [
        "etc/shadow",
        "etc/fstab",
        "etc/network/interfaces",
        "etc/systemd/network/10-p2v.link",
        "etc/systemd/system/serial-getty@ttyS0.service.d/10-p2v.conf",
        "etc/systemd/system/p2v-ready.service",
        "usr/sbin/p2v",
        "usr/share/p2v-target/fixes.d/10-fix",
    ];
    let root = complete();
    for file in files {
        let path = root.path(file);
        let victim = root.outer.path().join(file.replace('/', "-"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // The password's file must be read first, so it may only lead inside.
        if file == "etc/shadow" {
            fs::rename(&path, root.path("etc/shadow-real")).unwrap();
            std::os::unix::fs::symlink("shadow-real", &path).unwrap();
        } else {
            let _ = fs::remove_file(&path);
            fs::write(&victim, "precious").unwrap();
            std::os::unix::fs::symlink(&victim, &path).unwrap();
        }
    }
    for hook in ON {
        root.run_well(hook);
    }
    for file in &files[1..] {
        let victim = root.outer.path().join(file.replace('/', "-"));
        assert_eq!(fs::read_to_string(victim).unwrap(), "precious", "{file}");
        let metadata = fs::symlink_metadata(root.path(file)).unwrap();
        assert!(metadata.is_file(), "{file}");
    }
    root.assert_contained();
}

#[test]
fn a_directory_that_leads_outside_is_refused() {
    for (hook, directory) in [
        ("20-write-interfaces", "etc/network"),
        ("30-prepare-ramboot", "etc"),
        ("40-enable-console", "etc/systemd"),
        ("50-install-fixes", "usr/share"),
        ("50-install-fixes", "usr/sbin"),
    ] {
        for absolute in [true, false] {
            let root = complete();
            let outside = root.outer.path().join("outside");
            let path = root.path(directory);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let up = "../".repeat(directory.split('/').count());
            let target = if absolute {
                outside
            } else {
                format!("{up}outside").into()
            };
            std::os::unix::fs::symlink(target, &path).unwrap();
            let said = root.run_badly(hook);
            assert!(said.contains("leads out of the root"), "{hook}: {said}");
            root.assert_contained();
        }
    }
}

#[test]
fn a_bad_target_is_refused_by_every_hook() {
    for hook in ON.iter().chain(&OFF) {
        for target in [
            None,
            Some(""),
            Some("relative"),
            Some("/no/such/root"),
            Some("/"),
        ] {
            let mut root = complete();
            root.env.remove(std::ffi::OsStr::new("TARGET"));
            if let Some(target) = target {
                root.set("TARGET", target);
            }
            let said = root.run_badly(hook);
            assert!(said.contains("TARGET"), "{hook}, {target:?}: {said}");
        }
    }
}

#[test]
fn a_target_with_spaces_and_quotes_is_no_trouble() {
    let root = complete();
    let odd = root.outer.path().join("a root; $(touch x) 'q\"");
    fs::rename(root.path(""), &odd).unwrap();
    let mut env = root.env.clone();
    env.insert("TARGET".into(), odd.clone().into());
    let parts = Parts::in_directory(&hooks_directory()).unwrap();
    parts.run(&env, Duration::from_secs(60)).unwrap();
    assert!(odd.join("etc/fstab").exists());
    root.assert_contained();
}
