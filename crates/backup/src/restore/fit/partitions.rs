//! The plan for a disk with partitions: which of them move, and what grows or
//! shrinks. What is behind the last filesystem moves as it is, so that no
//! distance between partitions changes.

use std::cmp::Ordering;

use anyhow::{Result, bail};
use p2v_sys::partition::table::{Entry, Table};

use super::{Direction, Fit, NewDisk, Resize, bytes, grows, shrinkable};
use crate::stream::{AreaRole, Manifest};
use crate::survey::GPT_ENTRIES;

/// Partitions move by whole MiB, so that each keeps its alignment.
const STEP: u64 = 1 << 20;

/// An MBR counts sectors in 32 bits.
const MOST_DOS_SECTORS: u64 = u32::MAX as u64;

/// A disk with partitions. Everything is in sectors.
#[derive(Debug)]
pub struct Partitions<'a> {
    manifest: &'a Manifest,
    table: &'a Table,
    disk: NewDisk,
    /// Where partitions must end on the new disk.
    limit: u64,
    /// The smallest move.
    step: u64,
    /// All but extended partitions, by their place: index in the table, and
    /// the number of the area.
    order: Vec<(usize, Option<usize>)>,
}

impl<'a> Partitions<'a> {
    /// The partitions of `table`, to be put onto `disk`.
    pub fn new(manifest: &'a Manifest, table: &'a Table, disk: NewDisk) -> Self {
        let area = |entry: &Entry| {
            let role = AreaRole::Partition(entry.number);
            manifest.areas.iter().position(|area| area.role == role)
        };
        let entries = table.partitions.iter().enumerate();
        let mut order: Vec<_> = entries
            .filter(|(_, entry)| !entry.is_extended())
            .map(|(index, entry)| (index, area(entry)))
            .collect();
        order.sort_by_key(|(index, _)| table.partitions[*index].start);
        let sectors = disk.size / table.sector_size;
        let limit = match table.label.as_str() {
            // Its backup at the disk's end has a header's sector too.
            "gpt" => sectors.saturating_sub(GPT_ENTRIES.div_ceil(table.sector_size) + 1),
            _ => sectors.min(MOST_DOS_SECTORS),
        };
        Self {
            manifest,
            table,
            disk,
            limit,
            step: (STEP / table.sector_size).max(1),
            order,
        }
    }

    /// Where they go.
    pub fn plan(&self) -> Result<Fit> {
        let end = self
            .table
            .partitions
            .iter()
            .map(Entry::end)
            .max()
            .unwrap_or(0);
        match self.disk.size.cmp(&self.manifest.disk_size) {
            Ordering::Equal => Ok(Fit::unchanged(self.manifest)),
            Ordering::Greater => Ok(self.grow(end)),
            Ordering::Less => self.shrink(),
        }
    }

    /// The last one that is no swap area, and where the swap areas behind it
    /// begin in `order`.
    fn last_filesystem(&self) -> Option<(usize, usize)> {
        let last = self
            .order
            .iter()
            .rposition(|(_, area)| !self.is_swap(*area))?;
        Some((last, last + 1))
    }

    fn is_swap(&self, area: Option<usize>) -> bool {
        let content = |area: usize| self.manifest.areas[area].content.as_deref();
        area.and_then(content) == Some("swap")
    }

    fn entry(&self, at: usize) -> &Entry {
        &self.table.partitions[self.order[at].0]
    }

    /// Nothing can move where partitions lie in each other.
    pub fn overlap(&self) -> bool {
        let pairs = (1..self.order.len()).map(|at| (self.entry(at - 1), self.entry(at)));
        let within = |entry: &Entry, extended: &Entry| {
            entry.number >= 5 && entry.start >= extended.start && entry.end() <= extended.end()
        };
        let apart = |entry: &Entry, extended: &Entry| {
            entry.number < 5 && (entry.end() <= extended.start || entry.start >= extended.end())
        };
        let mut extended = self
            .table
            .partitions
            .iter()
            .filter(|entry| entry.is_extended());
        let all = 0..self.order.len();
        pairs.into_iter().any(|(one, next)| one.end() > next.start)
            || extended.any(|extended| {
                let bad = |at| {
                    let entry = self.entry(at);
                    !within(entry, extended) && !apart(entry, extended)
                };
                all.clone().any(bad)
            })
    }

    fn grow(&self, end: u64) -> Fit {
        let stays = |remark: String| Fit {
            remark: Some(remark),
            ..Fit::unchanged(self.manifest)
        };
        let Some((last, _)) = self.last_filesystem() else {
            return stays("no partition holds a filesystem".to_owned());
        };
        let area = self.order[last].1;
        let growing = area.filter(|area| grows(&self.manifest.areas[*area]));
        let Some(area) = growing else {
            let name = area.map_or("a partition".to_owned(), |area| {
                self.manifest.areas[area].name()
            });
            return stays(format!("{name} is the last, and it cannot grow"));
        };
        if self.overlap() {
            return stays("its partitions lie in each other".to_owned());
        }
        let by = self.limit.saturating_sub(end) / self.step * self.step;
        if by == 0 {
            let mbr = self.limit == MOST_DOS_SECTORS;
            let why = if mbr {
                "an MBR reaches no further"
            } else {
                "too little was added"
            };
            return stays(why.to_owned());
        }
        let pivot = self.entry(last).end();
        let moved = |sector: u64| if sector >= pivot { sector + by } else { sector };
        let table = self.changed(|entry| (moved(entry.start), moved(entry.end())));
        self.fit(table, Some(Resize::of(area, Direction::Grow)))
    }

    fn shrink(&self) -> Result<Fit> {
        let end = (0..self.order.len()).map(|at| self.entry(at).end()).max();
        let need = end
            .unwrap_or(0)
            .saturating_sub(self.limit)
            .next_multiple_of(self.step);
        if self.overlap() && need > 0 {
            bail!("its partitions lie in each other, and none can move");
        }
        if need == 0 {
            let table = self.changed(|entry| (entry.start, self.cut(entry, u64::MAX, 0)));
            return Ok(self.fit(table, None));
        }
        let (last, next) = match self.last_filesystem() {
            Some((last, next)) => (Some(last), next),
            None => (None, 0),
        };
        // What moves begins here, with the room that a logical one needs.
        let begin = self.beginning(next);
        let floor = last.map_or(self.step, |last| self.entry(last).end());
        let mut resize = None;
        let mut new_end = floor;
        if begin.is_none_or(|begin| begin < floor + need) {
            // The filesystem ends where the moved ones begin.
            let cut = begin.map_or(self.limit, |begin| begin.saturating_sub(need));
            let start = last.map_or(0, |last| self.entry(last).start);
            new_end = start + cut.saturating_sub(start) / 8 * 8;
            resize = Some(self.shrunk(last, new_end)?);
        }
        let pivot = begin.unwrap_or(u64::MAX);
        let table = self.changed(|entry| {
            if entry.start >= pivot {
                return (entry.start - need, self.cut(entry, pivot, need));
            }
            let cut = last.is_some_and(|last| entry.number == self.entry(last).number);
            let end = if cut {
                entry.end().min(new_end)
            } else {
                self.cut(entry, pivot, need)
            };
            (entry.start, end)
        });
        Ok(self.fit(table, resize))
    }

    /// The first sector that the swap areas from `next` on need: theirs, or
    /// that of the extended partition which holds nothing else. Before a
    /// logical one lies its own small table.
    fn beginning(&self, next: usize) -> Option<u64> {
        if next >= self.order.len() {
            return None;
        }
        let first = self.entry(next);
        if first.number < 5 || self.table.label != "dos" {
            return Some(first.start);
        }
        let before = next.checked_sub(1).map(|at| self.entry(at));
        if let Some(before) = before.filter(|before| before.number >= 5) {
            return Some(first.start - (first.start - before.end()).min(self.step));
        }
        let container = self
            .table
            .partitions
            .iter()
            .find(|entry| entry.is_extended());
        Some(container.map_or(first.start, |container| container.start))
    }

    /// Where an entry ends when all from `pivot` on moves forward by `need`:
    /// an extended partition also loses what it has free at its end.
    fn cut(&self, entry: &Entry, pivot: u64, need: u64) -> u64 {
        if !entry.is_extended() {
            return if entry.start >= pivot {
                entry.end() - need
            } else {
                entry.end()
            };
        }
        let moved = |other: &Entry| {
            if other.start >= pivot {
                other.start - need
            } else {
                other.start
            }
        };
        let primary = (0..self.order.len()).map(|at| self.entry(at));
        let behind = primary
            .filter(|other| other.start >= entry.end())
            .map(moved)
            .min();
        entry.end().min(self.limit).min(behind.unwrap_or(u64::MAX))
    }

    fn shrunk(&self, last: Option<usize>, end: u64) -> Result<Resize> {
        let Some((area, start)) =
            last.and_then(|last| Some((self.order[last].1?, self.entry(last).start)))
        else {
            bail!(
                "this disk has {} MiB, too few for its swap areas",
                self.disk.size >> 20
            );
        };
        let length = end.saturating_sub(start) * self.table.sector_size;
        let around = self.disk.size.saturating_sub(length);
        shrinkable(&self.manifest.areas[area], length, |bytes| bytes + around)?;
        Ok(Resize::of(area, Direction::Shrink))
    }

    /// The table with each partition's first sector, and the one after its
    /// last, as `place` says.
    fn changed(&self, place: impl Fn(&Entry) -> (u64, u64)) -> Table {
        let mut table = self.table.clone();
        for entry in &mut table.partitions {
            let (start, end) = place(entry);
            (entry.start, entry.size) = (start, end.saturating_sub(start));
        }
        // An empty one beyond the new disk's end.
        table
            .partitions
            .retain(|entry| entry.size > 0 || !entry.is_extended());
        table
    }

    fn fit(&self, table: Table, resize: Option<Resize>) -> Fit {
        let mut fit = Fit::unchanged(self.manifest);
        for (area, place) in self.manifest.areas.iter().zip(&mut fit.places) {
            let AreaRole::Partition(number) = area.role else {
                continue;
            };
            let entry = table.partitions.iter().find(|entry| entry.number == number);
            if let Some(entry) = entry {
                *place = bytes(entry, &table);
            }
        }
        Fit {
            table: Some(table),
            resize,
            ..fit
        }
    }
}
