//! A machine moves into its instance: the source's side of a transfer, and the
//! agent that works for it in the RAM-booted target.
//!
//! ```text
//! source ─► plan ─► preflight ─► agent prepares the disks ─► copy ─► verify
//!        ─► agent runs the fixes ─► restart ─► report
//! ```
//!
//! What crosses the link is in [`protocol`]; files and blocks go through the
//! crate `p2v-copy`. What makes the system fit its new hardware is the crate
//! `p2v-fixes`.

pub mod agent;
pub mod connection;
pub mod format;
pub mod plan;
pub mod preflight;
pub mod progress;
pub mod protocol;
pub mod quantity;
pub mod report;
pub mod run;
pub mod source;
pub mod target;

/// What the programs in fuzz/ call beside the public functions.
#[cfg(fuzzing)]
pub mod fuzzing {
    use anyhow::Result;
    use p2v_sys::Root;

    pub use crate::agent::{Stamp, stamp_in};
    use crate::plan::{self, Plan};
    use crate::source::{self, System};
    pub use source::fstab::Entry;

    /// A plan's text.
    pub fn plan(text: &[u8]) -> Result<Plan> {
        plan::file::parse(text)
    }

    /// The entries of an fstab.
    pub fn fstab(text: &str) -> Vec<Entry> {
        source::fstab::parse(text)
    }

    /// The system below `root`.
    pub fn system(root: &Root) -> Result<System> {
        source::system::read(root, &mut Default::default())
    }
}
