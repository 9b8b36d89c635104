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
mod tests {
    use super::*;

    fn disk(script: &str) -> tempfile::NamedTempFile {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(200 << 20).unwrap();
        let make = Cmd::new("sfdisk", "making a table").arg("--quiet");
        make.arg(image.path()).stdin(script).run().unwrap();
        image
    }

    fn copied(table: &Table, size: u64) -> Table {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(size).unwrap();
        table.write(image.path()).unwrap();
        Table::read(image.path()).unwrap().unwrap()
    }

    #[test]
    fn logical_partitions_and_gaps_come_back() {
        let image = disk(
            "label: dos\nlabel-id: 0x12345678\n1 : start=2048, size=20480, type=83, bootable\n\
             2 : start=40960, size=300000, type=5\n5 : start=43008, size=20480, type=82\n\
             6 : start=65536, size=20480, type=83\n",
        );
        let table = Table::read(image.path()).unwrap().unwrap();
        assert_eq!(table.id.as_deref(), Some("0x12345678"));
        let numbers: Vec<_> = table.partitions.iter().map(|p| p.number).collect();
        assert_eq!(numbers, [1, 2, 5, 6]);
        assert!(table.partitions[0].bootable && table.partitions[1].is_extended());
        assert_eq!(copied(&table, 200 << 20), table);
        assert_eq!(copied(&table, 300 << 20), table);
    }

    #[test]
    fn names_attributes_and_numbers_of_a_gpt_come_back() {
        let image = disk(
            "label: gpt\n1 : start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, \
             name=\"a \\x22b\\x22 $(id)\"\n3 : start=8192, size=20480, \
             attrs=\"RequiredPartition LegacyBIOSBootable GUID:63\"\n",
        );
        let table = Table::read(image.path()).unwrap().unwrap();
        assert_eq!(table.partitions[0].name.as_deref(), Some("a \"b\" $(id)"));
        assert_eq!(table.partitions[1].number, 3);
        assert!(table.partitions[1].attributes.is_some());
        assert_eq!(copied(&table, 200 << 20), table);
        assert_eq!(copied(&table, 300 << 20), table);
    }

    #[test]
    fn hostile_numbers_reach_no_sector() {
        let text = |start: &str| {
            format!(
                r#"{{"partitiontable":{{"label":"dos","device":"/d","sectorsize":512,"partitions":
                [{{"node":"/d1","start":{start},"size":1,"type":"83"}}]}}}}"#
            )
        };
        let table = parse(&text("18446744073709551615")).unwrap();
        let entry = &table.partitions[0];
        assert_eq!(entry.extent(512).offset, u64::MAX);
        assert_eq!(entry.end(), u64::MAX);
        assert!(parse(&text("18446744073709551616")).is_err());
        assert!(parse(&text("-1")).is_err());
    }

    #[test]
    fn a_disk_without_a_table_has_none() {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(8 << 20).unwrap();
        assert_eq!(Table::read(image.path()).unwrap(), None);
        let make = Cmd::new("mkfs.ext4", "making a filesystem").arg("-q");
        make.arg(image.path()).run().unwrap();
        assert_eq!(Table::read(image.path()).unwrap(), None);
        assert!(Table::read(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn a_table_that_no_disk_can_have_is_known_beforehand() {
        let image = disk("label: dos\n,20M\n,20M\n");
        let table = Table::read(image.path()).unwrap().unwrap();
        table.check_writable(200 << 20).unwrap();
        let mut overlapping = table.clone();
        overlapping.partitions[1].start -= 2048;
        let mut on_the_table = table.clone();
        on_the_table.partitions[0].start = 0;
        for wrong in [overlapping, on_the_table] {
            let text = format!("{:#}", wrong.check_writable(200 << 20).unwrap_err());
            assert!(text.contains("out of range"), "{text}");
            assert!(!text.contains("/proc/"), "{text}");
        }
        assert!(table.check_writable(30 << 20).is_err());
    }

    #[test]
    fn what_a_stream_says_cannot_leave_its_field() {
        let entry = Entry {
            number: 1,
            start: 2048,
            size: 2048,
            kind: "83\n2 : start=1".to_owned(),
            uuid: None,
            name: Some("\"\n3 : start=1".to_owned()),
            attributes: None,
            bootable: false,
        };
        let table = Table {
            label: "dos".to_owned(),
            id: None,
            sector_size: 512,
            first_lba: None,
            partitions: vec![entry],
        };
        assert_eq!(table.script().lines().count(), 3, "{}", table.script());
    }
}
