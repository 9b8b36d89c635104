//! A disk as a stream, and its way back.
//!
//! An export reads the partition table, the boot area and the blocks that each
//! filesystem uses ([`allocation`]); nothing on the disk is mounted or written.
//! A restore checks the whole stream before the disk can boot.
//!
//! Ganeti's side of both is in its own crate.

pub mod allocation;
pub mod export;
pub mod ranges;
pub mod restore;
pub mod stream;
pub mod survey;
mod tools;
pub mod window;
