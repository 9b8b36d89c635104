//! `p2v doctor` on an installed node's tree, with each fault planted, one at a
//! time.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::MsFlags;
use p2v_sys::Mount;
use p2v_tests::diagnosis::{doctor, node, path_without};
use p2v_tests::{Created, Lab, need_root};

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn remove(path: &Path) {
    match path.is_dir() {
        true => std::fs::remove_dir_all(path).unwrap(),
        false => std::fs::remove_file(path).unwrap(),
    }
}

/// Weight, words of the finding and of its remedy, and how it is planted.
type Fault = (&'static str, &'static [&'static str], fn(&Lab));

const FAULTS: &[Fault] = &[
    (
        "warning",
        &[
            "hooks: ",
            "99-own.sh does not run: its name",
            "99-own.sh",
            "/99-own",
        ],
        |lab| lab.hook("99-own.sh", "#!/bin/sh\n").unwrap(),
    ),
    (
        "warning",
        &["hooks: ", "96-link does not run", "leads nowhere", "rm "],
        |lab| symlink("/no/such", lab.config_dir().join("hooks.d/96-link")).unwrap(),
    ),
    (
        "error",
        &[
            "hooks: ",
            "98-x cannot start: its interpreter `/no/such`",
            "install it",
        ],
        |lab| lab.hook("98-x", "#!/no/such -e\n").unwrap(),
    ),
    (
        "error",
        &["hooks: ", "97-x cannot start", "`no-such-program`"],
        |lab| {
            lab.hook("97-x", "#!/usr/bin/env no-such-program\n")
                .unwrap()
        },
    ),
    (
        "error",
        &[
            "hooks: ",
            "95-x is neither a program nor a script",
            "#!/bin/sh",
        ],
        |lab| lab.hook("95-x", "echo hello\n").unwrap(),
    ),
    (
        "error",
        &["hooks: ", "/no/such", "CUSTOMIZE_DIR", "mkdir /no/such"],
        |lab| lab.configure("CUSTOMIZE_DIR=/no/such").unwrap(),
    ),
    (
        "error",
        &["fixes: ", "fixes.d is missing", "mkdir "],
        |lab| {
            remove(&lab.config_dir().join("fixes.d"));
        },
    ),
    (
        "warning",
        &["fixes: ", "99-own.py does not run", "mv "],
        |lab| {
            drop(
                lab.write_config("fixes.d/99-own.py", "#!/bin/sh\n")
                    .unwrap(),
            )
        },
    ),
    (
        "error",
        &[
            "keys: ",
            "there is no key in",
            "nobody could log in",
            "cp ~/.ssh/",
        ],
        |lab| remove(&lab.config_dir().join("authorized_keys")),
    ),
    ("error", &["keys: ", "it holds a private key"], |lab| {
        let text = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
        lab.write_config("authorized_keys", text).unwrap();
    }),
    ("error", &["keys: ", "line 2: not a public key"], |lab| {
        let text = format!("{}\nssh-ed25519 oops\n", lab.key().public().trim());
        lab.write_config(
            "authorized_keys",
            &text.replace("ssh-ed25519 oops", "hello you"),
        )
        .unwrap();
    }),
    (
        "error",
        &[
            "configuration: ",
            "FILESYSTEM=`zfs`",
            "allowed: ext2",
            "docs/settings.md",
        ],
        |lab| lab.configure("FILESYSTEM=zfs").unwrap(),
    ),
    (
        "warning",
        &[
            "configuration: ",
            "SUIET is not a setting",
            "did you mean SUITE?",
        ],
        |lab| lab.configure("SUIET=trixie").unwrap(),
    ),
    ("error", &["configuration: ", "p2v-target.conf"], |lab| {
        lab.configure("if true; then SUITE=trixie; fi").unwrap();
    }),
    (
        "error",
        &[
            "configuration: ",
            "`gpt`",
            "its file is missing",
            "gpt.conf",
        ],
        |lab| remove(&lab.config_dir().join("variants/gpt.conf")),
    ),
    (
        "warning",
        &[
            "configuration: ",
            "does not offer",
            "own.conf",
            "add the line `own`",
        ],
        |lab| {
            drop(
                lab.write_config("variants/own.conf", "SUITE=trixie\n")
                    .unwrap(),
            )
        },
    ),
    (
        "warning",
        &[
            "configuration: ",
            "variants.list offers no variant",
            "`default`",
        ],
        |lab| std::fs::write(lab.os_dir().join("variants.list"), "# none\n").unwrap(),
    ),
    (
        "warning",
        &[
            "configuration: ",
            "an update brought",
            "p2v-target.conf.new",
            "diff -u ",
        ],
        |lab| drop(lab.write_config("p2v-target.conf.new", "\n").unwrap()),
    ),
    (
        "error",
        &[
            "configuration: ",
            "others may write to",
            "hooks.d/",
            "chmod go-w ",
        ],
        |lab| {
            set_mode(
                &lab.config_dir().join("hooks.d/10-clear-root-password"),
                0o777,
            )
        },
    ),
    (
        "error",
        &[
            "OS definition: ",
            "Ganeti cannot call",
            "/verify",
            "make install",
        ],
        |lab| remove(&lab.os_dir().join("verify")),
    ),
    (
        "error",
        &[
            "OS definition: ",
            "Ganeti cannot call",
            "/create: not executable",
            "chmod 755",
        ],
        |lab| {
            remove(&lab.os_dir().join("create"));
            std::fs::write(lab.os_dir().join("create"), "#!/bin/sh\n").unwrap();
            set_mode(&lab.os_dir().join("create"), 0o644);
        },
    ),
    (
        "error",
        &[
            "OS definition: ",
            "the entry points are different programs",
            "/bin/",
        ],
        |lab| {
            remove(&lab.os_dir().join("import"));
            symlink("/bin/true", lab.os_dir().join("import")).unwrap();
        },
    ),
    (
        "error",
        &[
            "OS definition: ",
            "ganeti_api_version",
            "invalid",
            "make install",
        ],
        |lab| std::fs::write(lab.os_dir().join("ganeti_api_version"), "20\n\n15\n").unwrap(),
    ),
    (
        "error",
        &["OS definition: ", "parameters.list", "make install"],
        |lab| std::fs::write(lab.os_dir().join("parameters.list"), "colour A colour\n").unwrap(),
    ),
    (
        "error",
        &["OS definition: ", "there is no OS definition"],
        |lab| {
            remove(&lab.os_dir());
        },
    ),
];

#[test]
fn each_fault_is_found() {
    need_root!();
    let lab = Lab::new("doctor-well").unwrap();
    let well = node(&lab);
    let mut found = well.of("warning");
    // Where these tests run there need be no Ganeti.
    found.retain(|line| !line.starts_with("Ganeti: "));
    assert!(found.is_empty() && well.of("error").is_empty(), "{found:?}");
    for (weight, words, plant) in FAULTS {
        let lab = Lab::new("doctor-fault").unwrap();
        plant(&lab);
        node(&lab).assert_found(weight, words);
    }
}

#[test]
fn each_missing_program_is_named_with_its_package() {
    need_root!();
    for (program, weight, words) in [
        ("sfdisk", "error", "apt-get install fdisk"),
        ("blkid", "error", "apt-get install util-linux"),
        ("ssh-keygen", "error", "apt-get install openssh-client"),
        ("mkfs.ext4", "error", "apt-get install e2fsprogs"),
        ("grub-mkimage", "error", "apt-get install grub-common"),
        (
            "mcopy",
            "error",
            "of the variant gpt needs -> apt-get install mtools",
        ),
        ("restore", "good", "if there are such: apt-get install dump"),
        ("qemu-nbd", "good", "apt-get install qemu-utils"),
    ] {
        let lab = Lab::new("doctor-programs").unwrap();
        let path = path_without(&lab, &[program]);
        let diagnosis = doctor(&lab, &["--role", "node"], Some(&path));
        diagnosis.assert_found(weight, &["programs: ", program, words]);
    }
    let lab = Lab::new("doctor-programs").unwrap();
    let path = path_without(&lab, &["ssh-keyscan"]);
    let diagnosis = doctor(&lab, &["--role", "source"], Some(&path));
    let words = ["programs: ", "ssh-keyscan is missing", "openssh-client"];
    diagnosis.assert_found("error", &words);
}

#[test]
fn a_cache_that_cannot_take_a_root_is_an_error_until_it_has_one() {
    need_root!();
    let without_tool = |lab: &Lab| {
        let path = path_without(lab, &["mmdebstrap", "debootstrap"]);
        doctor(lab, &["--role", "node"], Some(&path))
    };
    let lab = Lab::with_own_cache("doctor-cache").unwrap();
    set_mode(lab.cache_dir(), 0o700);
    without_tool(&lab).assert_found("error", &["cache: ", "neither is installed", "mmdebstrap"]);
    let well = node(&lab);
    well.assert_found(
        "good",
        &[
            "cache: ",
            "is not there yet (default, gpt)",
            "p2v image build",
        ],
    );
    set_mode(lab.cache_dir(), 0o777);
    node(&lab).assert_found("error", &["cache: ", "others may write to it", "chmod 700"]);
    set_mode(lab.cache_dir(), 0o700);
    let options = "mode=700,size=16m";
    let tmpfs = Mount::new("tmpfs", lab.cache_dir(), "tmpfs", MsFlags::empty(), options).unwrap();
    node(&lab).assert_found("error", &["cache: ", "MB are free", "make room"]);
    tmpfs.close().unwrap();
    // One in which a create has left its root.
    let lab = Created::anew("doctor-made").unwrap().0;
    let warned = without_tool(&lab);
    warned.assert_found("warning", &["cache: ", "neither is installed"]);
    warned.assert_found("good", &["cache: ", "is there (default, gpt)", "MB, "]);
    assert_eq!(warned.of("error"), Vec::<String>::new());
}

#[test]
fn nothing_is_changed() {
    need_root!();
    let lab = Lab::with_own_cache("doctor-reads").unwrap();
    let shown = || {
        let mut all = BTreeMap::new();
        collect(lab.dir(), &mut all);
        all
    };
    let before = shown();
    assert!(before.len() > 20);
    node(&lab);
    doctor(&lab, &["--role", "source", "--role", "target"], None);
    assert_eq!(shown(), before);
    lab.assert_nothing_left();
}

/// Every path below with its length, mode and times of change.
fn collect(path: &Path, all: &mut BTreeMap<PathBuf, [i64; 4]>) {
    use std::os::unix::fs::MetadataExt;
    let it = path.symlink_metadata().unwrap();
    let numbers = [
        it.len() as i64,
        it.mode().into(),
        it.mtime_nsec(),
        it.ctime_nsec(),
    ];
    all.insert(path.to_owned(), numbers);
    if it.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), all);
        }
    }
}

#[test]
fn people_get_a_list_and_a_doctor_that_cannot_look_is_an_error() {
    need_root!();
    let lab = Lab::new("doctor-text").unwrap();
    lab.hook("99-own.sh", "#!/bin/sh\n").unwrap();
    let run = |args: &[&str], config: &Path| {
        let mut command = Command::new(lab.binary());
        command.arg("doctor").args(args).envs(lab.directories());
        command.env("P2V_CONFIG_DIR", config).output().unwrap()
    };
    let output = run(&["--role", "node"], &lab.config_dir());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(" as node:\n  warning  "), "{text}");
    assert!(text.contains("\n           -> mv "), "{text}");
    assert!(text.contains("\n0 errors, "), "{text}");
    let mut lines = text.lines().filter(|line| line.starts_with("  "));
    let weight = |line: &str| match line.split_whitespace().next() {
        Some("error") => Some(2),
        Some("warning") => Some(1),
        Some("ok") => Some(0),
        _ => None,
    };
    let weights: Vec<_> = lines.by_ref().filter_map(weight).collect();
    assert!(weights.is_sorted_by(|one, next| one >= next), "{text}");
    for (args, config, status) in [
        (&["--role", "king"][..], lab.config_dir(), 64),
        (&[], "relative".into(), 2),
    ] {
        assert_eq!(run(args, &config).status.code(), Some(status));
    }
}
