//! XFS, versions 4 and 5. See the kernel's fs/xfs/libxfs/xfs_format.h.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use p2v_backup::allocation::{self, fields::BigEndian};
use p2v_backup::window::Window;
use p2v_sys::Cmd;

use super::Identity;
use super::options::{self, Shape, push};
use super::version::{self, Version};
use super::{label, size};

/// What may be told to mkfs.xfs.
const GRAMMAR: &[(&str, Shape)] = &[
    ("-b", Shape::Settings(&["size"])),
    ("-s", Shape::Settings(&["size"])),
    (
        "-m",
        Shape::Settings(&[
            "crc",
            "finobt",
            "rmapbt",
            "reflink",
            "inobtcount",
            "bigtime",
        ]),
    ),
    (
        "-i",
        Shape::Settings(&[
            "size",
            "attr",
            "projid32bit",
            "sparse",
            "nrext64",
            "exchange",
            "maxpct",
        ]),
    ),
    (
        "-n",
        Shape::Beginning(&[
            "size=",
            "version=2",
            "version=ci",
            "ftype=0",
            "ftype=1",
            "parent=0",
            "parent=1",
        ]),
    ),
    ("-l", Shape::Settings(&["version", "lazy-count"])),
];

/// Features that files do not need, with the first mkfs.xfs that knows them:
/// an older one leaves them out. What was there before 4.2 is not listed.
const SINCE: [(&str, Version); 9] = [
    ("sparse", (4, 2)),
    ("rmapbt", (4, 8)),
    ("reflink", (4, 9)),
    ("inobtcount", (5, 10)),
    ("bigtime", (5, 10)),
    ("nrext64", (5, 19)),
    ("exchange", (6, 10)),
    ("parent", (6, 10)),
    ("metadir", (6, 13)),
];

/// Smaller ones are made only when it is insisted on.
const SMALL: u64 = 300 << 20;
const REFUSES_SMALL: Version = (5, 19);

/// What mkfs.xfs must be told.
pub fn options(window: &Window) -> Result<Vec<String>> {
    let bytes = window.read(0, 512).context("reading its superblock")?;
    let fields = BigEndian(&bytes);
    ensure!(fields.bytes(0)? == *b"XFSB", "it has no superblock");
    let (block, sector) = (fields.u32(4)?, fields.u16(102)?);
    ensure!(
        block.is_power_of_two() && (512..=65536).contains(&block),
        "its block size is wrong"
    );
    ensure!(
        sector.is_power_of_two() && (512..=32768).contains(&sector),
        "its sector size is wrong"
    );
    ensure!(
        fields.u64(16)? == 0,
        "it has a realtime section, which cannot be moved"
    );
    let version = fields.u16(100)?;
    let own = match version & 0xf {
        4 => version_four(fields, version)?,
        5 => version_five(fields)?,
        other => bail!("it is of version {other}"),
    };
    let inode = fields.u16(104)?;
    let directory = fields.u8(192)?;
    ensure!(directory < 8, "its directories' block size is wrong");
    let names = if version & 0x4000 != 0 {
        "version=ci"
    } else {
        "version=2"
    };
    let mut options = Vec::new();
    push(&mut options, "-b", format!("size={block}"));
    push(&mut options, "-s", format!("size={sector}"));
    push(&mut options, "-m", own.metadata);
    push(&mut options, "-i", format!("size={inode},{}", own.inodes));
    push(
        &mut options,
        "-n",
        format!("size={},{names},{}", block << directory, own.names),
    );
    push(
        &mut options,
        "-l",
        format!("version={},lazy-count={}", own.log, own.lazy),
    );
    check(&options).map(|()| options)
}

/// What the two versions tell in different ways.
struct Own {
    metadata: String,
    inodes: String,
    names: String,
    log: u8,
    lazy: u8,
}

fn version_four(fields: BigEndian, version: u16) -> Result<Own> {
    let more = if version & 0x8000 != 0 {
        fields.u32(200)?
    } else {
        0
    };
    let bit = |bit: u32| u8::from(more & bit != 0);
    Ok(Own {
        metadata: "crc=0,finobt=0,rmapbt=0,reflink=0,inobtcount=0,bigtime=0".to_owned(),
        inodes: format!(
            "attr={},projid32bit={},sparse=0,nrext64=0",
            1 + bit(0x8),
            bit(0x80)
        ),
        names: format!("ftype={}", bit(0x200)),
        log: 1 + u8::from(version & 0x400 != 0),
        lazy: bit(0x2),
    })
}

fn version_five(fields: BigEndian) -> Result<Own> {
    let (read_only, incompatible) = allocation::xfs_features(fields)?;
    let bit = |set: u32, bit: u32| u8::from(set & bit != 0);
    Ok(Own {
        metadata: format!(
            "crc=1,finobt={},rmapbt={},reflink={},inobtcount={},bigtime={}",
            bit(read_only, 1),
            bit(read_only, 2),
            bit(read_only, 4),
            bit(read_only, 8),
            bit(incompatible, 8)
        ),
        inodes: format!(
            "sparse={},nrext64={},exchange={}",
            bit(incompatible, 2),
            bit(incompatible, 0x20),
            bit(incompatible, 0x40)
        ),
        names: format!(
            "ftype={},parent={}",
            bit(incompatible, 1),
            bit(incompatible, 0x80)
        ),
        log: 2,
        lazy: 1,
    })
}

/// Fails if an option could not have come from [`options`].
pub fn check(given: &[String]) -> Result<()> {
    options::check(given, GRAMMAR)
}

/// Makes it.
pub fn make(given: &[String], device: &Path, identity: &Identity, doing: &str) -> Result<()> {
    let version = version::of("mkfs.xfs")?;
    let mut command = Cmd::new("mkfs.xfs", doing).args(["-f", "-q", "-K"]);
    let mut uuid = identity.uuid.as_ref().map(|uuid| format!("uuid={uuid}"));
    for (flag, value) in options::pairs(given)? {
        let mut settings = known_to(version, flag, value);
        if flag == "-m" {
            settings.extend(uuid.take());
        }
        if !settings.is_empty() {
            command = command.args([flag, &settings.join(",")]);
        }
    }
    if let Some(uuid) = uuid {
        command = command.args(["-m", &uuid]);
    }
    if let Some(name) = &identity.label {
        ensure!(
            !label::too_long(name, 12),
            "{doing}: its label {name:?} has more than 12 bytes"
        );
        command = command.arg("-L").arg(label::os(name));
    }
    let file = std::fs::File::open(device).with_context(|| doing.to_owned())?;
    if version >= REFUSES_SMALL && size(&file).with_context(|| doing.to_owned())? < SMALL {
        command = command.arg("--unsupported");
    }
    command.arg(device).run()
}

/// The settings of one option without those that this mkfs.xfs does not know.
/// Where it does not, there is no such feature by default; and none of them is
/// needed to hold the same files.
fn known_to(version: Version, flag: &str, value: &str) -> Vec<String> {
    let known = |setting: &&str| {
        let name = setting.split('=').next().unwrap_or_default();
        let since = SINCE.iter().find(|(other, _)| *other == name);
        let known = since.is_none_or(|(_, since)| version >= *since);
        if !known && setting.ends_with("=1") {
            tracing::warn!(
                "this mkfs.xfs does not know {flag} {name}: the new filesystem goes without it"
            );
        }
        known
    };
    value.split(',').filter(known).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_mkfs_is_not_told_what_it_does_not_know() {
        let value = "size=512,sparse=1,nrext64=0,exchange=1";
        assert_eq!(
            known_to((6, 1), "-i", value),
            ["size=512", "sparse=1", "nrext64=0"]
        );
        assert_eq!(known_to((5, 10), "-i", value), ["size=512", "sparse=1"]);
        assert_eq!(known_to((6, 13), "-i", value).join(","), value);
    }
}
