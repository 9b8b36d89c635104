//! Whether all that a plan copies has arrived: what is repaired and started is a
//! whole system, whatever order comes.

use anyhow::{Result, ensure};

use super::disks::Disk;
use super::place::Place;
use super::stamp::{Filled, Spot, Stamp};
use super::{recognise, state};
use crate::plan::{Fill, Plan, PlannedDisk, Volume};

/// Fails unless the stamps of `disks` say so.
pub fn check(place: &Place, plan: &Plan, disks: &[Disk]) -> Result<()> {
    check_but(place, plan, disks, false)
}

/// The same, but disks that are being finished, or are, said so when that
/// began: their stamps are gone.
pub fn check_or_ending(place: &Place, plan: &Plan, disks: &[Disk]) -> Result<()> {
    let is_ending = state::is_ending(place, &plan.id())?;
    check_but(place, plan, disks, is_ending)
}

fn check_but(place: &Place, plan: &Plan, disks: &[Disk], is_ending: bool) -> Result<()> {
    let id = plan.id();
    let mut missing = Vec::new();
    for (planned, disk) in plan.disks.iter().zip(disks) {
        let stamp = Spot::of(place, planned, disk.size).read()?;
        if is_ending && stamp.is_none() {
            continue;
        }
        let stamp = stamp
            .filter(|stamp| stamp.plan_id == id)
            .unwrap_or_default();
        for volume in &planned.volumes {
            if let Some(fault) = fault(planned, volume, &stamp)? {
                missing.push(format!("{} {fault}", volume.name(planned)));
            }
        }
    }
    ensure!(
        missing.is_empty(),
        "the system is not complete: {}; run the transfer again, it copies what is missing",
        missing.join(", ")
    );
    Ok(())
}

fn fault(planned: &PlannedDisk, volume: &Volume, stamp: &Stamp) -> Result<Option<&'static str>> {
    let has_contents = matches!(volume.fill, Fill::Files { .. } | Fill::Blocks { .. });
    Ok(match recognise::volume(planned, volume, stamp)? {
        None => Some("is not formatted"),
        Some(Filled::Formatted) if has_contents => Some("is not filled, or only in part"),
        Some(Filled::Formatted | Filled::Copied) => None,
    })
}
