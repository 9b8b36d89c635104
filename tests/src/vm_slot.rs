//! Virtual machines are emulated and want two cores each: no more of them run
//! at once than the machine has cores for, over all tests of all processes.

use anyhow::{Context, Result};
use p2v_sys::lock::FileLock;

use crate::place;

/// The right to run one virtual machine; dropping it lets the next one start.
#[derive(Debug)]
pub struct VmSlot {
    _lock: FileLock,
}

impl VmSlot {
    /// Waits for a free slot.
    pub fn wait() -> Result<Self> {
        let cores = std::thread::available_parallelism()
            .context("counting the cores")?
            .get();
        let slots = (cores / 2).max(1);
        let dir = place::test_cache()?;
        loop {
            for slot in 0..slots {
                let path = dir.join(format!("vm-slot-{slot}.lock"));
                if let Some(lock) = FileLock::try_lock(&path)? {
                    return Ok(Self { _lock: lock });
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
}
