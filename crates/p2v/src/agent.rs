//! `p2v agent`: what a transfer speaks to in the target.

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// The target's side of a transfer.
pub fn agent() -> Command {
    Command::new("agent")
        .about("Works in the target for a transfer, which starts it over SSH")
        .arg(
            Arg::new("data")
                .long("data")
                .help("Take or compare one volume's contents")
                .action(ArgAction::SetTrue),
        )
}

/// Serves one transfer on standard input and output.
pub fn run_agent(_matches: &ArgMatches) -> Result<u8> {
    bail!("the agent is not there yet")
}
