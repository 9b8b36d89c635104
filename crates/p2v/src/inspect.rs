//! `p2v inspect`: shows the machine that is to move.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};

#[derive(Args)]
struct InspectArgs {
    /// Disk, or a disk's image, of the machine [default: every disk of this one]
    #[arg(value_name = "DISK")]
    disks: Vec<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// The machine's disks and system.
pub fn inspect() -> Command {
    InspectArgs::augment_args(Command::new("inspect"))
        .about("Shows the disks and the system of a machine that is to move")
}

/// Shows them.
pub fn run_inspect(matches: &ArgMatches) -> Result<u8> {
    let _args = InspectArgs::from_arg_matches(matches)?;
    bail!("inspecting is not there yet")
}
