//! The agent for one volume's contents.

use std::fs::OpenOptions;
use std::io::{BufRead, Write};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result, bail};
use p2v_sys::mount;

use super::claim::Claim;
use super::devices::Device;
use super::place::Place;
use super::recognise;
use super::stamp::{Filled, Spot};
use super::state::{self, Phase};
use crate::plan::{Fill, Plan, PlannedDisk, Volume};
use crate::protocol::{self, DataOrder, DataWork};

/// Takes the order's line, then speaks `p2v-copy`'s stream until its end.
/// `from` keeps what it has read ahead: the stream begins there.
///
/// # Errors
/// The order is none, or not for these disks; the copy failed. The caller says
/// it on standard error and exits with another status than 0.
pub fn serve_data(
    place: &Place,
    from: &mut (impl BufRead + Send),
    to: impl Write + Send,
) -> Result<()> {
    place.check_ram_booted()?;
    let order = protocol::read::<DataOrder>(from)?.context("no order came")?;
    let plan = planned(place, &order)?;
    let (disk, volume) = plan
        .volumes()
        .find(|(disk, volume)| volume.name(disk) == order.volume)
        .with_context(|| format!("the plan has no volume {}", order.volume))?;
    let _claim = Claim::to_fill(place, &order.plan_id)?;
    let doing = || format!("filling {}", order.volume);
    match order.work {
        DataWork::Files | DataWork::Blocks => {
            mark(place, disk, volume, &order, Filled::Formatted)?;
            state::enter(place, &order.plan_id, Phase::Copying, Vec::new())?;
            work(place, disk, volume, &order, from, to).with_context(doing)?;
            mark(place, disk, volume, &order, Filled::Copied)
        }
        DataWork::Compare | DataWork::CompareBlocks => work(place, disk, volume, &order, from, to)
            .with_context(|| format!("comparing {}", order.volume)),
    }
}

fn planned(place: &Place, order: &DataOrder) -> Result<Plan> {
    let plan = state::plan(place)?.filter(|plan| plan.id() == order.plan_id);
    plan.with_context(|| {
        format!(
            "the disks are not prepared for the plan {}: prepare them first",
            order.plan_id
        )
    })
}

fn work(
    place: &Place,
    disk: &PlannedDisk,
    volume: &Volume,
    order: &DataOrder,
    from: &mut (impl BufRead + Send),
    to: impl Write + Send,
) -> Result<()> {
    match (order.work, &volume.fill) {
        (DataWork::Files | DataWork::Compare, Fill::Files { .. }) => {
            let top = place.volume(&order.volume);
            // Else the copy would fill the RAM.
            if !mount::points_below(&top)?.contains(&top.canonicalize()?) {
                bail!("it is not mounted: prepare the disks first");
            }
            p2v_copy::receive(&top, from, to)?;
            sync(&top)
        }
        (DataWork::Blocks | DataWork::CompareBlocks, Fill::Blocks { .. }) => {
            let device = Device::of(disk, volume)?;
            // Fails while it is mounted.
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(nix::libc::O_EXCL)
                .open(device.path())
                .with_context(|| format!("opening {}", device.path().display()))?;
            p2v_copy::receive_blocks(&file, volume.size, from, to)?;
            file.sync_all().context("flushing it")?;
            drop(file);
            device.close()
        }
        _ => bail!("the plan fills it in another way"),
    }
}

fn sync(top: &std::path::Path) -> Result<()> {
    let doing = || format!("writing out {}", top.display());
    let directory = std::fs::File::open(top).with_context(doing)?;
    nix::unistd::syncfs(&directory).with_context(doing)
}

/// Notes on the disk how far the volume is.
fn mark(
    place: &Place,
    disk: &PlannedDisk,
    volume: &Volume,
    order: &DataOrder,
    filled: Filled,
) -> Result<()> {
    let _lock = state::lock(place)?;
    let size = std::fs::File::open(&disk.device)
        .and_then(|file| Ok(p2v_sys::block::size(&file)?))
        .with_context(|| format!("asking for the size of {}", disk.device.display()))?;
    let spot = Spot::of(place, disk, size);
    let stamp = spot.read()?.filter(|stamp| stamp.plan_id == order.plan_id);
    let mut stamp = stamp.with_context(|| {
        let disk = disk.device.display();
        format!("{disk} does not carry the plan any more: prepare the disks again")
    })?;
    if recognise::volume(disk, volume, &stamp)?.is_none() {
        bail!("{} is not formatted: prepare the disks first", order.volume);
    }
    if stamp.volumes.insert(volume.number, filled) == Some(filled) {
        return Ok(());
    }
    spot.write(&stamp)
}
