//! `p2v agent`: what a transfer speaks to in the target.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command};
use p2v_sys::interrupt;
use p2v_transfer::agent::{Place, serve, serve_data};

use crate::help::Help;

/// What its help says.
pub const HELP: Help = Help {
    description: &[
        "Runs in the RAM-booted instance. p2v transfer starts it over SSH and speaks to it on \
         standard input and output, a JSON object a line; nobody needs to call it by hand.",
    ],
    statuses: &[
        (
            0,
            "The conversation is over. What was refused was answered in it.",
        ),
        (1, "It was cut short; the last line says why."),
    ],
    examples: &[],
};

/// The target's side of a transfer.
pub fn agent() -> Command {
    Command::new("agent")
        .about("Works in the target for a transfer, which starts it over SSH")
        .arg(
            Arg::new("data")
                .long("data")
                .help("Take or compare one volume's contents, as the first line says")
                .action(ArgAction::SetTrue),
        )
}

/// Serves one transfer on standard input and output.
pub fn run_agent(matches: &ArgMatches) -> Result<u8> {
    let taking = "taking over standard input and output";
    let own = |stream: std::os::fd::BorrowedFd| stream.try_clone_to_owned().map(File::from);
    let from = own(std::io::stdin().as_fd()).context(taking)?;
    let mut to = own(std::io::stdout().as_fd()).context(taking)?;
    // Whatever else is printed must not fall into the stream.
    nix::unistd::dup2_stdout(std::io::stderr()).context(taking)?;
    let place = Place::this_machine();
    if matches.get_flag("data") {
        let mut from = BufReader::with_capacity(1 << 18, from);
        serve_data(&place, &mut from, to)?;
        return Ok(0);
    }
    interrupt::install()?;
    let mut from = BufReader::new(Interruptible(from));
    serve(&place, &mut from, &mut to)?;
    Ok(0)
}

/// Ends a wait for input when a signal comes, which readers would ignore.
struct Interruptible(File);

impl Read for Interruptible {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
                match interrupt::received() {
                    Some(signal) => Err(std::io::Error::other(format!("ended by {signal}"))),
                    None => Err(error),
                }
            }
            result => result,
        }
    }
}
