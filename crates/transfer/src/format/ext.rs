//! ext2, ext3 and ext4. See <https://docs.kernel.org/filesystems/ext4/>.
//!
//! All features are given by name after `none`, and the configuration that
//! mke2fs reads is our own: what the target's release thinks right has no say.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use p2v_backup::allocation::fields::LittleEndian;
use p2v_backup::window::Window;
use p2v_sys::Cmd;

use super::Identity;
use super::label;
use super::options::{self, Shape, push};

/// Features by their bit and mke2fs's name. What is not here was never made by
/// mke2fs, or cannot be kept.
const COMPATIBLE: [(u32, &str); 8] = [
    (0x4, "has_journal"),
    (0x8, "ext_attr"),
    (0x10, "resize_inode"),
    (0x20, "dir_index"),
    (0x200, "sparse_super2"),
    (0x400, "fast_commit"),
    (0x800, "stable_inodes"),
    (0x1000, "orphan_file"),
];
const INCOMPATIBLE: [(u32, &str); 11] = [
    (0x2, "filetype"),
    (0x10, "meta_bg"),
    (0x40, "extent"),
    (0x80, "64bit"),
    (0x100, "mmp"),
    (0x200, "flex_bg"),
    (0x400, "ea_inode"),
    (0x2000, "metadata_csum_seed"),
    (0x4000, "large_dir"),
    (0x8000, "inline_data"),
    (0x2_0000, "casefold"),
];
const READ_ONLY: [(u32, &str); 11] = [
    (0x1, "sparse_super"),
    (0x2, "large_file"),
    (0x8, "huge_file"),
    (0x10, "uninit_bg"),
    (0x20, "dir_nlink"),
    (0x40, "extra_isize"),
    (0x100, "quota"),
    (0x200, "bigalloc"),
    (0x400, "metadata_csum"),
    (0x2000, "project"),
    (0x8000, "verity"),
];

/// Bits that say how the filesystem is just now, not what it is: the old
/// preallocation and snapshots' bitmaps, recovery, orphans.
const PASSING: [u32; 3] = [0x1 | 0x2 | 0x100, 0x4, 0x4 | 0x1_0000];

const ENCRYPT: u32 = 0x1_0000;
const FLEX_BG: u32 = 0x200;
const CASEFOLD: u32 = 0x2_0000;
const QUOTA: u32 = 0x100;
const BIGALLOC: u32 = 0x200;

/// Mount options that the superblock can hold, by tune2fs's name.
const MOUNT_OPTIONS: [(u32, &str); 9] = [
    (0x1, "debug"),
    (0x2, "bsdgroups"),
    (0x4, "user_xattr"),
    (0x8, "acl"),
    (0x10, "uid16"),
    (0x100, "nobarrier"),
    (0x200, "block_validity"),
    (0x400, "discard"),
    (0x800, "nodelalloc"),
];

/// What `options` may give: see mke2fs(8), but for `-o`, which stands for the
/// mount options that the superblock holds, in tune2fs(8)'s words.
const GRAMMAR: &[(&str, Shape)] = &[
    ("-b", Shape::Number),
    ("-I", Shape::Number),
    ("-i", Shape::Number),
    ("-C", Shape::Number),
    ("-G", Shape::Number),
    ("-m", Shape::Fraction),
    ("-e", Shape::Word(&["continue", "remount-ro", "panic"])),
    ("-O", Shape::Words(FEATURE_NAMES)),
    ("-o", Shape::Words(MOUNT_OPTION_NAMES)),
    (
        "-E",
        Shape::Beginning(&["quotatype=", "encoding=utf8", "encoding_flags=strict"]),
    ),
];

const FEATURE_NAMES: &[&str] = &{
    let mut names = ["none"; 31];
    let mut at = 0;
    while at < 8 {
        names[at] = COMPATIBLE[at].1;
        at += 1;
    }
    while at < 19 {
        names[at] = INCOMPATIBLE[at - 8].1;
        at += 1;
    }
    while at < 30 {
        names[at] = READ_ONLY[at - 19].1;
        at += 1;
    }
    names
};

const MOUNT_OPTION_NAMES: &[&str] = &[
    "none",
    "debug",
    "bsdgroups",
    "user_xattr",
    "acl",
    "uid16",
    "nobarrier",
    "block_validity",
    "discard",
    "nodelalloc",
    "journal_data",
    "journal_data_ordered",
    "journal_data_writeback",
];

/// mke2fs's own bounds of bytes an inode.
pub const INODE_RATIOS: std::ops::RangeInclusive<u64> = 1024..=64 << 20;

/// What mke2fs must be told.
pub fn options(window: &Window) -> Result<Vec<String>> {
    let bytes = window.read(1024, 1024).context("reading its superblock")?;
    let fields = LittleEndian(&bytes);
    ensure!(fields.u16(0x38)? == 0xef53, "it has no superblock");
    let log_block = fields.u32(0x18)?;
    ensure!(log_block <= 6, "its block size is wrong");
    let block = 1024_u64 << log_block;
    let sets = feature_sets(fields)?;
    let mut options = Vec::new();
    push(&mut options, "-b", block);
    push(&mut options, "-I", inode_size(fields)?);
    push(&mut options, "-i", inode_ratio(fields, block, sets[1])?);
    push(&mut options, "-m", reserved_percent(fields, sets[1])?);
    push(&mut options, "-e", on_errors(fields)?);
    if sets[1] & FLEX_BG != 0 {
        let log = fields.u8(0x174)?;
        ensure!(log < 31, "its groups of groups are too large");
        push(&mut options, "-G", 1_u64 << log);
    }
    if sets[2] & BIGALLOC != 0 {
        let log = fields.u32(0x1c)?;
        ensure!((log_block..=19).contains(&log), "its cluster size is wrong");
        push(&mut options, "-C", 1024_u64 << log);
    }
    push(&mut options, "-O", feature_names(sets));
    let extended = extended(fields, sets)?;
    if !extended.is_empty() {
        push(&mut options, "-E", extended.join(","));
    }
    push(&mut options, "-o", mount_options(fields.u32(0x100)?));
    Ok(options)
}

/// compat, incompat and ro_compat, without what passes.
fn feature_sets(fields: LittleEndian) -> Result<[u32; 3]> {
    if fields.u32(0x4c)? == 0 {
        // The first revision had none. It is not made any more; what has no
        // features can be read by the same systems.
        return Ok([0; 3]);
    }
    let sets = [fields.u32(0x5c)?, fields.u32(0x60)?, fields.u32(0x64)?];
    if sets[1] & ENCRYPT != 0 {
        bail!(
            "it has encrypted directories (the feature encrypt), which would not be encrypted \
             any more, or not be readable, when files are copied: move what is in them by other \
             means, then make a filesystem without that feature"
        );
    }
    let known = [&COMPATIBLE[..], &INCOMPATIBLE, &READ_ONLY];
    let names = ["compat", "incompat", "ro_compat"];
    let mut kept = [0; 3];
    for at in 0..3 {
        let mask = known[at].iter().fold(0, |mask, (bit, _)| mask | bit);
        kept[at] = sets[at] & mask;
        let unknown = sets[at] & !mask & !PASSING[at];
        ensure!(
            unknown == 0,
            "it has features that no mke2fs makes ({} {unknown:#x})",
            names[at]
        );
    }
    Ok(kept)
}

fn feature_names(sets: [u32; 3]) -> String {
    let tables = [&COMPATIBLE[..], &INCOMPATIBLE, &READ_ONLY];
    let mut names = vec!["none"];
    for (set, table) in sets.iter().zip(tables) {
        names.extend(
            table
                .iter()
                .filter(|(bit, _)| set & bit != 0)
                .map(|(_, name)| name),
        );
    }
    names.join(",")
}

fn inode_size(fields: LittleEndian) -> Result<u16> {
    let size = match fields.u32(0x4c)? {
        0 => 128,
        _ => fields.u16(0x58)?,
    };
    ensure!(
        size.is_power_of_two() && (128..=32768).contains(&size),
        "its inode size is wrong"
    );
    Ok(size)
}

fn blocks(fields: LittleEndian, incompatible: u32, low: usize, high: usize) -> Result<u64> {
    let high = if incompatible & 0x80 == 0 {
        0
    } else {
        fields.u32(high)?
    };
    Ok(u64::from(high) << 32 | u64::from(fields.u32(low)?))
}

fn inode_ratio(fields: LittleEndian, block: u64, incompatible: u32) -> Result<u64> {
    let bytes = blocks(fields, incompatible, 0x4, 0x150)?.saturating_mul(block);
    let inodes = u64::from(fields.u32(0)?);
    ensure!(inodes > 0 && bytes > 0, "it has no inodes");
    let (least, most) = INODE_RATIOS.into_inner();
    Ok((bytes / inodes).clamp(least, most))
}

/// With two decimals, as far as mke2fs goes.
fn reserved_percent(fields: LittleEndian, incompatible: u32) -> Result<String> {
    let all = u128::from(blocks(fields, incompatible, 0x4, 0x150)?.max(1));
    let reserved = u128::from(blocks(fields, incompatible, 0x8, 0x154)?);
    let hundredths = ((reserved * 10_000 + all / 2) / all).min(5000);
    Ok(format!("{}.{:02}", hundredths / 100, hundredths % 100))
}

fn on_errors(fields: LittleEndian) -> Result<&'static str> {
    Ok(match fields.u16(0x3c)? {
        2 => "remount-ro",
        3 => "panic",
        _ => "continue",
    })
}

/// Quota files by whose quota they keep, and the encoding of names.
fn extended(fields: LittleEndian, sets: [u32; 3]) -> Result<Vec<String>> {
    let mut extended = Vec::new();
    if sets[2] & QUOTA != 0 {
        let kinds = [
            (0x240, "usrquota"),
            (0x244, "grpquota"),
            (0x26c, "prjquota"),
        ];
        let mut kept = Vec::new();
        for (at, kind) in kinds {
            if fields.u32(at)? != 0 {
                kept.push(kind);
            }
        }
        if !kept.is_empty() {
            extended.push(format!("quotatype={}", kept.join(":")));
        }
    }
    if sets[1] & CASEFOLD != 0 {
        match fields.u16(0x27c)? {
            1 => extended.push("encoding=utf8-12.1".to_owned()),
            other => bail!("its names have the unknown encoding {other}"),
        }
        if fields.u16(0x27e)? & 1 != 0 {
            extended.push("encoding_flags=strict".to_owned());
        }
    }
    Ok(extended)
}

fn mount_options(bits: u32) -> String {
    let set = MOUNT_OPTIONS.iter().filter(|(bit, _)| bits & bit != 0);
    let mut names: Vec<_> = set.map(|(_, name)| *name).collect();
    match bits & 0x60 {
        0x20 => names.push("journal_data"),
        0x40 => names.push("journal_data_ordered"),
        0x60 => names.push("journal_data_writeback"),
        _ => {}
    }
    if names.is_empty() {
        names.push("none");
    }
    names.join(",")
}

/// Fails if an option could not have come from [`options`].
pub fn check(given: &[String]) -> Result<()> {
    options::check(given, GRAMMAR)?;
    for (flag, range) in [
        ("-b", 1024..=65536_u64),
        ("-I", 128..=32768),
        ("-i", INODE_RATIOS),
    ] {
        let value = options::value(given, flag).with_context(|| format!("{flag} is missing"))?;
        ensure!(
            value.parse().is_ok_and(|number| range.contains(&number)),
            "{value} is out of range for {flag}"
        );
    }
    let features = options::value(given, "-O").context("-O is missing")?;
    // Else it would add to what mke2fs has by itself.
    ensure!(
        features.split(',').next() == Some("none"),
        "the features (-O) must begin with none"
    );
    Ok(())
}

/// Makes it.
pub fn make(given: &[String], device: &Path, identity: &Identity, doing: &str) -> Result<()> {
    let mount_options = options::value(given, "-o").unwrap_or("none");
    let config = configuration(mount_options).context("making mke2fs's configuration")?;
    let place = format!("/proc/self/fd/{}", config.as_raw_fd());
    let mut command = Cmd::new("mke2fs", doing)
        .env("MKE2FS_CONFIG", place)
        .args(["-F", "-q"]);
    let mut extended = vec![EXTENDED];
    for (flag, value) in options::pairs(given)? {
        match flag {
            "-E" => extended.push(value),
            "-o" => {}
            _ => command = command.args([flag, value]),
        }
    }
    command = command.args(["-E", &extended.join(",")]);
    if let Some(uuid) = &identity.uuid {
        command = command.args(["-U", uuid]);
    }
    if let Some(name) = &identity.label {
        ensure!(
            !label::too_long(name, 16),
            "{doing}: its label {name:?} has more than 16 bytes"
        );
        command = command.arg("-L").arg(label::os(name));
    }
    command.arg(device).run()
}

/// Inode tables are zeroed later, by the kernel: it would take long on a large
/// disk. Not so the journal: one of an earlier try, which had the same UUID,
/// must not be taken for this one's.
const EXTENDED: &str = "lazy_itable_init=1,lazy_journal_init=0,nodiscard";

/// mke2fs takes the mount options from its configuration alone. Left open
/// across exec: mke2fs reaches it as a file of its own.
fn configuration(mount_options: &str) -> Result<File> {
    // Quoted, for there may be none.
    let mount_options = mount_options.trim_start_matches("none");
    let mut file = File::from(memfd_create(c"mke2fs.conf", MFdFlags::empty())?);
    write!(
        file,
        "[defaults]\n\tbase_features = none\n\tenable_periodic_fsck = 0\n\
         \tdefault_mntopts = \"{mount_options}\"\n\
         [fs_types]\n\text2 = {{\n\t}}\n\tfloppy = {{\n\t}}\n\tsmall = {{\n\t}}\n\
         \tbig = {{\n\t}}\n\thuge = {{\n\t}}\n"
    )?;
    Ok(file)
}
