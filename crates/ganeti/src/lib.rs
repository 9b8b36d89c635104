//! Ganeti's OS interface: its environment comes in, and an installed disk goes
//! out.
//!
//! Raw environment → [`job::Job`] → [`settings::Settings`] → the entry points,
//! a file each. Only [`environment`] reads environment variables.

mod attached;
pub mod authorized_keys;
mod boot_loader;
mod config_file;
pub mod create;
pub mod distribute;
pub mod environment;
pub mod export;
mod findings;
pub mod import;
pub mod job;
mod layout;
pub mod needs;
pub mod parameters;
pub mod rename;
mod scratch;
pub mod settings;
pub mod variants;
pub mod verify;
