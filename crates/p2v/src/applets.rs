//! The applet table, and the choice among it: by the exact name that the
//! binary was called by, else by the first argument.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgMatches, Command};
use p2v_ganeti::environment::Environment;

use crate::help::{self, Help};
use crate::log::{self, Log};
use crate::{
    agent, distribute, doctor, entry_points, fixes, image, init, initrd, inspect, ready, transfer,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

const WHOLE: &str = "Moves physical Linux machines into Ganeti instances.

On the nodes of a cluster Ganeti calls create, import, export, rename and
verify by itself. On the machine that moves: inspect, then transfer.";

/// One program of the binary.
pub struct Applet {
    /// Its name first, then what else it may be called by.
    pub names: &'static [&'static str],
    /// Its arguments.
    pub command: fn() -> Command,
    /// Its work; the status the process exits with.
    pub run: fn(&ArgMatches) -> Result<u8>,
    /// What its help says beside the arguments.
    pub help: &'static Help,
}

/// Every program of the binary.
pub const APPLETS: &[Applet] = &[
    Applet {
        names: &["create"],
        command: entry_points::create,
        run: entry_points::run_create,
        help: &entry_points::CREATE_HELP,
    },
    Applet {
        names: &["import"],
        command: entry_points::import,
        run: entry_points::run_import,
        help: &entry_points::IMPORT_HELP,
    },
    Applet {
        names: &["export"],
        command: entry_points::export,
        run: entry_points::run_export,
        help: &entry_points::EXPORT_HELP,
    },
    Applet {
        names: &["rename"],
        command: entry_points::rename,
        run: entry_points::run_rename,
        help: &entry_points::RENAME_HELP,
    },
    Applet {
        names: &["verify"],
        command: entry_points::verify,
        run: entry_points::run_verify,
        help: &entry_points::VERIFY_HELP,
    },
    Applet {
        names: &["distribute"],
        command: distribute::distribute,
        run: distribute::run_distribute,
        help: &distribute::HELP,
    },
    Applet {
        names: &["initrd", "make-ramboot-initrd"],
        command: initrd::initrd,
        run: initrd::run_initrd,
        help: &initrd::HELP,
    },
    Applet {
        names: &["transfer", "p2v-transfer"],
        command: transfer::transfer,
        run: transfer::run_transfer,
        help: &transfer::HELP,
    },
    Applet {
        names: &["inspect"],
        command: inspect::inspect,
        run: inspect::run_inspect,
        help: &inspect::HELP,
    },
    Applet {
        names: &["image"],
        command: image::image,
        run: image::run_image,
        help: &image::HELP,
    },
    Applet {
        names: &["doctor"],
        command: doctor::doctor,
        run: doctor::run_doctor,
        help: &doctor::HELP,
    },
    Applet {
        names: &["agent"],
        command: agent::agent,
        run: agent::run_agent,
        help: &agent::HELP,
    },
    Applet {
        names: &["fixes"],
        command: fixes::fixes,
        run: fixes::run_fixes,
        help: &fixes::FIXES_HELP,
    },
    Applet {
        names: &["fix"],
        command: fixes::fix,
        run: fixes::run_fix,
        help: &fixes::FIX_HELP,
    },
    Applet {
        names: &["init"],
        command: init::init,
        run: init::run_init,
        help: &init::HELP,
    },
    Applet {
        names: &["ready"],
        command: ready::ready,
        run: ready::run_ready,
        help: &ready::HELP,
    },
];

impl Applet {
    /// Its command by that name, with all that its help shows.
    pub fn explained(&self, name: &'static str) -> Command {
        let command = (self.command)().name(name).version(VERSION);
        // What the kernel gives init is no option.
        if command.is_hide_set() {
            return command;
        }
        help::explained(command.args(log::arguments()), self.help)
    }
}

/// Runs what `args`, the whole command line, asks for.
pub fn dispatch(args: Vec<OsString>) -> ExitCode {
    let called = args.first().map(OsString::as_os_str).unwrap_or_default();
    match by_name(called) {
        Some((name, applet)) => match matches(applet.explained(name).bin_name(name), args) {
            Ok(matches) => run(applet, &matches),
            Err(status) => status,
        },
        None => match matches(whole(), args) {
            Ok(all) => {
                let (name, its_matches) = all.subcommand().expect("clap requires a subcommand");
                let (_, applet) = by_name(OsStr::new(name)).expect("clap knows the table's names");
                run(applet, its_matches)
            }
            Err(status) => status,
        },
    }
}

fn run(applet: &Applet, matches: &ArgMatches) -> ExitCode {
    let name = applet.names[0];
    let chosen = Log::choose(matches, &Environment::from_process());
    let result = match chosen {
        Ok(log) => {
            log.start(name);
            (applet.run)(matches)
        }
        Err(error) => {
            log::current().start(name);
            Err(error)
        }
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            log::error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Parses. For `--help` and `--version` it prints the answer, for wrong
/// arguments what is wrong; the status is what the process is to exit with.
fn matches(command: Command, args: Vec<OsString>) -> Result<ArgMatches, ExitCode> {
    let json = Log::guess(&args, &Environment::from_process()).json;
    command.try_get_matches_from(args).map_err(|error| {
        if !error.use_stderr() {
            // A reader that has enough is no failure.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        log::usage_error(&error.render().to_string(), json);
        ExitCode::from(help::WRONG_USAGE)
    })
}

/// `p2v` itself, every applet a subcommand.
pub fn whole() -> Command {
    Command::new("p2v")
        .about("Moves physical Linux machines into Ganeti instances")
        .long_about(WHOLE)
        .version(VERSION)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(log::arguments())
        .subcommands(APPLETS.iter().map(|applet| {
            applet
                .explained(applet.names[0])
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
