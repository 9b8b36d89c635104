//! create, from a warm cache.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use p2v_tests::peer::debootstrap::InstanceDebootstrap;
use p2v_tests::progress::step;
use p2v_tests::table::Measure;
use p2v_tests::{GIB, Instance, Lab};

use crate::seconds;

/// Not the instance that is booted: a create replaces what the node remembers
/// of the host keys.
const TIMED: &str = "timed.example.org";

fn create(lab: &Lab, disk: &Path) -> Result<Duration> {
    let outcome = lab.create(&Instance::new(TIMED, disk))?;
    anyhow::ensure!(outcome.status.success(), "create failed:\n{}", outcome.log);
    Ok(outcome.took)
}

/// Both creates in turn, so that a slow moment of the machine meets both.
pub fn creates(lab: &Lab, peer: &InstanceDebootstrap, rounds: usize) -> Result<Measure> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let disk = lab.disk("ours-timed.img", 3 * GIB)?;
        ours.push(step(&format!("create, ours, round {round}"), || {
            create(lab, &disk)
        })?);
        std::fs::remove_file(&disk).context("removing a disk")?;
        let disk = lab.disk("theirs-timed.img", 3 * GIB)?;
        theirs.push(step(&format!("create, peer, round {round}"), || {
            peer.create(&Instance::new("peer.example", &disk))
        })?);
        std::fs::remove_file(&disk).context("removing a disk")?;
    }
    Ok(seconds("warm create, s", &ours, &theirs, 0.5))
}
