//! `p2v doctor`: says what a machine lacks, before anything is touched.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use p2v_doctor::{Place, Role};
use p2v_ganeti::environment::Environment;
use p2v_sys::supervise;

use crate::help::Help;
use crate::log;

/// What its help says.
pub const HELP: Help = Help {
    description: &[
        "Looks at everything that a node, a source or a target needs, before anything is touched: \
         on a node programs, configuration, keys, hooks, cache, kernels and how Ganeti sees the OS \
         definition; on a source programs, disks and network; on a target memory, disks, network, \
         SSH server and keys. Each finding has what to do. Nothing is changed.",
        "Which of them this machine is, it finds by itself; it may be several. docs/doctor.md says \
         how, and what is looked at.",
    ],
    statuses: &[
        (0, "All is well."),
        (1, "There are warnings: it works, and somebody should look."),
        (
            2,
            "There are errors: something that the machine is for will fail; or it could not be \
             looked at.",
        ),
    ],
    examples: &[
        ("p2v doctor", "Look at this machine"),
        (
            "p2v doctor --role source",
            "Look at it as a machine that is to move",
        ),
        ("p2v doctor --json", "The same list for a program"),
    ],
};

/// The status if the doctor itself fails.
const FAILED: u8 = 2;

#[derive(Args)]
struct DoctorArgs {
    /// Look at it as this; may be repeated [default: what the machine is]
    #[arg(long = "role", value_name = "ROLE",
          value_parser = PossibleValuesParser::new(Role::ALL.map(Role::name)))]
    roles: Vec<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// The doctor.
pub fn doctor() -> Command {
    DoctorArgs::augment_args(Command::new("doctor"))
        .about("Says what this machine lacks to be a node, a source or a target, and what to do")
}

/// Looks, and prints what it finds.
pub fn run_doctor(matches: &ArgMatches) -> Result<u8> {
    let args = DoctorArgs::from_arg_matches(matches)?;
    let work = move || match show(&args) {
        Ok(status) => status,
        Err(error) => {
            log::error(&error);
            FAILED
        }
    };
    // Only root may have the namespaces in which a source's disks are looked at.
    match nix::unistd::geteuid().is_root() {
        true => supervise::run(work).or_else(|error| {
            log::error(&error);
            Ok(FAILED)
        }),
        false => Ok(work()),
    }
}

fn show(args: &DoctorArgs) -> Result<u8> {
    let place = Place {
        paths: Environment::from_process().paths()?,
        boot: PathBuf::from("/boot"),
    };
    let given = |role: &Role| args.roles.iter().any(|name| name == role.name());
    let roles = match args.roles.as_slice() {
        [] => Role::detect(&place),
        _ => Role::ALL.into_iter().filter(given).collect(),
    };
    let report = p2v_doctor::examine(&roles, &place);
    let answer = match args.json {
        true => report.to_json(),
        false => report.text(),
    };
    std::io::stdout()
        .write_all(answer.as_bytes())
        .context("writing the answer")?;
    Ok(report.status)
}
