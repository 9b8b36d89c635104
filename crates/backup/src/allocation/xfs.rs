//! XFS: all that no allocation group's tree of free extents names.
//!
//! That tree is only right when the log has nothing left to write: its last
//! record must be the one of an unmount. Realtime sections and external logs
//! lie on other devices: such filesystems give up.
//! See <https://www.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use anyhow::{Context, Result};

use self::superblock::Superblock;
use super::Used;
use super::checksum::{agree, crc32c_raw};
use super::fields::LittleEndian;
use super::kept::Kept;
use crate::window::Window;

mod group;
mod log;
mod superblock;

pub use superblock::features;

/// The bytes in use.
pub fn used(window: &Window) -> Result<Used> {
    let superblock = check_log(window)?;
    let mut kept = Kept::default();
    for number in 0..superblock.groups {
        group::keep_used(&superblock, number, window, &mut kept)
            .with_context(|| format!("reading its allocation group {number}"))?;
    }
    Ok(Used {
        ranges: kept.into_ranges(),
        end: superblock.blocks * superblock.block,
    })
}

/// Fails if its log is not empty.
pub fn check_log(window: &Window) -> Result<Superblock> {
    let superblock = Superblock::read(window)?;
    log::check_clean(&superblock, window).context("reading its log")?;
    Ok(superblock)
}

/// Whether the checksum of a structure, stored at `at`, is right; it is made
/// with zeros in its own place.
fn checksum_is_right(bytes: &[u8], at: usize) -> Result<bool> {
    let stored = LittleEndian(bytes).u32(at)?;
    let crc = crc32c_raw(crc32c_raw(!0, &bytes[..at]), &[0; 4]);
    Ok(agree(!crc32c_raw(crc, &bytes[at + 4..]), stored))
}
