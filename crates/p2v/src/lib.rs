//! The `p2v` command: many programs in one static binary.
//!
//! What there is stands in the table of [`applets`]; how each is called, in a
//! file of its own; what its help says beside the arguments, in a [`help::Help`]
//! there; how all of them speak, in [`log`]. The work itself is in the role
//! crates. It is a library so that the manual pages and completions are made
//! from the same definitions, by another program.

pub mod applets;
pub mod help;
pub mod log;

mod agent;
mod distribute;
mod doctor;
mod entry_points;
mod fixes;
mod image;
mod init;
mod initrd;
mod inspect;
mod paths;
mod ready;
mod transfer;
