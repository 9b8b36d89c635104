//! `p2v transfer`: moves a machine into its instance.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use p2v_copy::Compression;
use p2v_fixes::machine::HostnamePolicy;
use p2v_sys::supervise;
use p2v_transfer::connection::Address;
use p2v_transfer::plan::Wishes;
use p2v_transfer::progress::Form;
use p2v_transfer::run::{self, Person, Request};

use crate::log;

const EXPLANATION: &str = "The source's disks are only ever read. Nothing is written to the \
    target before the plan was shown and confirmed. An interrupted transfer goes on where it \
    stopped when it is run again. The status is 0 if the machine was moved and will start, 2 if \
    it was moved and may not start, and 1 if it was not moved.";

#[derive(Args)]
struct TransferArgs {
    /// The target: the RAM-booted instance's name or address
    #[arg(long, value_name = "[USER@]HOST")]
    target: String,
    /// SSH port of the target
    #[arg(long, default_value_t = 22)]
    port: u16,
    /// Private key that the target knows [default: ssh's own choice]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Fingerprint of the target's host key, as create said it [default: ask]
    #[arg(long = "host-key", value_name = "SHA256:...")]
    host_keys: Vec<String>,
    /// Disk, or a disk's image, of the source; the one it starts from first
    /// [default: every disk of this machine]
    #[arg(long = "source", value_name = "DISK")]
    disks: Vec<PathBuf>,
    /// Follow this plan [default: the source's own layout, scaled]
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Write the plan to this file, to be edited
    #[arg(long, value_name = "FILE")]
    save_plan: Option<PathBuf>,
    /// What becomes of the machine's name; a plan that is given says it itself
    #[arg(long, value_name = "POLICY", default_value = "keep", conflicts_with = "plan",
          value_parser = PossibleValuesParser::new(["keep", "instance"]))]
    hostname: String,
    /// Stop before the first write
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before the target's disks are erased
    #[arg(long)]
    yes: bool,
    /// Only copy; a later run copies what has changed by then, and finishes
    #[arg(long)]
    seed: bool,
    /// Compare both sides file by file after the copy
    #[arg(long)]
    verify: bool,
    /// Leave the target running in RAM at the end
    #[arg(long)]
    no_restart: bool,
    /// When contents are compressed on their way
    #[arg(long, value_name = "WHEN", default_value = "adaptive",
          value_parser = PossibleValuesParser::new(["adaptive", "always", "never"]))]
    compress: String,
    /// How progress is shown
    #[arg(long, value_name = "FORM", default_value = "bar",
          value_parser = PossibleValuesParser::new(["bar", "json", "none"]))]
    progress: String,
    /// Directory for the report
    #[arg(long, value_name = "DIR", default_value = ".")]
    report_dir: PathBuf,
    /// Only say how far a transfer to this target came
    #[arg(long)]
    status: bool,
}

/// The source's side of a transfer.
pub fn transfer() -> Command {
    TransferArgs::augment_args(Command::new("transfer"))
        .about("Moves a physical machine into an instance that runs in RAM")
        .after_help(EXPLANATION)
}

/// Moves it.
pub fn run_transfer(matches: &ArgMatches) -> Result<u8> {
    let args = TransferArgs::from_arg_matches(matches)?;
    supervise::run(move || {
        transfer_supervised(&args).unwrap_or_else(|error| {
            log::error(&error);
            1
        })
    })
}

fn transfer_supervised(args: &TransferArgs) -> Result<u8> {
    let terminal = Terminal { yes: args.yes };
    if args.status {
        let status = run::status(&args.address()?, &terminal)?;
        return say_status(&status.phase, &status.lines);
    }
    match run::run(&args.request()?, &terminal)? {
        true => Ok(0),
        false => Ok(2),
    }
}

fn say_status(phase: &str, lines: &[String]) -> Result<u8> {
    let mut text = format!("{phase}\n");
    for line in lines {
        text += line;
        text.push('\n');
    }
    std::io::stdout()
        .write_all(printable(&text).as_bytes())
        .context("writing the status")?;
    Ok(0)
}

impl TransferArgs {
    fn address(&self) -> Result<Address> {
        let (user, host) = self
            .target
            .rsplit_once('@')
            .unwrap_or(("root", &self.target));
        if host.is_empty() || user.is_empty() {
            bail!("--target {}: it must be [USER@]HOST", self.target);
        }
        Ok(Address {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: self.port,
            user: user.to_owned(),
            identity: self.identity.clone(),
            host_keys: self.host_keys.clone(),
        })
    }

    fn request(&self) -> Result<Request> {
        Ok(Request {
            disks: self.disks.clone(),
            address: self.address()?,
            plan: self.plan.clone(),
            save_plan: self.save_plan.clone(),
            wishes: Wishes {
                hostname: match self.hostname.as_str() {
                    "instance" => HostnamePolicy::Instance,
                    _ => HostnamePolicy::Keep,
                },
            },
            dry_run: self.dry_run,
            seed: self.seed,
            verify: self.verify,
            restart: !self.no_restart,
            compression: match self.compress.as_str() {
                "always" => Compression::Always,
                "never" => Compression::Never,
                _ => Compression::Adaptive,
            },
            report_dir: self.report_dir.clone(),
            progress: match self.progress.as_str() {
                "json" => Form::Json,
                "none" => Form::None,
                _ => Form::Bar,
            },
        })
    }
}

/// What comes from disks and from the other machine must not steer a terminal.
fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { '?' } else { c };
    text.chars().map(plain).collect()
}

/// The person at the terminal, if there is one.
struct Terminal {
    /// Whether what is erased needs no word.
    yes: bool,
}

impl Person for Terminal {
    fn say(&self, text: &str) {
        // A closed standard error leaves nobody to tell.
        let _ = writeln!(std::io::stderr(), "{}", printable(text.trim_end()));
    }

    fn agrees(&self, question: &str) -> Result<bool> {
        if self.yes {
            return Ok(true);
        }
        if !std::io::stdin().is_terminal() {
            bail!("{question}\nthere is no terminal to ask at: --yes agrees");
        }
        self.asked(question)
    }

    fn knows_host_keys(&self, fingerprints: &[String]) -> Result<bool> {
        let list = fingerprints.join("\n  ");
        if !std::io::stdin().is_terminal() {
            bail!(
                "the target shows these host keys:\n  {list}\nand there is no terminal to ask at: \
                 give the right one, which create and the target's console say, with --host-key"
            );
        }
        self.asked(&format!(
            "The target shows these host keys:\n  {list}\nIs one of them what create or the \
             target's console said, and no other?"
        ))
    }
}

impl Terminal {
    fn asked(&self, question: &str) -> Result<bool> {
        let mut err = std::io::stderr();
        write!(err, "{} Type yes: ", printable(question)).context("asking")?;
        err.flush().context("asking")?;
        let mut answer = String::new();
        std::io::stdin()
            .read_line(&mut answer)
            .context("reading the answer")?;
        Ok(answer.trim() == "yes")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nobody_else_steers_the_terminal() {
        let text = "label \u{1b}]0;owned\u{7}\r\nerase? \u{9b}2J";
        assert_eq!(super::printable(text), "label ?]0;owned??\nerase? ?2J");
    }
}
