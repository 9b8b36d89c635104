//! `p2v ready`: the last step of the RAM system's boot.

use anyhow::Result;
use clap::{ArgMatches, Command};

use crate::help::Help;

/// What its help says.
pub const HELP: Help = Help {
    description: &[
        "Runs in an instance that has booted into RAM, as the last service of its boot (p2v-ready) \
         or by hand to look again. Waits up to 60 seconds for an address and as long for an SSH \
         server, makes sure that no disk is mounted, held, open or used as swap, and says on every \
         console how to log in.",
    ],
    statuses: &[
        (0, "The machine is ready: its disks may be repartitioned."),
        (1, "It is not; the last line says why."),
    ],
    examples: &[("p2v ready", "Look again, after a reason was removed")],
};

/// The last step of the RAM system's boot.
pub fn ready() -> Command {
    Command::new("ready")
        .about("Checks that no disk is in use, and says on the console how to log in")
}

/// Checks and announces the RAM system.
pub fn run_ready(_: &ArgMatches) -> Result<u8> {
    p2v_ramboot::ready::run()?;
    Ok(0)
}
