//! What is known of the transfer until the machine restarts: the plan, and how
//! far it came.

use std::path::Path;

use anyhow::{Context, Result, bail};
use p2v_sys::lock::FileLock;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::disks;
use super::place::Place;
use super::stamp::{self, Filled};
use crate::plan::Plan;
use crate::protocol::Status;

const PLAN: &str = "plan.json";
const STATE: &str = "state.json";

/// How far a transfer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Disks are being partitioned and formatted.
    Preparing,
    /// Volumes are formatted and mounted.
    Prepared,
    /// Contents have begun to arrive.
    Copying,
    /// The fixes run.
    Fixing,
    /// They have run.
    Fixed,
    /// The stamps of a complete system are taken away.
    Finishing,
    /// All is unmounted.
    Finished,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Prepared => "prepared",
            Self::Copying => "copying",
            Self::Fixing => "fixing",
            Self::Fixed => "fixed",
            Self::Finishing => "finishing",
            Self::Finished => "finished",
        }
    }
}

/// Remembers the plan that the disks are made for.
pub fn keep_plan(place: &Place, plan: &Plan) -> Result<()> {
    write(&place.run().join(PLAN), plan)
}

/// The plan that the disks were made for.
pub fn plan(place: &Place) -> Result<Option<Plan>> {
    read(&place.run().join(PLAN))
}

/// Fails unless the disks were made for this plan.
pub fn check_plan(place: &Place, given: &Plan) -> Result<()> {
    match plan(place)? {
        Some(made) if made.id() == given.id() => Ok(()),
        Some(_) => bail!("the disks were made for another plan: prepare them first"),
        None => bail!("the disks are not prepared: prepare them first"),
    }
}

/// Whether a transfer of that plan is being finished here, or is.
pub fn is_ending(place: &Place, plan_id: &str) -> Result<bool> {
    let status: Status = read(&place.run().join(STATE))?.unwrap_or_default();
    let ending = [Phase::Finishing, Phase::Finished].map(Phase::name);
    Ok(status.plan_id.as_deref() == Some(plan_id) && ending.contains(&status.phase.as_str()))
}

/// Notes that a phase has begun, with what there is to say of it.
pub fn enter(place: &Place, plan_id: &str, phase: Phase, lines: Vec<String>) -> Result<()> {
    let _lock = lock(place)?;
    let status = Status {
        plan_id: Some(plan_id.to_owned()),
        phase: phase.name().to_owned(),
        lines,
    };
    write(&place.run().join(STATE), &status)
}

/// Against agents for contents that note something at the same moment.
pub fn lock(place: &Place) -> Result<FileLock> {
    FileLock::wait(&place.run().join("state.lock"), "noting its state")
}

/// How far the last transfer came. After a restart of the machine only the
/// disks know.
pub fn status(place: &Place) -> Result<Status> {
    let mut status: Status = read(&place.run().join(STATE))?.unwrap_or_default();
    if status.phase.is_empty() {
        status.phase = "none".to_owned();
    }
    for disk in disks::list(place)? {
        let Some(stamp) = stamp::on_disk(&disk.path)? else {
            continue;
        };
        status.plan_id.get_or_insert_with(|| stamp.plan_id.clone());
        for (number, filled) in &stamp.volumes {
            let what = match filled {
                Filled::Formatted => "formatted",
                Filled::Copied => "filled",
            };
            let disk = disk.path.display();
            status.lines.push(match number {
                0 => format!("{disk}: {what}"),
                number => format!("{disk}, partition {number}: {what}"),
            });
        }
    }
    Ok(status)
}

/// Whole or not at all.
fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    let new = path.with_extension("new");
    let text = serde_json::to_vec_pretty(value).with_context(doing)?;
    std::fs::write(&new, text).with_context(doing)?;
    std::fs::rename(&new, path).with_context(doing)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let doing = || format!("reading {}", path.display());
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).with_context(doing),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(doing),
    }
}
