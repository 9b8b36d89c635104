//! The OS definition in a Ganeti cluster, where Ganeti is the judge. The lab
//! is a program of its own, since a killed one takes down with it all that it
//! has made.

use std::path::Path;
use std::process::Command;

use p2v_tests::ganeti_lab::killed;
use p2v_tests::need_root;

const LAB: &str = env!("CARGO_BIN_EXE_ganeti_lab");

/// With one boot; `make check-ganeti` does all of the acceptance.
#[test]
fn one_instances_life() {
    need_root!();
    // PR_SET_PDEATHSIG: the lab of a killed test ends too.
    let output = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", LAB, "--check=short"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `p2v doctor`, and what it shall say, after each of these was done.
const DISEASES: &[(&str, i32, &[&str])] = &[
    (
        ":",
        0,
        &["Ganeti offers p2v-target+default, p2v-target+gpt"],
    ),
    (
        "echo own >>/usr/share/ganeti/os/p2v-target/variants.list; \
         echo >/etc/ganeti/instance-p2v-target/variants/own.conf; \
         printf '20\\n\\n' >/usr/share/ganeti/os/p2v-target/ganeti_api_version",
        2,
        &[
            "Ganeti does not offer p2v-target+default, p2v-target+gpt",
            "global status: invalid",
            "ganeti_api_version is not a version number a line",
        ],
    ),
    (
        "printf '20\\n15\\n10\\n' >/usr/share/ganeti/os/p2v-target/ganeti_api_version; \
         touch /boot/vmlinuz-own /boot/initrd-own; \
         gnt-instance add -t diskless --no-install -o p2v-target+gpt -n $(hostname) \
         --no-name-check --no-ip-check --no-start \
         -H kvm:kernel_path=/boot/vmlinuz-own,initrd_path=/boot/initrd-own own.lab >&2",
        0,
        &[
            "p2v-target+own",
            "instance own.lab: the node gives it /boot/vmlinuz-own",
        ],
    ),
    (
        "rm /boot/initrd-own",
        2,
        &[
            "instance own.lab: /boot/initrd-own is not there",
            "gnt-instance modify",
        ],
    ),
];

/// What Ganeti itself says of a node, and of its instances' kernels.
#[test]
fn the_doctor_asks_ganeti() {
    need_root!();
    let script: String = DISEASES
        .iter()
        .map(|(done, ..)| format!("{done}; p2v doctor --role node; echo \"status $?\";\n"))
        .collect();
    let output = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", LAB, "--", "sh", "-c", &script])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut rest = &*text;
    for (done, status, words) in DISEASES {
        let end = format!("status {status}\n");
        let (said, after) = rest
            .split_once(&end)
            .unwrap_or_else(|| panic!("no {end} after {done}: {text} {output:?}"));
        for word in *words {
            assert!(said.contains(word), "no {word} after {done}: {said}");
        }
        rest = after;
    }
}

#[test]
fn a_killed_lab_leaves_nothing() {
    need_root!();
    killed::leaves_nothing(Path::new(LAB)).unwrap();
}
