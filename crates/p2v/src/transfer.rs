//! `p2v transfer`: moves a machine into its instance.

mod terminal;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use clap::{ArgMatches, Args, Command, FromArgMatches, ValueHint};
use p2v_copy::Compression;
use p2v_fixes::machine::HostnamePolicy;
use p2v_sys::supervise;
use p2v_transfer::connection::Address;
use p2v_transfer::plan::Wishes;
use p2v_transfer::progress::Form;
use p2v_transfer::run::{self, Request};

use crate::help::Help;
use crate::{log, paths};
use terminal::{Terminal, printable};

/// What its help says.
pub const HELP: Help = Help {
    description: &[
        "Runs on the machine that moves, started from a live medium, and copies its system into an \
         instance that waits in RAM. The source's disks are only ever read. Nothing is written to \
         the target before the plan was shown and confirmed.",
        "An interrupted transfer goes on where it stopped when it is run again with the same \
         options.",
    ],
    statuses: &[
        (
            0,
            "The machine was moved and will start, or as much of that was done as was asked for.",
        ),
        (
            1,
            "It was not moved; the last line says why and what to do.",
        ),
        (
            2,
            "It was moved, and may not start or differs: the target stays in RAM. Or it did not \
             say that it restarts: the last line says what to look at.",
        ),
    ],
    examples: &[
        (
            "p2v transfer --target web1.example.org --dry-run",
            "See the plan and all that speaks against it; write nothing",
        ),
        (
            "p2v transfer --target web1.example.org --host-key SHA256:...",
            "Move this machine; create and the target's console say the host key's fingerprint",
        ),
        (
            "p2v transfer --target web1.example.org --source old.img --yes --progress json",
            "Move a machine whose disk is an image, from a script",
        ),
        (
            "p2v transfer --target web1.example.org --seed",
            "Copy ahead; a later run without --seed sends what has changed, and finishes",
        ),
        (
            "p2v transfer --target web1.example.org --status",
            "See how far it came",
        ),
    ],
};

#[derive(Args)]
struct TransferArgs {
    /// The target: the RAM-booted instance's name or address [default user:
    /// root]
    #[arg(long, value_name = "[USER@]HOST", value_hint = ValueHint::Hostname)]
    target: String,
    /// SSH port of the target
    #[arg(long, default_value_t = 22, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Private key that the target knows [default: ssh's own choice]
    #[arg(long, value_name = "FILE", value_parser = paths::file(),
          value_hint = ValueHint::FilePath)]
    identity: Option<PathBuf>,
    /// Fingerprint of the target's host key, as create and the target's console
    /// say it; may be repeated [default: ask]
    #[arg(long = "host-key", value_name = "SHA256:...", value_hint = ValueHint::Other)]
    host_keys: Vec<String>,
    /// Disk, or a disk's image, of the source; may be repeated, the one it
    /// starts from first [default: every disk of this machine]
    #[arg(long = "source", value_name = "DISK", value_parser = paths::disk(),
          value_hint = ValueHint::FilePath)]
    disks: Vec<PathBuf>,
    /// Follow this plan, as --save-plan writes it [default: the source's own
    /// layout, scaled]
    #[arg(long, value_name = "FILE", value_parser = paths::file(),
          value_hint = ValueHint::FilePath)]
    plan: Option<PathBuf>,
    /// Write the plan to this file, to be edited
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    save_plan: Option<PathBuf>,
    /// What becomes of the machine's name: kept, or the instance's; a plan that
    /// is given says it itself
    #[arg(long, value_name = "POLICY", default_value = "keep", conflicts_with = "plan",
          value_parser = PossibleValuesParser::new(["keep", "instance"]))]
    hostname: String,
    /// Stop before the first write
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before the target's disks are erased
    #[arg(long)]
    yes: bool,
    /// End another transfer that is at work on the target; one that works may
    /// be lost
    #[arg(long)]
    take_over: bool,
    /// Only copy; a later run copies what has changed by then, and finishes
    #[arg(long)]
    seed: bool,
    /// Compare both sides file by file after the copy
    #[arg(long)]
    verify: bool,
    /// Leave the target running in RAM at the end
    #[arg(long)]
    no_restart: bool,
    /// When contents are compressed on their way; adaptive: when the link is
    /// slower than compressing
    #[arg(long, value_name = "WHEN", default_value = "adaptive",
          value_parser = PossibleValuesParser::new(["adaptive", "always", "never"]))]
    compress: String,
    /// How progress is shown: as a bar on standard error (a line every 10
    /// seconds where that is no terminal), or about once a second as JSON on
    /// standard output [default: bar; none with --quiet]
    #[arg(long, value_name = "FORM",
          value_parser = PossibleValuesParser::new(["bar", "json", "none"]))]
    progress: Option<String>,
    /// Directory for the report; made if it is missing
    #[arg(long, value_name = "DIR", default_value = ".", value_parser = paths::directory_to_make(),
          value_hint = ValueHint::DirPath)]
    report_dir: PathBuf,
    /// Only say how far a transfer to this target came
    #[arg(long)]
    status: bool,
}

/// The source's side of a transfer.
pub fn transfer() -> Command {
    TransferArgs::augment_args(Command::new("transfer"))
        .about("Moves a physical machine into an instance that runs in RAM")
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
    let terminal = Terminal::new(args.yes);
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
            bail!("--target {}: give it as HOST or USER@HOST", self.target);
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

    /// A bar has no place among lines of JSON.
    fn form(&self) -> Form {
        match self.progress.as_deref() {
            Some("json") => Form::Json,
            Some("none") => Form::None,
            None if log::current().quiet => Form::None,
            _ if log::current().json => Form::Lines,
            _ => Form::Bar,
        }
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
            take_over: self.take_over,
            seed: self.seed,
            verify: self.verify,
            restart: !self.no_restart,
            compression: match self.compress.as_str() {
                "always" => Compression::Always,
                "never" => Compression::Never,
                _ => Compression::Adaptive,
            },
            report_dir: self.report_dir.clone(),
            progress: self.form(),
        })
    }
}
