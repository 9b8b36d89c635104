//! The `p2v` command: many programs in one static binary.
//!
//! What there is stands in the table of [`applets`]; how each is called, in
//! [`commands`]; how it speaks, in [`log`]. The work itself is in the role
//! crates.

mod agent;
mod applets;
mod commands;
mod fixes;
mod inspect;
mod log;
mod transfer;

use std::process::ExitCode;

fn main() -> ExitCode {
    applets::dispatch(std::env::args_os().collect())
}
