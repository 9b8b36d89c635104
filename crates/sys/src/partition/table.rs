//! A whole partition table, with all that its format keeps: read from one
//! disk, it can be written to another.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::command::Cmd;
use crate::loopdev::Extent;

/// sfdisk goes no further along a chain of logical partitions.
const MOST_SHOWN: u32 = 60;

/// What a disk says of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It has no partition table.
    Nothing,
    /// It has one that is not known, or cannot be read: why.
    Unreadable(String),
    /// It has this one.
    Table(Table),
}

/// A partition table in the words of sfdisk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its format: `dos` or `gpt`.
    pub label: String,
    /// The disk's identifier: `0x` and eight hex digits, or a GUID.
    pub id: Option<String>,
    /// Bytes in a sector, the unit of what follows.
    pub sector_size: u64,
    /// The first sector that a partition may begin at; a GPT says so.
    pub first_lba: Option<u64>,
    /// The partitions, in the table's order.
    pub partitions: Vec<Entry>,
}

/// A partition of a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its number, from 1; logical partitions count from 5.
    pub number: u32,
    /// First sector.
    pub start: u64,
    /// Length in sectors.
    pub size: u64,
    /// Two hex digits, or a GUID.
    pub kind: String,
    /// Its own UUID, as in PARTUUID=, if the format has one.
    pub uuid: Option<String>,
    /// Its name in a GPT.
    pub name: Option<String>,
    /// Its attributes in a GPT, in sfdisk's words.
    pub attributes: Option<String>,
    /// The MBR's active flag.
    #[serde(default)]
    pub bootable: bool,
}

impl Entry {
    /// Where it lies on a disk whose sectors have `sector_size` bytes. Numbers
    /// past all bounds become the largest one.
    pub fn extent(&self, sector_size: u64) -> Extent {
        Extent {
            offset: self.start.saturating_mul(sector_size),
            length: self.size.saturating_mul(sector_size),
        }
    }

    /// The sector after its last.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }

    /// Whether it is the container of an MBR's logical partitions.
    pub fn is_extended(&self) -> bool {
        ["5", "f", "85"].contains(&self.kind.trim_start_matches('0'))
    }
}

impl Table {
    /// The table of the disk or disk image at `path`; `None` if it has none,
    /// or one of another format than `dos` and `gpt`.
    ///
    /// # Errors
    /// The disk cannot be read, or its table makes no sense, which
    /// [`Table::find`] takes for an answer.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let doing = format!("reading the partition table of {}", path.display());
        match format_of(path, &doing)? {
            Some(format) if is_known(&format) => read_known(path, &doing).map(Some),
            _ => Ok(None),
        }
    }

    /// Like [`Table::read`], but tells a disk without a table from one whose
    /// table is strange. To be trusted, a table has partitions: an MBR without
    /// any is a boot sector before a filesystem that fills the disk.
    pub fn find(path: &Path) -> Result<Found> {
        let doing = format!("reading the partition table of {}", path.display());
        Ok(match format_of(path, &doing)? {
            None => Found::Unreadable("the signatures at its start contradict each other".into()),
            Some(none) if none.is_empty() => Found::Nothing,
            Some(format) if is_known(&format) => match read_known(path, &doing) {
                Ok(table) => table.judged(),
                Err(error) => Found::Unreadable(format!("{error:#}")),
            },
            Some(format) => {
                Found::Unreadable(format!("its partition table is of the kind {format}"))
            }
        })
    }

    fn judged(self) -> Found {
        let is_dos = self.label == "dos";
        match self.partitions.iter().map(|entry| entry.number).max() {
            None if is_dos => Found::Nothing,
            None => Found::Unreadable("its partition table is empty".to_owned()),
            Some(MOST_SHOWN..) if is_dos => {
                Found::Unreadable("it has more logical partitions than sfdisk shows".to_owned())
            }
            Some(_) => Found::Table(self),
        }
    }

    /// Fails if it could not be written to a disk of `size` bytes: partitions
    /// that lie in each other, or on the table itself. Tried in memory. Only
    /// for sectors of 512 bytes, the only ones that sfdisk knows there.
    pub fn check_writable(&self, size: u64) -> Result<()> {
        if self.sector_size != 512 {
            return Ok(());
        }
        // Left open across exec: sfdisk reaches it as a file of its own.
        let memory = memfd_create(c"partition-table", MFdFlags::empty())
            .context("making room to try a partition table")?;
        let memory = File::from(memory);
        memory
            .set_len(size)
            .context("making room to try a partition table")?;
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        let doing = format!("trying the {} partition table in memory", self.label);
        self.write_as(Path::new(&path), doing)
    }

    /// Writes it to the disk at `path`, whose other bytes stay as they are, and
    /// checks what is there then.
    ///
    /// # Errors
    /// sfdisk failed, or made another table than it was asked for.
    pub fn write(&self, path: &Path) -> Result<()> {
        let doing = format!(
            "writing a {} partition table to {}",
            self.label,
            path.display()
        );
        self.write_as(path, doing)
    }

    fn write_as(&self, path: &Path, doing: String) -> Result<()> {
        Cmd::new("sfdisk", &doing)
            .args(["--quiet", "--no-reread", "--no-tell-kernel"])
            .args(["--wipe=never", "--wipe-partitions=never"])
            .arg(path)
            .stdin(self.script())
            .run()?;
        let places = |table: &Self| -> Vec<_> {
            let place = |entry: &Entry| (entry.number, entry.start, entry.size);
            table.partitions.iter().map(place).collect()
        };
        match Self::read(path)? {
            Some(found) if places(&found) == places(self) => Ok(()),
            _ => bail!("{doing}: sfdisk made another one than it was asked for"),
        }
    }

    /// What sfdisk reads.
    pub(crate) fn script(&self) -> String {
        let mut script = format!("label: {}\nunit: sectors\n", word(&self.label));
        if let Some(id) = &self.id {
            script += &format!("label-id: {}\n", word(id));
        }
        if let Some(first) = self.first_lba {
            script += &format!("first-lba: {first}\n");
        }
        for entry in &self.partitions {
            script += &format!(
                "{} : start={}, size={}, type={}",
                entry.number,
                entry.start,
                entry.size,
                word(&entry.kind)
            );
            if let Some(uuid) = &entry.uuid {
                // An MBR's are made of its id and the number.
                if self.label == "gpt" {
                    script += &format!(", uuid={}", word(uuid));
                }
            }
            for (field, value) in [("name", &entry.name), ("attrs", &entry.attributes)] {
                if let Some(value) = value {
                    script += &format!(", {field}=\"{}\"", quoted(value));
                }
            }
            if entry.bootable {
                script += ", bootable";
            }
            script.push('\n');
        }
        script
    }
}

fn is_known(format: &str) -> bool {
    ["dos", "gpt"].contains(&format)
}

pub(super) fn read_known(path: &Path, doing: &str) -> Result<Table> {
    let text = Cmd::new("sfdisk", doing).arg("--json").arg(path).read()?;
    parse(&text).with_context(|| doing.to_owned())
}

/// blkid's word for the format; empty if there is no table, `None` if it sees
/// more than one filesystem, and then tells nothing.
fn format_of(path: &Path, doing: &str) -> Result<Option<String>> {
    const NOTHING: i32 = 2;
    const AMBIGUOUS: i32 = 8;
    File::open(path).with_context(|| doing.to_owned())?;
    let command = Cmd::new("blkid", doing).args(["--probe", "--output", "value"]);
    let command = command.args(["--match-tag", "PTTYPE"]).arg(path);
    let (status, format) = command.read_answer(&[NOTHING, AMBIGUOUS])?;
    Ok((status != AMBIGUOUS).then_some(format))
}

/// A word that cannot end the line or the field it stands in.
fn word(text: &str) -> String {
    let good = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    text.chars().filter(good).collect()
}

/// A text in sfdisk's quotes: whatever is special becomes `\x` and its hex
/// digits.
fn quoted(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'.' | b'_' | b'-' | b':' | b',' => {
            char::from(byte).to_string()
        }
        _ => format!("\\x{byte:02x}"),
    };
    text.bytes().map(byte).collect()
}

#[derive(Deserialize)]
struct Dump {
    partitiontable: DumpedTable,
}

#[derive(Deserialize)]
struct DumpedTable {
    label: String,
    id: Option<String>,
    device: String,
    sectorsize: Option<u64>,
    firstlba: Option<u64>,
    #[serde(default)]
    partitions: Vec<DumpedEntry>,
}

#[derive(Deserialize)]
struct DumpedEntry {
    node: String,
    start: u64,
    size: u64,
    #[serde(rename = "type")]
    kind: String,
    uuid: Option<String>,
    name: Option<String>,
    attrs: Option<String>,
    #[serde(default)]
    bootable: bool,
}

/// Parses what `sfdisk --json` prints.
pub(crate) fn parse(text: &str) -> Result<Table> {
    let table = serde_json::from_str::<Dump>(text)
        .context("parsing sfdisk's output")?
        .partitiontable;
    let device = table.device;
    let entry = |entry: DumpedEntry| {
        let number = entry.node.strip_prefix(&device);
        let number = number.and_then(|rest| rest.trim_start_matches('p').parse().ok());
        Ok(Entry {
            number: number.with_context(|| format!("looking for a number in {}", entry.node))?,
            start: entry.start,
            size: entry.size,
            kind: entry.kind,
            uuid: entry.uuid,
            name: entry.name.filter(|name| !name.is_empty()),
            attributes: entry.attrs.filter(|attributes| !attributes.is_empty()),
            bootable: entry.bootable,
        })
    };
    Ok(Table {
        label: table.label,
        id: table.id,
        sector_size: table.sectorsize.unwrap_or(512),
        first_lba: table.firstlba,
        partitions: table
            .partitions
            .into_iter()
            .map(entry)
            .collect::<Result<_>>()?,
    })
}

#[cfg(test)]
mod tests;
