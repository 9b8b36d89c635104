//! Disks as planned: partitioned, formatted and mounted to be filled, or found
//! so and left as they are.
//!
//! A disk that was not made for the plan loses all it has, and only if somebody
//! has agreed to lose just that. It is wiped first: from then on it starts nothing. What is killed
//! midway goes on from the last thing that the disk's stamp tells.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use p2v_sys::disk::Disk as Claimed;
use p2v_sys::{Cmd, interrupt};

use super::devices::Device;
use super::disks::{self, Disk};
use super::place::Place;
use super::recognise::{self, Made};
use super::stamp::{Filled, Spot, Stamp};
use super::state::{self, Phase};
use super::voice::Voice;
use super::{check, volumes};
use crate::format::make_swap;
use crate::plan::{Fill, Plan, PlannedDisk, Volume};
use crate::protocol::{Loss, Prepared};

/// What comes before the partition table in a disk's first sector: boot code.
const BOOT_CODE: usize = 440;

/// How long e2fsck may take on a large disk.
const LONGEST_MENDING: Duration = Duration::from_secs(3600);

/// How long what an earlier agent had on a disk may take to be written out: it
/// may have been killed amid a filesystem's making.
const LETTING_GO: Duration = Duration::from_secs(60);

/// A planned disk, the one that it is, and where it keeps its stamp.
struct Target<'a> {
    planned: &'a PlannedDisk,
    disk: Disk,
    spot: Spot,
    made: Made,
}

/// Prepares the disks.
pub fn run(place: &Place, plan: &Plan, erase: &[Loss], voice: &mut Voice) -> Result<Prepared> {
    let plan_id = plan.id();
    volumes::unmount_all(place)?;
    let mut targets = recognised(place, plan, &plan_id)?;
    refuse_losses(&targets, erase)?;
    state::keep_plan(place, plan)?;
    state::enter(place, &plan_id, Phase::Preparing, Vec::new())?;
    let mut prepared = Prepared {
        resumed: true,
        complete: Vec::new(),
    };
    for target in &mut targets {
        prepare_disk(target, &plan_id, voice, &mut prepared)?;
    }
    volumes::mount_all(place, plan)?;
    let line = match prepared.resumed {
        true => "the disks were made for this plan; nothing was formatted",
        false => "the disks are partitioned and formatted",
    };
    voice.note(line)?;
    state::enter(place, &plan_id, Phase::Prepared, vec![line.to_owned()])?;
    Ok(prepared)
}

fn claim(device: &Path) -> Result<Claimed> {
    Claimed::claim_within(device, LETTING_GO)
}

fn recognised<'a>(place: &Place, plan: &'a Plan, plan_id: &str) -> Result<Vec<Target<'a>>> {
    let disks = check::plan(place, plan)?;
    let target = |(planned, disk): (&'a PlannedDisk, Disk)| {
        let spot = Spot::of(place, planned, disk.size);
        let made = recognise::disk(planned, &disk, &spot, plan_id)?;
        Ok(Target {
            planned,
            disk,
            spot,
            made,
        })
    };
    plan.disks.iter().zip(disks).map(target).collect()
}

fn refuse_losses(targets: &[Target], agreed: &[Loss]) -> Result<()> {
    let mut lost = Vec::new();
    for target in targets {
        let strangers = match &target.made {
            Made::Not => Vec::new(),
            Made::Partitioned(stamp) => recognise::strangers(target.planned, stamp)?,
            Made::Wiped | Made::Empty => continue,
        };
        if target.made != Made::Not && strangers.is_empty() {
            continue;
        }
        let loss = Loss {
            device: target.disk.path.to_string_lossy().into_owned(),
            holds: disks::content(&target.disk)?,
        };
        if agreed.contains(&loss) {
            continue;
        }
        lost.push(match (strangers.is_empty(), loss.holds.is_empty()) {
            (false, _) => format!("{} ({})", loss.device, strangers.join(", ")),
            (true, true) => format!("{} (made for another plan)", loss.device),
            (true, false) => format!("{} ({})", loss.device, loss.holds.join(", ")),
        });
    }
    if !lost.is_empty() {
        bail!(
            "what is on these disks would be lost, and nobody has agreed to that: {}; if it may \
             be, run it again, and empty them first (wipefs --all) if it does not ask",
            lost.join("; ")
        );
    }
    Ok(())
}

fn prepare_disk(
    target: &mut Target,
    plan_id: &str,
    voice: &mut Voice,
    prepared: &mut Prepared,
) -> Result<()> {
    let planned = target.planned;
    let mut stamp = match &target.made {
        Made::Partitioned(stamp) => {
            make_unbootable(planned)?;
            let mut stamp = stamp.clone();
            if stamp.hardware.is_none() && planned.hardware.is_some() {
                stamp.hardware.clone_from(&planned.hardware);
                target.spot.write(&stamp)?;
            }
            stamp
        }
        Made::Wiped | Made::Empty | Made::Not => {
            voice.note(format!("partitioning {}", planned.device.display()))?;
            prepared.resumed = false;
            partition(target, plan_id)?
        }
    };
    for volume in &planned.volumes {
        let name = volume.name(planned);
        match recognise::volume(planned, volume, &stamp)? {
            Some(filled) => {
                mend(planned, volume).with_context(|| format!("mending {name}"))?;
                if filled == Filled::Copied {
                    prepared.complete.push(name);
                }
            }
            None => {
                interrupt::check()?;
                prepared.resumed = false;
                voice.note(format!("formatting {name}: {}", what(volume)))?;
                format(planned, volume).with_context(|| format!("formatting {name}"))?;
                stamp.volumes.insert(volume.number, Filled::Formatted);
                stamp.written.remove(&volume.number);
                target.spot.write(&stamp)?;
            }
        }
    }
    Ok(())
}

/// A system that is half there must not start; its boot loader is installed
/// once it is whole.
fn make_unbootable(planned: &PlannedDisk) -> Result<()> {
    if planned.table.is_none() {
        return Ok(());
    }
    let claimed = claim(&planned.device)?;
    claimed.write_at(&[0; BOOT_CODE], 0)?;
    claimed.sync()
}

/// Empties the disk and gives it the planned table.
fn partition(target: &Target, plan_id: &str) -> Result<Stamp> {
    let stamp = Stamp {
        plan_id: plan_id.to_owned(),
        hardware: target.planned.hardware.clone(),
        ..Stamp::default()
    };
    let planned = target.planned;
    let claimed = claim(&planned.device)?;
    target.spot.wipe()?;
    claimed.wipe_edges()?;
    // Or what lay there before would be found in a new partition.
    for volume in &planned.volumes {
        let extent = recognise::extent(planned, volume);
        if extent.length > 0 {
            claimed.wipe(extent.offset, extent.length)?;
        }
    }
    claimed.sync()?;
    target.spot.write(&stamp)?;
    if let Some(table) = &planned.table {
        table.write(&planned.device)?;
        claimed.sync()?;
    }
    claimed.reread_partitions()?;
    Ok(stamp)
}

fn what(volume: &Volume) -> String {
    match &volume.fill {
        Fill::Files { format, .. } => format.kind.clone(),
        Fill::Blocks { kind } => format!("room for the blocks of {kind}"),
        Fill::Swap => "swap".to_owned(),
        Fill::Reserved => "nothing".to_owned(),
    }
}

fn format(planned: &PlannedDisk, volume: &Volume) -> Result<()> {
    let device = Device::of(planned, volume)?;
    // Also proves that nobody has it.
    let claimed = claim(device.path())?;
    claimed.wipe_edges()?;
    drop(claimed);
    match &volume.fill {
        Fill::Files { format, .. } => format.make(device.path(), &volume.identity)?,
        Fill::Swap => make_swap(device.path(), &volume.identity)?,
        Fill::Blocks { .. } | Fill::Reserved => {}
    }
    flush(&device)?;
    device.close()
}

/// What a power cut has left of a filesystem without a journal must be put in
/// order before anything is written to it; of one that was unmounted, e2fsck
/// only looks at the mark.
fn mend(planned: &PlannedDisk, volume: &Volume) -> Result<()> {
    let Fill::Files { format, .. } = &volume.fill else {
        return Ok(());
    };
    if !format.kind.starts_with("ext") {
        return Ok(());
    }
    let device = Device::of(planned, volume)?;
    // 1: there was something to mend, and it is mended.
    Cmd::new("e2fsck", "putting the filesystem in order")
        .arg("-y")
        .arg(device.path())
        .timeout(LONGEST_MENDING)
        .read_answer(&[1])?;
    flush(&device)?;
    device.close()
}

/// The stamp that follows must not be on the medium before what it tells of.
fn flush(device: &Device) -> Result<()> {
    let doing = || format!("flushing {}", device.path().display());
    let file = std::fs::File::open(device.path()).with_context(doing)?;
    file.sync_all().with_context(doing)
}
