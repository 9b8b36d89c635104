//! `p2v inspect`: shows the machine that is to move.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches, ValueHint};
use p2v_sys::supervise;
use p2v_transfer::source::{Letters, OpenSource, Source, text};

use crate::help::Help;
use crate::{log, paths};

/// What its help says.
pub const HELP: Help = Help {
    description: &[
        "Shows each disk as a bar and a table, then the system that starts from them, and at the end \
         what keeps the machine from being moved, each with what to do. Nothing is written to the \
         disks: devices are set read-only meanwhile, filesystems are mounted read-only without \
         replaying a journal.",
        "A disk that the running system uses is refused: start the machine from a live medium, or \
         name an image of its disk.",
    ],
    statuses: &[
        (
            0,
            "Nothing is known that keeps the machine from being moved.",
        ),
        (1, "Something does, or the disks cannot be inspected."),
    ],
    examples: &[
        ("p2v inspect", "Look at every disk of this machine"),
        ("p2v inspect /dev/sda", "Look at one disk alone"),
        (
            "p2v inspect --json old.img",
            "Look at a disk's image, for a program",
        ),
    ],
};

#[derive(Args)]
struct InspectArgs {
    /// Disk, or a disk's image, of the machine; the one it starts from first
    /// [default: every disk of this one]
    #[arg(value_name = "DISK", value_parser = paths::disk(), value_hint = ValueHint::FilePath)]
    disks: Vec<PathBuf>,
    /// Print it as JSON; sizes are in bytes
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
