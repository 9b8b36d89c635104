//! `p2v inspect`: shows the machine that is to move.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use p2v_sys::supervise;
use p2v_transfer::source::{Letters, OpenSource, Source, text};

use crate::log;

const STATUS: &str = "Status: 0 if nothing is known that keeps the machine from being moved, 1 if \
                      something does or the disks cannot be inspected.";

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
        .after_help(STATUS)
}

/// Shows them.
pub fn run_inspect(matches: &ArgMatches) -> Result<u8> {
    let args = InspectArgs::from_arg_matches(matches)?;
    supervise::run(move || match show(&args) {
        Ok(status) => status,
        Err(error) => {
            log::error(&error);
            1
        }
    })
}

fn show(args: &InspectArgs) -> Result<u8> {
    let open = OpenSource::open(&args.disks)?;
    let source = open.source.clone();
    // Nothing is held while somebody reads the answer page by page.
    open.close()?;
    let answer = match args.json {
        true => source.to_json(),
        false => text(&source, letters()),
    };
    std::io::stdout()
        .write_all(answer.as_bytes())
        .context("writing the answer")?;
    Ok(status(&source))
}

fn status(source: &Source) -> u8 {
    u8::from(!source.obstacles.is_empty())
}

/// By the locale, as setlocale(3) finds it.
fn letters() -> Letters {
    let set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let name = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find(|name| set(name));
    let locale = name.and_then(|name| std::env::var(name).ok());
    Letters::of_locale(&locale.unwrap_or_default())
}
