//! How large a filesystem must be at least to hold what the source's holds.
//!
//! What a filesystem takes for itself is estimated, on the safe side: too large
//! a demand refuses a disk that is a little too small, too small a demand ends
//! in a full disk after an hour.

use p2v_sys::filesystem::Filesystem;

use super::{Fill, Volume};
use crate::format::Format;

const MIB: u64 = 1 << 20;

/// More inodes than the source has: for the system's own next days.
fn inodes_wanted(inodes: u64) -> u64 {
    inodes.saturating_add(inodes / 20).saturating_add(64)
}

/// A tenth more than is in use.
fn data_wanted(used: u64) -> u64 {
    used.saturating_add(used / 10)
}

/// Bytes for each inode at the least: a group has as many bits for inodes as
/// it has for clusters, or blocks.
fn least_ratio(format: &Format) -> u64 {
    number(format, "-C")
        .or_else(|| number(format, "-b"))
        .unwrap_or(4096)
        .max(1024)
}

fn number(format: &Format, flag: &str) -> Option<u64> {
    format.value(flag)?.parse().ok()
}

/// Bytes for each inode as the format has it.
fn ratio(format: &Format) -> u64 {
    number(format, "-i").unwrap_or(16384).max(1024)
}

/// The bytes that a file volume must have at least. Never more than it had on
/// the source, where it fits as well.
pub fn least(format: &Format, used: u64, inodes: u64, source_size: u64) -> u64 {
    let demand = match format.kind.as_str() {
        "xfs" => xfs(used),
        "btrfs" => btrfs(used),
        _ => ext(format, used, inodes),
    };
    let smallest = Filesystem::from_name(&format.kind).map_or(0, Filesystem::smallest);
    demand.max(smallest).min(source_size)
}

/// As [`least`], for any volume.
pub fn least_of(volume: &Volume) -> u64 {
    match &volume.fill {
        Fill::Files {
            format,
            used,
            inodes,
        } => least(format, *used, *inodes, volume.source_size),
        Fill::Blocks { .. } => volume.source_size,
        Fill::Swap => SMALLEST_SWAP.min(volume.source_size),
        Fill::Reserved => 0,
    }
}

/// A swap area is not made smaller than this, or than it was.
pub const SMALLEST_SWAP: u64 = 64 * MIB;

fn ext(format: &Format, used: u64, inodes: u64) -> u64 {
    let data = data_wanted(used).saturating_add(4 * MIB);
    // What it takes for itself grows with it: a few rounds find the end.
    let mut size = data;
    for _ in 0..64 {
        let next = data.saturating_add(ext_own(format, size, inodes));
        if next <= size {
            break;
        }
        size = next;
    }
    size.max(inodes_wanted(inodes).saturating_mul(least_ratio(format).min(ratio(format))))
        .next_multiple_of(MIB)
}

/// Inode tables, journal, the share reserved for root, bitmaps and the copies
/// of the group descriptors.
fn ext_own(format: &Format, size: u64, inodes: u64) -> u64 {
    let made = size / ratio(format);
    let wanted = inodes_wanted(inodes);
    // See `fit_inodes`, which rounds up to twice as many at the most.
    let tables = if wanted > made {
        wanted.saturating_mul(2)
    } else {
        made
    };
    let tables = tables.saturating_mul(number(format, "-I").unwrap_or(256));
    let features = format.value("-O").unwrap_or_default();
    let journal = if features.split(',').any(|name| name == "has_journal") {
        journal(size, number(format, "-b").unwrap_or(4096))
    } else {
        0
    };
    let percent: f64 = format
        .value("-m")
        .and_then(|value| value.parse().ok())
        .unwrap_or(5.0);
    let reserved = (size as f64 * percent.clamp(0.0, 50.0) / 100.0) as u64;
    tables
        .saturating_add(journal)
        .saturating_add(reserved)
        .saturating_add(size / 64)
}

/// mke2fs's choice, see `ext2fs_default_journal_size`.
fn journal(size: u64, block: u64) -> u64 {
    const STEPS: [(u64, u64); 7] = [
        (32_768, 1024),
        (262_144, 4096),
        (524_288, 8192),
        (4_194_304, 16_384),
        (8_388_608, 32_768),
        (16_777_216, 65_536),
        (33_554_432, 131_072),
    ];
    let all = size / block.max(1024);
    let step = STEPS.iter().find(|(below, _)| all < *below);
    let blocks = step.map_or(262_144, |(_, blocks)| *blocks);
    blocks.saturating_mul(block)
}

/// The inodes that an ext will have; `None` where there is no such bound.
pub fn inodes_of(format: &Format, size: u64) -> Option<u64> {
    number(format, "-i").map(|ratio| size / ratio.max(1024))
}

/// Has an ext of this size get inodes enough. By powers of two: a few files
/// more on the source shall not make another filesystem of it.
pub fn fit_inodes(format: &mut Format, size: u64, inodes: u64) {
    let wanted = inodes_wanted(inodes);
    if inodes_of(format, size).is_some_and(|made| made < wanted) {
        let most = (size / wanted).max(least_ratio(format));
        let ratio = 1_u64 << most.ilog2();
        format.set("-i", &ratio.to_string());
    }
}

/// A log of at least 64 MiB, and what the kernel sets aside in every group.
fn xfs(used: u64) -> u64 {
    let data = data_wanted(used);
    data.saturating_add(96 * MIB)
        .saturating_add(data / 32)
        .next_multiple_of(MIB)
}

/// Chunks are large, and not shared between data and metadata.
fn btrfs(used: u64) -> u64 {
    data_wanted(used)
        .saturating_add(used / 8)
        .saturating_add(256 * MIB)
        .next_multiple_of(MIB)
}
