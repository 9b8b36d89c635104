//! Whether a filesystem was unmounted in order. One whose journal must be
//! replayed holds less than its files, and we may not replay it.
//!
//! See <https://docs.kernel.org/filesystems/ext4/super.html> and
//! <https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html>.

use anyhow::{Context, Result, bail, ensure};
use p2v_backup::allocation;
use p2v_backup::window::Window;

const EXT: u64 = 1024;
const EXT_CLEANLY_UNMOUNTED: u16 = 1;
const EXT_HAS_ERRORS: u16 = 2;
const EXT_NEEDS_RECOVERY: u32 = 0x4;
const EXT_HAS_JOURNAL: u32 = 0x4;

const BTRFS: u64 = 64 << 10;

/// Fails if the filesystem of that kind at the start of `window` was not
/// unmounted in order; the message says what to do. `place` is its name.
pub fn check(kind: &str, window: &Window, place: &str) -> Result<()> {
    let result = match kind {
        "ext2" | "ext3" | "ext4" => ext(window),
        "xfs" => allocation::check_xfs_log(window),
        "btrfs" => btrfs(window),
        _ => Ok(()),
    };
    result.map_err(|error| {
        let tool = match kind {
            // Neither xfs_repair nor btrfs check replays a log.
            "xfs" | "btrfs" => "mount and unmount it",
            _ => "run e2fsck on it",
        };
        anyhow::anyhow!(
            "the {kind} on {place} is not as a clean shutdown leaves it: {error:#}; start the \
             machine once and shut it down cleanly, or {tool} from a live medium"
        )
    })
}

fn ext(window: &Window) -> Result<()> {
    let block = window.read(EXT, 1024).context("reading its superblock")?;
    let word = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes"));
    let state = u16::from_le_bytes([block[0x3a], block[0x3b]]);
    let (compatible, incompatible) = (word(0x5c), word(0x60));
    if incompatible & EXT_NEEDS_RECOVERY != 0 {
        bail!("its journal has changes that are not written yet (it was not unmounted)");
    }
    if state & EXT_HAS_ERRORS != 0 {
        bail!("it has errors");
    }
    let journal = compatible & EXT_HAS_JOURNAL != 0;
    if state & EXT_CLEANLY_UNMOUNTED == 0 && !journal {
        bail!("it was not unmounted, and has no journal to mend it");
    }
    Ok(())
}

fn btrfs(window: &Window) -> Result<()> {
    let block = window.read(BTRFS, 4096).context("reading its superblock")?;
    ensure!(&block[64..72] == b"_BHRfS_M", "it has no superblock");
    let log = u64::from_le_bytes(block[96..104].try_into().expect("eight bytes"));
    if log != 0 {
        bail!("its log has changes that are not written yet (it was not unmounted)");
    }
    Ok(())
}

/// How many devices the btrfs at the start of `window` lies on.
pub fn btrfs_devices(window: &Window) -> Result<u64> {
    let block = window.read(BTRFS, 4096).context("reading its superblock")?;
    let count = block[136..144].try_into().expect("eight bytes");
    Ok(u64::from_le_bytes(count))
}
