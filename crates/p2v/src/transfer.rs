//! `p2v transfer`: moves a machine into its instance.

use anyhow::{Result, bail};
use clap::{ArgMatches, Command};

/// The source's side of a transfer.
pub fn transfer() -> Command {
    Command::new("transfer").about("Moves a physical machine into an instance that runs in RAM")
}

/// Moves it.
pub fn run_transfer(_matches: &ArgMatches) -> Result<u8> {
    bail!("this version has no transfer; nothing was done")
}
