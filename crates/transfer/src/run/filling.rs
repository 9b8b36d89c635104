//! The contents of each volume, over connections of their own.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use p2v_backup::allocation;
use p2v_backup::window::Window;
use p2v_copy::{Difference, Progress, SendOptions, Watch};
use p2v_sys::loopdev::Extent;
use p2v_sys::source_disk::SourceDisk;

use super::Request;
use super::session::Session;
use crate::connection::{self, Data, Policy};
use crate::plan::{Fill, Plan, PlannedDisk, Volume};
use crate::progress::Display;
use crate::protocol::{self, DataOrder, DataWork, Order, Prepared};
use crate::report::VolumeReport;
use crate::source::{MountedSource, OpenSource};

/// What a copy and a comparison have in common.
pub struct Filling<'a> {
    request: &'a Request,
    source: &'a OpenSource,
    plan: &'a Plan,
}

/// What of a volume is read here.
enum Contents<'a> {
    /// A filesystem, mounted here.
    Files(MountedSource),
    /// The blocks in use, counted from the volume's start.
    Blocks(&'a SourceDisk, Vec<Range<u64>>),
}

impl<'a> Filling<'a> {
    /// Reads `source` for `plan`.
    pub fn new(request: &'a Request, source: &'a OpenSource, plan: &'a Plan) -> Self {
        Self {
            request,
            source,
            plan,
        }
    }

    fn display(&self, phase: &str) -> Display {
        let total = self.volumes().map(|(_, volume)| expected(volume)).sum();
        Display::start(self.request.progress, phase, total)
    }

    /// The volumes that have contents.
    fn volumes(&self) -> impl Iterator<Item = (&'a PlannedDisk, &'a Volume)> + use<'a> {
        let filled = |volume: &Volume| !matches!(volume.fill, Fill::Swap | Fill::Reserved);
        self.plan
            .volumes()
            .filter(move |(_, volume)| filled(volume))
    }

    /// Copies every volume that has contents; those that were copied before
    /// get what has changed.
    ///
    /// # Errors
    /// A side's disk fails or is full; the connection stays away.
    pub fn copy(&self, session: &mut Session) -> Result<Vec<VolumeReport>> {
        let display = self.display("copy");
        let mut reports = Vec::new();
        for (disk, volume) in self.volumes() {
            let begun = Instant::now();
            let contents = self.contents(disk, volume)?;
            let order = self.order(session, volume.name(disk), contents.copying());
            let mut tries = 0;
            let copied = self.each_try(session, &display, &order, |data, watch| {
                tries += 1;
                self.send(&contents, volume, data, watch)
            })?;
            self.source.check_unchanged()?;
            display.volume_done(expected(volume));
            reports.push(VolumeReport {
                volume: order.volume,
                seconds: begun.elapsed().as_secs_f64(),
                copied,
                retries: tries - 1,
            });
        }
        display.finish();
        Ok(reports)
    }

    /// Compares every volume that has contents.
    ///
    /// # Errors
    /// As [`Filling::copy`].
    pub fn compare(&self, session: &mut Session) -> Result<Vec<Difference>> {
        let display = self.display("verify");
        let mut differences = Vec::new();
        for (disk, volume) in self.volumes() {
            let contents = self.contents(disk, volume)?;
            let order = self.order(session, volume.name(disk), contents.comparing());
            let found = self.each_try(session, &display, &order, |data, watch| {
                self.look(&contents, volume, data, watch)
            })?;
            self.source.check_unchanged()?;
            display.volume_done(expected(volume));
            differences.extend(found.into_iter().map(|mut difference| {
                difference.path = format!("{}: {}", order.volume, difference.path);
                difference
            }));
        }
        display.finish();
        Ok(differences)
    }

    fn contents(&self, disk: &PlannedDisk, volume: &Volume) -> Result<Contents<'a>> {
        let doing = || {
            format!(
                "reading {} for {}",
                disk.source.display(),
                volume.name(disk)
            )
        };
        let Fill::Blocks { kind } = &volume.fill else {
            let mounted = self.source.mount(&disk.source, volume.source_start);
            return Ok(Contents::Files(mounted.with_context(doing)?));
        };
        let opened = self.source.disk(&disk.source)?;
        let extent = Extent {
            offset: volume.source_start,
            length: volume.source_size,
        };
        let window = Window::new(opened.file(), extent);
        let used = allocation::used(kind, &window).with_context(doing)?;
        let ranges = used.with_rest(volume.source_size).iter().cloned().collect();
        Ok(Contents::Blocks(opened, ranges))
    }

    fn send(
        &self,
        contents: &Contents,
        volume: &Volume,
        data: &mut Data,
        watch: Watch,
    ) -> Result<Progress> {
        let (from, to) = (&mut data.from, &mut data.to);
        match contents {
            Contents::Files(mounted) => {
                p2v_copy::send(mounted.path(), from, to, &self.options(), watch)
            }
            Contents::Blocks(disk, used) => {
                let start = volume.source_start;
                p2v_copy::send_blocks(disk.file(), start, used, from, to, watch)
            }
        }
    }

    fn look(
        &self,
        contents: &Contents,
        volume: &Volume,
        data: &mut Data,
        watch: Watch,
    ) -> Result<Vec<Difference>> {
        let (from, to) = (&mut data.from, &mut data.to);
        match contents {
            Contents::Files(mounted) => {
                p2v_copy::compare(mounted.path(), from, to, &self.options(), watch)
            }
            Contents::Blocks(disk, used) => {
                let start = volume.source_start;
                p2v_copy::compare_blocks(disk.file(), start, used, from, to, watch)
            }
        }
    }

    /// Does `work` over a connection of its own, again if it breaks. A target
    /// that was started again meanwhile must mount its volumes first.
    fn each_try<T>(
        &self,
        session: &mut Session,
        display: &Display,
        order: &DataOrder,
        mut work: impl FnMut(&mut Data, Watch) -> Result<T>,
    ) -> Result<T> {
        let mut first = true;
        let say = &mut |line: &str| display.say(line);
        connection::retry(&Policy::default(), say, |pulse| {
            if !std::mem::take(&mut first) {
                let again = Order::Prepare {
                    plan: Box::new(self.plan.clone()),
                    erase: Vec::new(),
                    take_over: false,
                };
                session.ask_once::<Prepared>(&again, &|_| ())?;
            }
            display.volume(&order.volume);
            let sent = AtomicU64::new(0);
            let watch = |now: Progress| {
                // What is found to be there already is no progress.
                if now.bytes_sent > sent.fetch_max(now.bytes_sent, Ordering::Relaxed) {
                    pulse.beat();
                }
                display.show(now);
            };
            let mut data = session.link.data(order)?;
            let result = work(&mut data, &watch);
            data.settle(result)
        })
    }

    fn order(&self, session: &Session, volume: String, work: DataWork) -> DataOrder {
        DataOrder {
            v: protocol::VERSION,
            run: session.link.run().to_owned(),
            plan_id: self.plan.id(),
            volume,
            work,
        }
    }

    fn options(&self) -> SendOptions {
        SendOptions {
            compression: self.request.compression,
            ..SendOptions::default()
        }
    }
}

impl Contents<'_> {
    fn copying(&self) -> DataWork {
        match self {
            Self::Files(_) => DataWork::Files,
            Self::Blocks(..) => DataWork::Blocks,
        }
    }

    fn comparing(&self) -> DataWork {
        match self {
            Self::Files(_) => DataWork::Compare,
            Self::Blocks(..) => DataWork::CompareBlocks,
        }
    }
}

/// About how many bytes a volume's copy has.
fn expected(volume: &Volume) -> u64 {
    match &volume.fill {
        Fill::Files { used, .. } => *used,
        _ => volume.source_size,
    }
}
