//! Btrfs on one device. See <https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html>.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use p2v_backup::allocation::fields::LittleEndian;
use p2v_backup::window::Window;
use p2v_sys::Cmd;

use super::Identity;
use super::label;
use super::options::{self, Shape, push};
use super::version::{self, Version};

/// What may be told to mkfs.btrfs.
const GRAMMAR: &[(&str, Shape)] = &[
    ("-n", Shape::Number),
    ("-s", Shape::Number),
    ("-m", Shape::Word(&["single", "dup"])),
    ("-d", Shape::Word(&["single", "dup"])),
    ("--csum", Shape::Word(&CHECKSUMS)),
    ("-O", Shape::Words(FEATURE_NAMES)),
];

const CHECKSUMS: [&str; 4] = ["crc32c", "xxhash", "sha256", "blake2"];

/// Features that mkfs makes or leaves out, by incompat bit.
const INCOMPATIBLE: [(u64, &str); 4] = [
    (0x4, "mixed-bg"),
    (0x40, "extref"),
    (0x100, "skinny-metadata"),
    (0x200, "no-holes"),
];
/// And by compat_ro bit.
const READ_ONLY: [(u64, &str); 2] = [(0x1, "free-space-tree"), (0x8, "block-group-tree")];

const FEATURE_NAMES: &[&str] = &[
    "mixed-bg",
    "^mixed-bg",
    "extref",
    "^extref",
    "skinny-metadata",
    "^skinny-metadata",
    "no-holes",
    "^no-holes",
    "free-space-tree",
    "^free-space-tree",
    "block-group-tree",
    "^block-group-tree",
];

/// Bits that come and go with what is stored, or that only tell how the
/// filesystem is named: mixed backrefs, default subvolume, lzo, zstd, big
/// metadata, metadata uuid, simple quotas.
const PASSING_INCOMPATIBLE: u64 = 0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x400 | 0x1_0000;
/// The free space tree's validity, verity.
const PASSING_READ_ONLY: u64 = 0x2 | 0x4;
const MIXED: u64 = 0x4;
/// raid56, raid1c34, raid stripe tree
const RAID: u64 = 0x80 | 0x800 | 0x4000;

/// A chunk's profile.
const DUP: u64 = 0x20;
const CONTENT: u64 = 0x7;

/// Since when mkfs.btrfs takes all features by -O; before, some are "runtime
/// features", which -R takes, and there is no block group tree.
const ONE_LIST: Version = (6, 3);

/// What mkfs.btrfs must be told.
pub fn options(window: &Window) -> Result<Vec<String>> {
    let bytes = window
        .read(64 << 10, 4096)
        .context("reading its superblock")?;
    let fields = LittleEndian(&bytes);
    ensure!(fields.bytes(64)? == *b"_BHRfS_M", "it has no superblock");
    let devices = fields.u64(136)?;
    ensure!(
        devices == 1,
        "it lies on {devices} devices, and only those on one can be moved: remove the others \
         (btrfs device remove) first"
    );
    let (read_only, incompatible) = (fields.u64(180)?, fields.u64(188)?);
    let features = features(read_only, incompatible)?;
    let checksum = usize::from(fields.u16(196)?);
    let Some(checksum) = CHECKSUMS.get(checksum) else {
        bail!("its checksums are of the unknown kind {checksum}");
    };
    let metadata = match system_profile(fields)? {
        0 => "single",
        DUP => "dup",
        other => bail!(
            "its metadata have the profile {other:#x}; only single and dup can be moved: convert \
             it (btrfs balance start -mconvert=dup) first"
        ),
    };
    // Mixed groups have one profile.
    let data = if incompatible & MIXED != 0 {
        metadata
    } else {
        "single"
    };
    let mut options = Vec::new();
    push(&mut options, "-n", fields.u32(148)?);
    push(&mut options, "-s", fields.u32(144)?);
    push(&mut options, "--csum", checksum);
    push(&mut options, "-m", metadata);
    push(&mut options, "-d", data);
    push(&mut options, "-O", features);
    check(&options).map(|()| options)
}

fn features(read_only: u64, incompatible: u64) -> Result<String> {
    ensure!(
        incompatible & RAID == 0,
        "it has RAID profiles: convert it to single or dup (btrfs balance) first"
    );
    let mask = |table: &[(u64, &str)]| table.iter().fold(0, |mask, (bit, _)| mask | bit);
    let unknown = (
        read_only & !mask(&READ_ONLY) & !PASSING_READ_ONLY,
        incompatible & !mask(&INCOMPATIBLE) & !PASSING_INCOMPATIBLE,
    );
    ensure!(
        unknown == (0, 0),
        "it has features that are not known (compat_ro {:#x}, incompat {:#x})",
        unknown.0,
        unknown.1
    );
    let word = |set: u64| {
        move |(bit, name): &(u64, &str)| match set & bit {
            0 => format!("^{name}"),
            _ => (*name).to_owned(),
        }
    };
    let words = INCOMPATIBLE.iter().map(word(incompatible));
    let words: Vec<_> = words.chain(READ_ONLY.iter().map(word(read_only))).collect();
    Ok(words.join(","))
}

/// The profile of the chunk that the superblock itself lists first: mkfs and
/// balance give all metadata the same.
fn system_profile(fields: LittleEndian) -> Result<u64> {
    const LISTED: usize = 811;
    const KEY: usize = 17;
    ensure!(fields.u32(160)? as usize > KEY + 48, "it lists no chunks");
    Ok(fields.u64(LISTED + KEY + 24)? & !CONTENT)
}

/// Fails if an option could not have come from [`options`].
pub fn check(given: &[String]) -> Result<()> {
    options::check(given, GRAMMAR)
}

/// Makes it.
pub fn make(given: &[String], device: &Path, identity: &Identity, doing: &str) -> Result<()> {
    let version = version::of("mkfs.btrfs")?;
    let mut command = Cmd::new("mkfs.btrfs", doing).args(["-f", "-q", "--nodiscard"]);
    for (flag, value) in options::pairs(given)? {
        if flag != "-O" {
            command = command.args([flag, value]);
            continue;
        }
        // The feature alone would be a mark that nothing comes of.
        if value.split(',').any(|feature| feature == "mixed-bg") {
            command = command.arg("--mixed");
        }
        for (flag, features) in feature_options(version, value) {
            if !features.is_empty() {
                command = command.args([flag, &features.join(",")]);
            }
        }
    }
    if let Some(uuid) = &identity.uuid {
        command = command.args(["-U", uuid]);
    }
    if let Some(name) = &identity.label {
        ensure!(
            !label::too_long(name, 255),
            "{doing}: its label is too long"
        );
        command = command.arg("-L").arg(label::os(name));
    }
    command.arg(device).run()
}

/// The features for this version of mkfs.btrfs, by the option that takes them.
fn feature_options(version: Version, features: &str) -> [(&'static str, Vec<&str>); 2] {
    let name = |word: &str| word.trim_start_matches('^').to_owned();
    let mut all: Vec<_> = features.split(',').collect();
    if version >= ONE_LIST {
        return [("-O", all), ("-R", Vec::new())];
    }
    if all.contains(&"block-group-tree") {
        tracing::warn!(
            "this mkfs.btrfs does not know block-group-tree: the new filesystem goes without it"
        );
    }
    all.retain(|word| name(word) != "block-group-tree");
    let (runtime, fixed) = all
        .into_iter()
        .partition(|word| name(word) == "free-space-tree");
    [("-O", fixed), ("-R", runtime)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_go_to_the_option_that_takes_them() {
        let all = "^mixed-bg,extref,^no-holes,free-space-tree,^block-group-tree";
        let [fixed, runtime] = feature_options((6, 2), all);
        assert_eq!(fixed, ("-O", vec!["^mixed-bg", "extref", "^no-holes"]));
        assert_eq!(runtime, ("-R", vec!["free-space-tree"]));
        let [fixed, runtime] = feature_options((6, 14), all);
        assert_eq!(fixed.1.join(","), all);
        assert!(runtime.1.is_empty());
    }
}
