//! The applet table, and the choice among it: by the exact name that the
//! binary was called by, else by the first argument.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgMatches, Command};

use crate::{agent, commands, fixes, inspect, log, transfer};

/// One program of the binary.
pub struct Applet {
    /// Its name first, then what else it may be called by.
    pub names: &'static [&'static str],
    /// Its arguments.
    pub command: fn() -> Command,
    /// Its work; the status the process exits with.
    pub run: fn(&ArgMatches) -> Result<u8>,
}

/// Every program of the binary.
pub const APPLETS: &[Applet] = &[
    Applet {
        names: &["create"],
        command: commands::create,
        run: commands::run_create,
    },
    Applet {
        names: &["import"],
        command: commands::import,
        run: commands::run_import,
    },
    Applet {
        names: &["export"],
        command: commands::export,
        run: commands::run_export,
    },
    Applet {
        names: &["rename"],
        command: commands::rename,
        run: commands::run_rename,
    },
    Applet {
        names: &["verify"],
        command: commands::verify,
        run: commands::run_verify,
    },
    Applet {
        names: &["distribute"],
        command: commands::distribute,
        run: commands::run_distribute,
    },
    Applet {
        names: &["initrd", "make-ramboot-initrd"],
        command: commands::initrd,
        run: commands::run_initrd,
    },
    Applet {
        names: &["transfer", "p2v-transfer"],
        command: transfer::transfer,
        run: transfer::run_transfer,
    },
    Applet {
        names: &["inspect"],
        command: inspect::inspect,
        run: inspect::run_inspect,
    },
    Applet {
        names: &["agent"],
        command: agent::agent,
        run: agent::run_agent,
    },
    Applet {
        names: &["fixes"],
        command: fixes::fixes,
        run: fixes::run_fixes,
    },
    Applet {
        names: &["fix"],
        command: fixes::fix,
        run: fixes::run_fix,
    },
    Applet {
        names: &["init"],
        command: commands::init,
        run: commands::run_init,
    },
    Applet {
        names: &["ready"],
        command: commands::ready,
        run: commands::run_ready,
    },
];

/// Runs what `args`, the whole command line, asks for.
pub fn dispatch(args: Vec<OsString>) -> ExitCode {
    let called = args.first().map(OsString::as_os_str).unwrap_or_default();
    match by_name(called) {
        Some((name, applet)) => {
            let command = (applet.command)().name(name).bin_name(name);
            run(applet, &matches(command, args))
        }
        None => {
            let all = matches(whole(), args);
            let (name, its_matches) = all.subcommand().expect("clap requires a subcommand");
            let (_, applet) = by_name(OsStr::new(name)).expect("clap knows the table's names");
            run(applet, its_matches)
        }
    }
}

fn run(applet: &Applet, matches: &ArgMatches) -> ExitCode {
    log::start();
    match (applet.run)(matches) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            log::error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Parses, or prints the usage and exits with status 0 for `--help` and 2 for
/// wrong arguments.
fn matches(command: Command, args: Vec<OsString>) -> ArgMatches {
    command
        .try_get_matches_from(args)
        .unwrap_or_else(|error| error.exit())
}

/// `p2v` itself, every applet a subcommand.
fn whole() -> Command {
    Command::new("p2v")
        .about("Moves physical Linux machines into Ganeti instances")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(APPLETS.iter().map(|applet| {
            (applet.command)()
                .name(applet.names[0])
                .aliases(&applet.names[1..])
        }))
}

/// The applet that the path's last part names exactly, and that name.
fn by_name(called: &OsStr) -> Option<(&'static str, &'static Applet)> {
    let called = Path::new(called).file_name()?.to_str()?;
    let of = |applet: &'static Applet| {
        let name = applet.names.iter().find(|name| **name == called)?;
        Some((*name, applet))
    };
    APPLETS.iter().find_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_choose_exactly() {
        for (called, first_name) in [
            ("/usr/share/ganeti/os/p2v-target/create", Some("create")),
            ("./verify", Some("verify")),
            ("make-ramboot-initrd", Some("initrd")),
            ("/init", Some("init")),
            ("p2v", None),
            ("create.sh", None),
            ("recreate", None),
            ("", None),
        ] {
            let found = by_name(OsStr::new(called)).map(|(_, applet)| applet.names[0]);
            assert_eq!(found, first_name, "{called}");
        }
    }

    #[test]
    fn every_applet_is_a_sound_command_of_a_unique_name() {
        whole().debug_assert();
        let mut names: Vec<_> = APPLETS.iter().flat_map(|a| a.names).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
