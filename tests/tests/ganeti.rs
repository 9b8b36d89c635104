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

#[test]
fn a_killed_lab_leaves_nothing() {
    need_root!();
    killed::leaves_nothing(Path::new(LAB)).unwrap();
}
