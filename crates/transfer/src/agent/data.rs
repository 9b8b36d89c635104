//! The agent for one volume's contents.

use std::fs::OpenOptions;
use std::io::{BufRead, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use p2v_sys::mount;

use super::claim::{Claim, Claimant};
use super::devices::Device;
use super::place::Place;
use super::recognise;
use super::stamp::{Filled, Spot, Stamp, Written};
use super::state::{self, Phase};
use crate::plan::{Fill, Plan, PlannedDisk, Volume};
use crate::protocol::{self, DataOrder, DataWork};

/// How often what was written is waited for, so that a power cut costs no more.
const EVERY: Duration = Duration::from_secs(30);

/// Files' times may be so much behind the clock, in nanoseconds.
const TICK: i64 = 50_000_000;

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
    // Before the plan is looked at: nobody changes it from here on.
    let claimant = Claimant {
        run: &order.run,
        plan_id: &order.plan_id,
    };
    let _claim = Claim::to_fill(place, claimant)?;
    let plan = planned(place, &order)?;
    let (disk, volume) = plan
        .volumes()
        .find(|(disk, volume)| volume.name(disk) == order.volume)
        .with_context(|| format!("the plan has no volume {}", order.volume))?;
    let filling = Filling {
        place,
        disk,
        volume,
        order: &order,
    };
    match order.work {
        DataWork::Files | DataWork::Blocks => filling
            .fill(from, to)
            .with_context(|| format!("filling {}", order.volume)),
        DataWork::Compare | DataWork::CompareBlocks => filling
            .work(None, from, to)
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

/// One volume, and what is to be done with it.
struct Filling<'a> {
    place: &'a Place,
    disk: &'a PlannedDisk,
    volume: &'a Volume,
    order: &'a DataOrder,
}

impl Filling<'_> {
    fn fill(&self, from: &mut (impl BufRead + Send), to: impl Write + Send) -> Result<()> {
        let number = self.volume.number;
        let (boot, begun) = (self.place.boot()?, now()?);
        let mut written = None;
        self.mark(|stamp| {
            let begun = Written::begun(stamp.written.get(&number), &boot, begun);
            written = Some(begun.clone());
            stamp.written.insert(number, begun);
            stamp.volumes.insert(number, Filled::Formatted);
        })?;
        let (place, id) = (self.place, &self.order.plan_id);
        state::enter(place, id, Phase::Copying, Vec::new())?;
        self.work(written.as_ref(), from, to)?;
        if matches!(self.volume.fill, Fill::Files { .. }) {
            sync(&self.top())?;
        }
        // Nobody writes to it any more.
        let synced = now()?;
        self.mark(|stamp| {
            stamp.volumes.insert(number, Filled::Copied);
            if let Some(written) = stamp.written.get_mut(&number) {
                written.synced(synced, true);
            }
        })
    }

    fn top(&self) -> std::path::PathBuf {
        self.place.volume(&self.order.volume)
    }

    /// What `written` tells is written to, and nothing else.
    fn work(
        &self,
        written: Option<&Written>,
        from: &mut (impl BufRead + Send),
        to: impl Write + Send,
    ) -> Result<()> {
        match (self.order.work, &self.volume.fill) {
            (DataWork::Files | DataWork::Compare, Fill::Files { .. }) => {
                let top = self.top();
                // Else the copy would fill the RAM.
                if !mount::points_below(&top)?.contains(&top.canonicalize()?) {
                    bail!("it is not mounted: prepare the disks first");
                }
                match written {
                    Some(written) => self.syncing(&top, || {
                        p2v_copy::receive_doubting(&top, written.doubt(), from, to).map(drop)
                    }),
                    None => p2v_copy::answer(&top, from, to),
                }
            }
            (DataWork::Blocks | DataWork::CompareBlocks, Fill::Blocks { .. }) => {
                let device = Device::of(self.disk, self.volume)?;
                let writes = written.is_some();
                // Fails while it is mounted.
                let file = OpenOptions::new()
                    .read(true)
                    .write(writes)
                    .custom_flags(nix::libc::O_EXCL)
                    .open(device.path())
                    .with_context(|| format!("opening {}", device.path().display()))?;
                let size = self.volume.size;
                match writes {
                    true => p2v_copy::receive_blocks(&file, size, from, to).map(drop)?,
                    false => p2v_copy::answer_blocks(&file, size, from, to)?,
                }
                drop(file);
                device.close()
            }
            _ => bail!("the plan fills it in another way"),
        }
    }

    /// Does `work`, and notes on the disk meanwhile what of it is on the medium.
    fn syncing(&self, top: &Path, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let (end, ended) = channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    if let Err(error) = self.sync_now(top) {
                        tracing::warn!("{error:#}");
                    }
                }
            });
            let _end = end;
            work()
        })
    }

    fn sync_now(&self, top: &Path) -> Result<()> {
        let before = now()? - TICK;
        sync(top)?;
        self.mark(|stamp| {
            if let Some(written) = stamp.written.get_mut(&self.volume.number) {
                written.synced(before, false);
            }
        })
    }

    /// Notes on the disk how far the volume is.
    fn mark(&self, change: impl FnOnce(&mut Stamp)) -> Result<()> {
        let (disk, volume) = (self.disk, self.volume);
        let _lock = state::lock(self.place)?;
        let size = std::fs::File::open(&disk.device)
            .and_then(|file| Ok(p2v_sys::block::size(&file)?))
            .with_context(|| format!("asking for the size of {}", disk.device.display()))?;
        let spot = Spot::of(self.place, disk, size);
        let stamp = spot.read()?;
        let stamp = stamp.filter(|stamp| stamp.plan_id == self.order.plan_id);
        let mut stamp = stamp.with_context(|| {
            let disk = disk.device.display();
            format!("{disk} does not carry the plan any more: prepare the disks again")
        })?;
        if recognise::volume(disk, volume, &stamp)?.is_none() {
            let name = &self.order.volume;
            bail!("{name} is not formatted: prepare the disks first");
        }
        let before = stamp.clone();
        change(&mut stamp);
        match stamp == before {
            true => Ok(()),
            false => spot.write(&stamp),
        }
    }
}

/// As files' times of change tell it, but for [`TICK`].
fn now() -> Result<i64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(i64::try_from(
        now.context("asking for the time")?.as_nanos(),
    )?)
}

fn sync(top: &Path) -> Result<()> {
    let doing = || format!("writing out {}", top.display());
    let directory = std::fs::File::open(top).with_context(doing)?;
    nix::unistd::syncfs(&directory).with_context(doing)
}
