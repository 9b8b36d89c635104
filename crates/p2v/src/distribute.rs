//! `p2v distribute`: the master node's configuration and cache on all nodes.

use std::io::Write;

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command};
use p2v_ganeti::environment::Environment;

use crate::help::Help;

/// What its help says.
pub const HELP: Help = Help {
    description: &[
        "Runs on the master node. Asks every node for the hashes and modes of what it has, copies \
         what is missing or different by gnt-cluster copyfile, and asks again. Nothing is removed: \
         what only another node has is named.",
    ],
    statuses: &[
        (
            0,
            "All nodes are equal at the end; with --dry-run, they are already.",
        ),
        (
            1,
            "They are not, or this is not the master node; each line says of its node why.",
        ),
    ],
    examples: &[
        ("p2v distribute --dry-run", "See what would be done"),
        ("p2v distribute", "Do it"),
    ],
};

/// The configuration and the cache on all nodes.
pub fn distribute() -> Command {
    Command::new("distribute")
        .about("Copies the configuration and the bootstrap cache from the master to all nodes")
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .help("Only print the commands that would be run")
                .action(ArgAction::SetTrue),
        )
}

/// Brings all nodes to what the master node has.
pub fn run_distribute(matches: &ArgMatches) -> Result<u8> {
    let dry_run = matches.get_flag("dry-run");
    let (report, equal) = p2v_ganeti::distribute::run(&Environment::from_process(), dry_run)?;
    std::io::stdout()
        .write_all(report.as_bytes())
        .context("writing the answer")?;
    Ok(u8::from(!equal))
}
