//! Ganeti's OS interface: its environment comes in, and an installed disk goes
//! out.
//!
//! Raw environment → [`job::Job`] → [`settings::Settings`] → the entry points,
//! a file each. Only [`environment`] reads environment variables.

pub mod authorized_keys;
mod config_file;
pub mod create;
pub mod environment;
mod findings;
pub mod job;
pub mod parameters;
pub mod settings;
pub mod verify;
