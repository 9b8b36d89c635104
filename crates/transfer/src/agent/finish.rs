//! The end: everything is let go of, the consoles say what was done, and the
//! instance restarts as the system that moved.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::reboot::{RebootMode, reboot};

use super::place::Place;
use super::stamp::Spot;
use super::state::{self, Phase};
use super::voice::Voice;
use super::{check, complete, volumes};
use crate::plan::Plan;

/// The answer must be on its way before the network goes.
const PAUSE: Duration = Duration::from_secs(1);

/// How it ends.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// Whether the system is as it shall be.
    pub complete: bool,
    /// Whether it is started now.
    pub restart: bool,
}

/// Lets go of the disks; they are as they will start.
pub fn run(
    place: &Place,
    plan: &Plan,
    end: End,
    summary: &[String],
    voice: &mut Voice,
) -> Result<()> {
    volumes::unmount_all(place)?;
    let disks = check::plan(place, plan)?;
    state::check_plan(place, plan)?;
    if end.complete || end.restart {
        complete::check_or_ending(place, plan, &disks)?;
        // Should this end amid it, it may be told again.
        state::enter(place, &plan.id(), Phase::Finishing, summary.to_owned())?;
        // Once the system has started, it changes: no transfer may go on with it.
        for (planned, disk) in plan.disks.iter().zip(disks) {
            Spot::of(place, planned, disk.size).wipe()?;
        }
    }
    nix::unistd::sync();
    state::enter(place, &plan.id(), Phase::Finished, summary.to_owned())?;
    let shown = |line: &String| format!("p2v: {}\n", printable(line));
    let text: String = summary.iter().map(shown).collect();
    if place.only().is_none() {
        p2v_ramboot::ready::show(&text);
    }
    voice.note(match (end.restart, end.complete) {
        (true, _) => "restarting",
        (false, true) => "everything is unmounted; the instance may be restarted",
        (false, false) => "everything is unmounted",
    })
}

/// Consoles obey control characters.
fn printable(line: &str) -> String {
    let plain = |c: char| if c.is_control() { '?' } else { c };
    line.chars().map(plain).collect()
}

/// Restarts the machine a moment later; not the one that tests run on.
pub fn restart(place: &Place) -> Result<()> {
    if place.only().is_some() {
        return Ok(());
    }
    std::thread::sleep(PAUSE);
    // Not by `Cmd`: nothing may interrupt it now. It complains where there is
    // no D-Bus, and does it all the same.
    let asked = Command::new("systemctl").arg("reboot").output();
    if asked.is_ok_and(|asked| asked.status.success()) {
        return Ok(());
    }
    nix::unistd::sync();
    reboot(RebootMode::RB_AUTOBOOT)
        .map(drop)
        .context("restarting the machine")
}
