//! `p2v init`: PID 1 of the ramboot initrd.

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::help::Help;

/// It has no help: nobody but the kernel calls it.
pub const HELP: Help = Help {
    description: &[],
    statuses: &[],
    examples: &[],
};

/// PID 1 of the ramboot initrd. The kernel hands it whatever it did not
/// understand of its command line.
pub fn init() -> Command {
    Command::new("init")
        .about("Moves the root into RAM; only as PID 1 of a ramboot initrd")
        .hide(true)
        .disable_help_flag(true)
        .arg(
            Arg::new("ignored")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .action(ArgAction::Append),
        )
}

/// Never returns.
pub fn run_init(_: &ArgMatches) -> Result<u8> {
    p2v_ramboot::init::run()
}
