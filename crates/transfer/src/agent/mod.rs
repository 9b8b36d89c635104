//! The target's side: an agent that a transfer starts over SSH, for orders or
//! for one volume's contents.
//!
//! ```text
//! probe ─► prepare (check, partition, format, mount) ─► data … ─► fix ─► finish
//! ```
//!
//! Everything that outlives an agent is in the disks' stamps ([`stamp`]) and,
//! until the machine restarts, in `/run/p2v-target`. Mounts are made in the
//! machine's own namespace, since agents for contents are other processes: an
//! agent that is killed leaves them, and the next [`Order::Prepare`] takes them
//! down before it looks.

mod check;
mod claim;
mod complete;
mod data;
mod devices;
mod disks;
mod finish;
mod fix;
mod hangup;
mod machine;
mod place;
mod prepare;
mod probe;
mod recognise;
mod serve;
mod stamp;
mod state;
mod voice;
mod volumes;

pub use data::serve_data;
pub use place::Place;
pub use probe::{FILESYSTEMS, look, mountable};
pub use serve::serve;
#[cfg(fuzzing)]
pub use stamp::{Stamp, stamp_in};

#[cfg(doc)]
use crate::protocol::Order;
