//! The filled volumes become a system's tree, and the fixes run on it.

use std::ffi::OsString;

use anyhow::{Context, Result};
use p2v_fixes::machine::found;
use p2v_fixes::part;
use p2v_fixes::report::{Outcome, PartReport};
use p2v_fixes::runner::{self, Request};
use p2v_sys::{Mount, Root, interrupt};

use super::place::Place;
use super::state::{self, Phase};
use super::voice::Voice;
use super::{check, complete, machine, volumes};
use crate::plan::Plan;
use crate::protocol::{FixResult, Fixed};

/// What an operator's fix that calls `p2v fix` hands on to it.
const MACHINE: &str = "P2V_MACHINE";

/// Runs the fixes. It may be run again.
pub fn run(place: &Place, plan: &Plan, voice: &mut Voice) -> Result<Fixed> {
    volumes::unmount_all(place)?;
    let disks = check::plan(place, plan)?;
    state::check_plan(place, plan)?;
    complete::check(place, plan, &disks)?;
    let id = plan.id();
    state::enter(place, &id, Phase::Fixing, Vec::new())?;
    voice.note("putting the system together")?;
    let mounts = volumes::mount_tree(place, plan)?;
    let fixed = run_all(place, plan, voice);
    let closed = close(mounts);
    let fixed = fixed?;
    closed?;
    let lines = fixed.obstacles.clone();
    state::enter(place, &id, Phase::Fixed, lines)?;
    Ok(fixed)
}

/// All of them, also when one does not come down; the first error counts.
fn close(mounts: Vec<Mount>) -> Result<()> {
    let closed: Vec<_> = mounts.into_iter().map(Mount::close).collect();
    closed.into_iter().collect()
}

fn run_all(place: &Place, plan: &Plan, voice: &mut Voice) -> Result<Fixed> {
    let root = place.root();
    let machine = machine::of(plan, &Root::open(&root)?)?;
    let file = place.run().join("machine.json");
    let text = serde_json::to_vec_pretty(&machine).context("describing the machine")?;
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    let mut environment = found::part_environment(&root, &machine)?;
    environment.insert(OsString::from(MACHINE), file.into_os_string());
    let mut obstacles = Vec::new();
    let mut fixes = Vec::new();
    // One by one, so that each is told when it is done.
    for part in part::parts(None)? {
        interrupt::check()?;
        voice.note(format!("running {}", part.name))?;
        let request = Request {
            root: root.clone(),
            only: Some(part.name),
            ..Request::default()
        };
        let report = runner::run(&request, &machine, &environment)?;
        obstacles.extend(report.obstacles);
        for part in report.parts {
            voice.note(part.to_string())?;
            fixes.push(result(part));
        }
    }
    Ok(Fixed {
        will_boot: obstacles.is_empty(),
        obstacles,
        fixes,
    })
}

fn result(part: PartReport) -> FixResult {
    let (outcome, mut lines) = match part.outcome {
        Outcome::NotNeeded(why) => ("not needed", vec![why]),
        Outcome::Right(what) => ("right", vec![what]),
        Outcome::Changed(lines) => ("changed", lines),
        Outcome::Ran => ("ran", Vec::new()),
        Outcome::Skipped => ("skipped", Vec::new()),
        Outcome::Failed(why) => ("failed", vec![why]),
    };
    let warning = |line: &String| format!("warning: {line}");
    lines.extend(part.warnings.iter().map(warning));
    FixResult {
        part: part.name,
        outcome: outcome.to_owned(),
        lines,
    }
}
