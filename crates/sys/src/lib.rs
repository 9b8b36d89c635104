//! What every role stands on: commands, mounts, loop devices, partition
//! tables, filesystems and contained paths.
//!
//! Everything that is attached, mounted or started here is a guard that undoes
//! only what it did. This crate knows nothing of Ganeti, hooks or initrds, and
//! never imports a role. It is the only one in which `unsafe` may stand.

pub mod block;
pub mod btrfs;
pub mod command;
pub mod contained;
mod credentials;
pub mod disk;
pub mod extents;
pub mod filesystem;
pub mod inode;
pub mod interrupt;
pub mod lock;
pub mod loopdev;
pub mod mount;
pub mod partition;
pub mod pattern;
pub mod server;
pub mod source_disk;
pub mod supervise;
pub mod terminal;
pub mod time;
pub mod tools;
pub mod userspace_disk;

/// What the programs in fuzz/ call beside the public functions.
#[cfg(fuzzing)]
pub mod fuzzing {
    use crate::partition::table::{self, Table};

    /// What sfdisk prints, parsed.
    pub fn parse_table(text: &str) -> anyhow::Result<Table> {
        table::parse(text)
    }

    /// What sfdisk is given.
    pub fn script(table: &Table) -> String {
        table.script()
    }
}

pub use command::Cmd;
pub use contained::Root;
pub use credentials::without_credentials;
pub use loopdev::LoopDevice;
pub use mount::Mount;
