//! The five programs of Ganeti's OS interface: create, import, export, rename
//! and verify.

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use p2v_ganeti::environment::Environment;
use p2v_sys::supervise;

use crate::help::Help;
use crate::log;

const ENVIRONMENT: &str = "Ganeti calls it by its OS definition and says in the environment what there is to do; see \
    ganeti-os-interface(7). It takes no arguments but those for its messages.";

/// What create's help says.
pub const CREATE_HELP: Help = Help {
    description: &[
        "Partitions and formats the instance's first disk and fills it with a system that boots \
         into RAM and waits there for a machine to move in.",
        "Everything is checked before the first write. When a step fails, the disk is left \
         unbootable on purpose.",
        ENVIRONMENT,
    ],
    statuses: &[
        (0, "The disk is complete and will boot."),
        (1, "It is not; the last line says why and what to do."),
    ],
    examples: &[],
};

/// What import's help says.
pub const IMPORT_HELP: Help = Help {
    description: &[
        "Reads from standard input what export has written, or what instance-debootstrap's export \
         has (dump's format), and restores it onto one disk of the instance, which may be larger or \
         smaller than the old one.",
        "An import that fails leaves a disk that does not boot.",
        ENVIRONMENT,
    ],
    statuses: &[
        (0, "The disk is restored."),
        (1, "It is not; the last line says why and what to do."),
    ],
    examples: &[],
};

/// What export's help says.
pub const EXPORT_HELP: Help = Help {
    description: &[
        "Writes one disk of the instance to standard output: its partition table, its boot code and \
         the blocks that its filesystems use. The disk is only read.",
        ENVIRONMENT,
    ],
    statuses: &[
        (0, "All of the disk was written."),
        (
            1,
            "It was not; what was written is of no use. The last line says why and what to do.",
        ),
    ],
    examples: &[],
};

/// What rename's help says.
pub const RENAME_HELP: Help = Help {
    description: &[
        "Changes the instance's old name to its new one in the files of the system on its disks. A \
         machine that has a name of its own keeps it, unless the setting HOSTNAME_POLICY is \
         `instance`.",
        ENVIRONMENT,
    ],
    statuses: &[
        (0, "The names are right, or there are none to change."),
        (
            1,
            "They could not be changed; the last line says why and what to do.",
        ),
    ],
    examples: &[],
};

/// What verify's help says.
pub const VERIFY_HELP: Help = Help {
    description: &[
        "Checks each OS parameter that is given (OSP_NAME in the environment) by itself; what the \
         configuration makes of them is for create to see.",
        "Ganeti calls it by its OS definition; see ganeti-os-interface(7).",
    ],
    statuses: &[
        (0, "Every parameter is valid."),
        (1, "One is not; every fault is named with what is allowed."),
    ],
    examples: &[(
        "OS_API_VERSION=20 OSP_FILESYSTEM=xfs p2v verify parameters",
        "Try a value by hand",
    )],
};

/// Ganeti's create.
pub fn create() -> Command {
    Command::new("create").about("Makes an instance's disk, as Ganeti's OS interface asks")
}

/// Ganeti's import.
pub fn import() -> Command {
    Command::new("import").about("Restores an instance's disk from standard input")
}

/// Ganeti's export.
pub fn export() -> Command {
    Command::new("export").about("Streams an instance's disk to standard output")
}

/// Ganeti's rename.
pub fn rename() -> Command {
    Command::new("rename").about("Gives a renamed instance's system its new name")
}

/// Ganeti's verify.
pub fn verify() -> Command {
    Command::new("verify")
        .about("Checks the OS parameters")
        .arg(
            Arg::new("check")
                .value_name("CHECK")
                .help("What to check; there is one check so far")
                .required(true)
                .num_args(1..)
                .value_parser(PossibleValuesParser::new(p2v_ganeti::verify::CHECKS)),
        )
}

/// Makes a disk.
pub fn run_create(_: &ArgMatches) -> Result<u8> {
    run_supervised(p2v_ganeti::create::run)
}

/// Restores a disk.
pub fn run_import(_: &ArgMatches) -> Result<u8> {
    run_supervised(p2v_ganeti::import::run)
}

/// Streams a disk.
pub fn run_export(_: &ArgMatches) -> Result<u8> {
    run_supervised(p2v_ganeti::export::run)
}

/// Renames what a disk holds.
pub fn run_rename(_: &ArgMatches) -> Result<u8> {
    run_supervised(p2v_ganeti::rename::run)
}

/// Runs an entry point in namespaces that vanish with it.
fn run_supervised(work: fn(&Environment) -> Result<()>) -> Result<u8> {
    let environment = Environment::from_process();
    supervise::run(move || match work(&environment) {
        Ok(()) => 0,
        Err(error) => {
            log::error(&error);
            1
        }
    })
}

/// Checks the OS parameters.
pub fn run_verify(matches: &ArgMatches) -> Result<u8> {
    let checks = matches.get_many::<String>("check").into_iter().flatten();
    let checks: Vec<String> = checks.cloned().collect();
    p2v_ganeti::verify::run(&Environment::from_process(), &checks)?;
    Ok(0)
}
