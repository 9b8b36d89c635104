//! What the command says, on standard error: plain lines, since Ganeti keeps
//! them in the job's log with a time of its own; or, where asked for, a JSON
//! object a line.
//!
//! Arguments say how, or the environment where there are none: Ganeti starts
//! its scripts without any.

mod advice;
mod json;
mod output;
mod plain;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::sync::OnceLock;

use anyhow::{Result, bail};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches};
use p2v_ganeti::environment::Environment;
use tracing::Level;

const QUIET: &str = "quiet";
const VERBOSE: &str = "verbose";
const FORMAT: &str = "log-format";

/// The forms of a line, and the levels, by their names in the environment.
const FORMATS: [&str; 2] = ["text", "json"];
const LEVELS: [&str; 3] = [QUIET, "normal", VERBOSE];

/// How the log was started.
static LOG: OnceLock<Log> = OnceLock::new();

/// How the log speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// A JSON object a line.
    pub json: bool,
    /// Only warnings and errors.
    pub quiet: bool,
    /// Every command that is run, too.
    pub verbose: bool,
}

/// The arguments that every applet takes.
pub fn arguments() -> [Arg; 3] {
    let of = |name: &'static str, help: &'static str| {
        let arg = Arg::new(name).long(name).help(help).global(true);
        arg.help_heading("Messages")
    };
    [
        of(QUIET, "Say only warnings, errors and questions")
            .short('q')
            .action(ArgAction::SetTrue)
            .conflicts_with(VERBOSE)
            .display_order(901),
        of(VERBOSE, "Say every command that is run, too")
            .short('v')
            .action(ArgAction::SetTrue)
            .display_order(902),
        of(
            FORMAT,
            "Form of the messages on standard error [default: text]",
        )
        .value_name("FORM")
        .display_order(903)
        .value_parser(PossibleValuesParser::new(FORMATS)),
    ]
}

impl Log {
    /// As the arguments say, else the environment: `P2V_LOG_FORMAT`,
    /// `P2V_LOG_LEVEL`, and Ganeti's `DEBUG_LEVEL`, above 0 for every command.
    ///
    /// # Errors
    /// A variable has a value that it cannot have.
    pub fn choose(matches: &ArgMatches, environment: &Environment) -> Result<Self> {
        let flag = |name: &str| matches!(matches.try_get_one::<bool>(name), Ok(Some(true)));
        let format = matches.try_get_one::<String>(FORMAT).ok().flatten();
        let format = match format {
            Some(format) => Some(format.clone()),
            None => chosen("P2V_LOG_FORMAT", environment.log_format(), &FORMATS)?,
        };
        let given = match (flag(QUIET), flag(VERBOSE)) {
            (true, _) => Some(QUIET.to_owned()),
            (_, true) => Some(VERBOSE.to_owned()),
            _ => chosen("P2V_LOG_LEVEL", environment.log_level(), &LEVELS)?,
        };
        let debugged = given.is_none() && environment.is_verbose();
        Ok(Self {
            json: format.as_deref() == Some("json"),
            quiet: given.as_deref() == Some(QUIET),
            verbose: given.as_deref() == Some(VERBOSE) || debugged,
        })
    }

    /// For what is said before the arguments are known to be right: whether
    /// they, or the environment, ask for JSON.
    pub fn guess(args: &[OsString], environment: &Environment) -> Self {
        let json = OsStr::new("json");
        let apart = args
            .windows(2)
            .any(|pair| pair[0] == "--log-format" && pair[1] == json);
        let json = apart
            || args.iter().any(|arg| arg == "--log-format=json")
            || environment.log_format() == Some(json);
        Self {
            json,
            quiet: false,
            verbose: false,
        }
    }

    /// Starts the log; later calls change nothing.
    pub fn start(self, applet: &'static str) {
        if LOG.set(self).is_err() {
            return;
        }
        let level = match (self.quiet, self.verbose) {
            (true, _) => Level::WARN,
            (_, true) => Level::DEBUG,
            _ => Level::INFO,
        };
        let log = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(std::io::stderr)
            // Or a full disk below Ganeti's log would end us with a panic.
            .log_internal_errors(false);
        match self.json {
            true => log.event_format(json::Json { applet }).init(),
            false => log.event_format(plain::Plain).init(),
        }
        if self.json || self.quiet {
            p2v_sys::command::pass_output_to(output::said);
        }
    }
}

/// How the log speaks; as it does by itself, until it is started.
pub fn current() -> Log {
    let itself = Log {
        json: false,
        quiet: false,
        verbose: false,
    };
    LOG.get().copied().unwrap_or(itself)
}

/// Says why the command failed: one line, the whole chain, and what to do. It
/// is the last line, as Ganeti shows an admin only the end of the log.
pub fn error(error: &anyhow::Error) {
    match advice::advice(error, nix::unistd::geteuid().is_root()) {
        Some(advice) => tracing::error!("{error:#}: {advice}"),
        None => tracing::error!("{error:#}"),
    }
}

fn chosen(name: &str, value: Option<&OsStr>, known: &[&str]) -> Result<Option<String>> {
    let Some(value) = value else {
        return Ok(None);
    };
    match value.to_str().filter(|value| known.contains(value)) {
        Some(value) => Ok(Some(value.to_owned())),
        None => bail!(
            "choosing the form of messages: {name} in the environment is {value:?}: set it to \
             one of {}, or unset it",
            known.join(", ")
        ),
    }
}

/// A usage error, which clap words: in JSON one line, else as it is.
pub fn usage_error(text: &str, json: bool) {
    let text = text.trim_end();
    let text = match json {
        true => {
            let text = text.trim_start_matches("error: ");
            json::Line::now("p2v", Level::ERROR, text).text()
        }
        false => text.to_owned(),
    };
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}
