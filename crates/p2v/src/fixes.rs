//! `p2v fixes`, which runs fixes.d on a root, and `p2v fix NAME`, which a part
//! of it calls.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, ValueHint};
use p2v_fixes::machine::found;
use p2v_fixes::part;
use p2v_fixes::report::Report;
use p2v_fixes::runner::{self, Request};
use p2v_fixes::{BUILT_IN, Machine};
use p2v_sys::{Root, supervise};

use crate::help::Help;
use crate::{log, paths};

/// What the help of the runner says.
pub const FIXES_HELP: Help = Help {
    description: &[
        "Runs the parts of fixes.d on the root of a system that was moved, in order. Each makes \
         right what the instance's hardware makes wrong, and nothing else; what is right stays as \
         it is, so all can be run again. A fix that fails is named, and the others still run.",
        "Programs of the repaired system run, in it: use this where that system itself may run, in \
         its instance, not on a node; there, only --dry-run.",
    ],
    statuses: &[
        (
            0,
            "Every fix was content, and nothing is known that keeps the system from starting.",
        ),
        (
            1,
            "A fix failed, or something keeps the system from starting.",
        ),
    ],
    examples: &[
        ("p2v fixes --list", "See what would run, in order"),
        (
            "p2v fixes --root /target --dry-run",
            "See as a diff what would change",
        ),
        (
            "p2v fixes --root /target",
            "Repair the system that is mounted on /target",
        ),
        (
            "p2v fixes --root /target --only rename-nics",
            "Run one fix alone",
        ),
    ],
};

/// What the help of a single fix says.
pub const FIX_HELP: Help = Help {
    description: &[
        "A script of fixes.d calls this; by hand, use `p2v fixes --only NAME`. TARGET in the \
         environment names the root to repair.",
    ],
    statuses: &[
        (0, "It was content."),
        (1, "It failed; its edits were dropped."),
    ],
    examples: &[(
        "TARGET=/target p2v fix repair-fstab",
        "Call it as a script would",
    )],
};

/// What a part inherits beside what the machine says.
const INHERITED: &str = "P2V_MACHINE";

#[derive(Args)]
struct FixesArgs {
    /// Directory that the transferred system's root is mounted on
    #[arg(long, value_name = "DIR", required_unless_present = "list",
          value_parser = paths::directory(), value_hint = ValueHint::DirPath)]
    root: Option<PathBuf>,
    /// Show what would change, as a diff on standard output; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Run only this fix, also one that is switched off; --list has the names
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
    only: Option<String>,
    /// JSON file that describes the machine [default: this one, as it is found]
    #[arg(long, value_name = "FILE", value_parser = paths::file(),
          value_hint = ValueHint::FilePath)]
    machine: Option<PathBuf>,
    /// Directory of the fixes [default: the installed one, or all that are
    /// built in]
    #[arg(long, value_name = "DIR", value_parser = paths::directory(),
          value_hint = ValueHint::DirPath)]
    directory: Option<PathBuf>,
    /// List the fixes in the order in which they run
    #[arg(long)]
    list: bool,
}

/// The runner of fixes.d.
pub fn fixes() -> Command {
    FixesArgs::augment_args(Command::new("fixes"))
        .about("Repairs a transferred system: what its new hardware makes wrong")
}

/// One built-in fix, for its script in fixes.d.
pub fn fix() -> Command {
    Command::new("fix")
        .about("Runs one built-in fix on the root that TARGET names")
        .arg(
            Arg::new("name")
                .value_name("NAME")
                .help("Fix to run; its part of fixes.d without the number")
                .required(true)
                .value_parser(clap::builder::PossibleValuesParser::new(
                    BUILT_IN.iter().map(|fix| fix.name),
                )),
        )
}

/// Runs or lists fixes.d.
pub fn run_fixes(matches: &ArgMatches) -> Result<u8> {
    let args = FixesArgs::from_arg_matches(matches)?;
    if args.list {
        return list(args.directory.as_deref());
    }
    let request = Request {
        root: args.root.context("--root names no directory")?,
        directory: args.directory,
        only: args.only,
        dry_run: args.dry_run,
    };
    if request.dry_run {
        return run_request(&request, args.machine.as_deref());
    }
    supervise::run(
        move || match run_request(&request, args.machine.as_deref()) {
            Ok(status) => status,
            Err(error) => {
                log::error(&error);
                1
            }
        },
    )
}

/// Runs one built-in fix.
pub fn run_fix(matches: &ArgMatches) -> Result<u8> {
    let Some(target) = std::env::var_os("TARGET").filter(|target| !target.is_empty()) else {
        bail!(
            "TARGET in the environment does not name the root to repair: set it to the directory \
             that this is mounted on, or use `p2v fixes --root DIR --only NAME`"
        );
    };
    let request = Request {
        root: PathBuf::from(target),
        only: matches.get_one::<String>("name").cloned(),
        ..Request::default()
    };
    let machine = std::env::var_os(INHERITED).map(PathBuf::from);
    run_request(&request, machine.as_deref())
}

fn run_request(request: &Request, machine_file: Option<&Path>) -> Result<u8> {
    let given: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let machine = match machine_file {
        Some(file) => Machine::load(file)?,
        None => found_machine(&request.root, &given)?,
    };
    let mut environment = found::part_environment(&request.root, &machine)?;
    if let Some(file) = machine_file {
        environment.insert(OsString::from(INHERITED), file.as_os_str().to_owned());
    }
    let report = runner::run(request, &machine, &environment)?;
    std::io::stdout()
        .write_all(&report.diff)
        .context("writing the diff")?;
    conclude(&report, request.dry_run || request.only.is_some())
}

/// A directory where nothing is mounted is no system that was moved: all its
/// filesystems would seem to be gone.
fn found_machine(root: &Path, given: &BTreeMap<String, String>) -> Result<Machine> {
    let machine = found::machine(&Root::open(root)?, given)?;
    if machine.mounted_on("/").is_none() {
        bail!(
            "no disk's filesystem is mounted on {}: mount the transferred system there, or \
             describe its machine with --machine",
            root.display()
        );
    }
    Ok(machine)
}

fn conclude(report: &Report, in_part: bool) -> Result<u8> {
    if !report.obstacles.is_empty() {
        let obstacles = report.obstacles.join("; ");
        bail!("the system will not start as it is: {obstacles}");
    }
    if !report.is_success() {
        bail!("a fix failed, see above; the others ran, and all can run again");
    }
    if !in_part {
        tracing::info!("nothing is known that keeps the system from starting");
    }
    Ok(0)
}

fn list(directory: Option<&Path>) -> Result<u8> {
    let mut text = String::new();
    for part in part::parts(directory)? {
        let purpose = part.built_in.map_or("an operator's", |fix| fix.purpose);
        text += &format!("{:<32}{purpose}\n", part.name);
    }
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("writing the list")?;
    Ok(0)
}
