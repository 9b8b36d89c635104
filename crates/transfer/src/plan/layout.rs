//! Where partitions lie on a disk: in the order that they had, each at a whole
//! MiB, logical ones within their extended one.

use anyhow::{Result, bail, ensure};
use p2v_sys::partition::table::{Entry, Table};

/// Partitions begin at multiples of it, in bytes; the first not before it.
pub const STEP: u64 = 1 << 20;

/// Bytes of a GPT's entries, at the disk's end and at its start.
const GPT_ENTRIES: u64 = 16 << 10;

/// An MBR counts sectors in 32 bits.
const MOST_DOS_SECTORS: u64 = u32::MAX as u64;

/// A disk to put partitions on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes.
    pub size: u64,
    /// Bytes in a logical sector.
    pub sector: u64,
}

/// The order in which partitions lie: primary ones, or the extended one with
/// its logical ones. Each is its number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unit {
    Primary(u32),
    Extended(u32, Vec<u32>),
}

impl Space {
    /// The byte where partitions of that table must end.
    pub fn end(&self, label: &str) -> u64 {
        let sectors = self.size / self.sector;
        let last = match label {
            // The header's copy takes a sector more.
            "gpt" => sectors.saturating_sub(GPT_ENTRIES.div_ceil(self.sector) + 1),
            _ => sectors.min(MOST_DOS_SECTORS),
        };
        last.saturating_mul(self.sector)
    }

    /// The byte where the first can begin.
    pub fn start(&self, table: &Table) -> u64 {
        let first = table
            .first_lba
            .unwrap_or(0)
            .saturating_mul(table.sector_size);
        let least = (GPT_ENTRIES.div_ceil(self.sector) + 2) * self.sector;
        let start = first.max(least).max(STEP);
        start.checked_next_multiple_of(STEP).unwrap_or(u64::MAX)
    }

    /// The bytes that all partitions of `table` which are in `kept` can have,
    /// when each is a multiple of [`STEP`].
    pub fn room(&self, table: &Table, kept: &[u32]) -> Result<u64> {
        let units = units(table, kept)?;
        let gaps: usize = units.iter().map(Unit::gaps).sum();
        let end = self.end(&table.label) / STEP * STEP;
        let taken = self.start(table).saturating_add(gaps as u64 * STEP);
        Ok(end.saturating_sub(taken))
    }

    /// The table with its partitions of these numbers and sizes in bytes, and
    /// no others.
    ///
    /// # Errors
    /// They do not fit; the table has partitions that lie in each other.
    pub fn place(&self, table: &Table, sizes: &[(u32, u64)]) -> Result<Table> {
        let kept: Vec<_> = sizes.iter().map(|(number, _)| *number).collect();
        let size = |number: u32| {
            let found = sizes.iter().find(|(other, _)| *other == number);
            found.map_or(0, |(_, size)| *size)
        };
        let mut at = self.start(table);
        let mut places = Vec::new();
        let mut put = |number: u32, at: &mut u64| {
            places.push((number, *at, size(number)));
            let end = at.saturating_add(size(number));
            *at = end.checked_next_multiple_of(STEP).unwrap_or(u64::MAX);
        };
        let mut containers = Vec::new();
        for unit in units(table, &kept)? {
            match unit {
                Unit::Primary(number) => put(number, &mut at),
                Unit::Extended(container, logical) => {
                    let start = at;
                    for number in logical {
                        // Its own small table lies before it.
                        at = at.saturating_add(STEP);
                        put(number, &mut at);
                    }
                    containers.push((container, start, at.saturating_sub(start)));
                }
            }
        }
        places.extend(containers);
        let end = self.end(&table.label);
        for (number, start, size) in &mut places {
            // An extended one ends at a whole MiB, but not behind the disk.
            let is_container = table
                .partitions
                .iter()
                .any(|e| e.number == *number && e.is_extended());
            if is_container {
                *size = (*size).min(end.saturating_sub(*start));
            }
            ensure!(
                start.saturating_add(*size) <= end,
                "partition {number} would end behind the disk"
            );
        }
        Ok(self.table(table, &places))
    }

    fn table(&self, table: &Table, places: &[(u32, u64, u64)]) -> Table {
        let entry = |entry: &Entry| {
            let place = places.iter().find(|(number, _, _)| *number == entry.number);
            place.map(|(_, start, size)| Entry {
                start: start / self.sector,
                size: size.div_ceil(self.sector),
                ..entry.clone()
            })
        };
        // Where sectors differ, sfdisk's own choice is right.
        let first = table.first_lba.filter(|_| table.sector_size == self.sector);
        Table {
            sector_size: self.sector,
            first_lba: first,
            partitions: table.partitions.iter().filter_map(entry).collect(),
            ..table.clone()
        }
    }
}

impl Unit {
    /// How many STEPs it takes beside its partitions.
    fn gaps(&self) -> usize {
        match self {
            Self::Primary(_) => 0,
            Self::Extended(_, logical) => logical.len(),
        }
    }
}

/// The partitions in `kept` by their place on the disk.
fn units(table: &Table, kept: &[u32]) -> Result<Vec<Unit>> {
    check_apart(table)?;
    let mut entries: Vec<_> = table.partitions.iter().collect();
    entries.sort_by_key(|entry| (entry.start, !entry.is_extended()));
    let logical = |entry: &Entry| is_logical(table, entry);
    let mut units = Vec::new();
    for entry in &entries {
        if entry.is_extended() && table.label == "dos" {
            let inside = entries.iter().filter(|other| logical(other));
            let mut inside: Vec<_> = inside.map(|other| other.number).collect();
            inside.retain(|number| kept.contains(number));
            if !inside.is_empty() {
                units.push(Unit::Extended(entry.number, inside));
            }
        } else if !logical(entry) && kept.contains(&entry.number) {
            units.push(Unit::Primary(entry.number));
        }
    }
    Ok(units)
}

/// Whether it lies in an MBR's extended partition.
pub fn is_logical(table: &Table, entry: &Entry) -> bool {
    table.label == "dos" && entry.number >= 5
}

/// Fails where partitions lie in each other: nobody can tell what is whose.
pub fn check_apart(table: &Table) -> Result<()> {
    let extended: Vec<_> = table
        .partitions
        .iter()
        .filter(|entry| entry.is_extended() && table.label == "dos")
        .collect();
    ensure!(extended.len() <= 1, "it has two extended partitions");
    let mut sorted: Vec<_> = table
        .partitions
        .iter()
        .filter(|entry| !extended.iter().any(|other| other.number == entry.number))
        .collect();
    sorted.sort_by_key(|entry| entry.start);
    for pair in sorted.windows(2) {
        ensure!(
            pair[0].end() <= pair[1].start,
            "its partitions {} and {} lie in each other",
            pair[0].number,
            pair[1].number
        );
    }
    for entry in sorted {
        let Some(extended) = extended.first() else {
            ensure!(
                !is_logical(table, entry),
                "its partition {} is a logical one, and there is no extended one",
                entry.number
            );
            continue;
        };
        let inside = entry.start > extended.start && entry.end() <= extended.end();
        let outside = entry.end() <= extended.start || entry.start >= extended.end();
        let right = if is_logical(table, entry) {
            inside
        } else {
            outside
        };
        if !right {
            bail!(
                "its partition {} lies across the extended one's border",
                entry.number
            );
        }
    }
    let mut numbers: Vec<_> = table.partitions.iter().map(|entry| entry.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    ensure!(
        numbers.len() == table.partitions.len() && numbers.first() != Some(&0),
        "two of its partitions have the same number"
    );
    Ok(())
}
