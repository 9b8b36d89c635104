//! The programs' arguments, and the calls that do their work.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use p2v_ganeti::environment::Environment;
use p2v_ramboot::builder::{self, Compression, InitrdRequest};
use p2v_sys::supervise;

use crate::log;

const ENVIRONMENT: &str = "Ganeti gives what there is to do in the environment; see the manual \
                           page ganeti-os-interface(7).";

/// Ganeti's create.
pub fn create() -> Command {
    entry_point(
        "create",
        "Makes an instance's disk, as Ganeti's OS interface asks",
    )
}

/// Ganeti's import.
pub fn import() -> Command {
    entry_point("import", "Restores an instance's disk from standard input")
}

/// Ganeti's export.
pub fn export() -> Command {
    entry_point("export", "Streams an instance's disk to standard output")
}

/// Ganeti's rename.
pub fn rename() -> Command {
    entry_point("rename", "Gives a renamed instance's system its new name")
}

/// Ganeti's verify.
pub fn verify() -> Command {
    entry_point("verify", "Checks the OS parameters").arg(
        Arg::new("check")
            .help("What to check")
            .required(true)
            .num_args(1..)
            .value_parser(PossibleValuesParser::new(p2v_ganeti::verify::CHECKS)),
    )
}

/// The configuration and the cache on all nodes.
pub fn distribute() -> Command {
    Command::new("distribute")
        .about("Copies the configuration and the bootstrap cache from the master to all nodes")
        .after_help("The status is 0 if all nodes are equal at the end (with --dry-run: already).")
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .help("Only show the commands that would be run")
                .action(ArgAction::SetTrue),
        )
}

/// PID 1 of the ramboot initrd. The kernel hands it whatever it did not
/// understand of its command line.
pub fn init() -> Command {
    Command::new("init")
        .about("Moves the root into RAM; only as PID 1 of a ramboot initrd")
        .hide(true)
        .disable_help_flag(true)
        .arg(
            Arg::new("ignored")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .action(ArgAction::Append),
        )
}

/// The last step of the RAM system's boot.
pub fn ready() -> Command {
    Command::new("ready")
        .about("Checks that no disk is in use, and says on the console how to log in")
}

/// The builder of ramboot initrds.
pub fn initrd() -> Command {
    InitrdArgs::augment_args(Command::new("initrd"))
        .about("Builds the initrd that moves an instance into RAM")
}

#[derive(Args)]
struct InitrdArgs {
    /// Kernel to build for, as in `uname -r`
    #[arg(long, value_name = "VERSION")]
    kernel: String,
    /// Root to take the kernel's modules from
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// File to write [default: ./ramboot-VERSION.img]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Module to include beside those for virtual hardware; may be repeated
    #[arg(long = "module", value_name = "NAME")]
    modules: Vec<String>,
    /// Compression of the initrd
    #[arg(long, value_name = "METHOD", default_value = "zstd",
          value_parser = PossibleValuesParser::new(Compression::ALL.map(Compression::name)))]
    compress: String,
    /// Put the root itself inside: it then boots without any disk
    #[arg(long, requires = "root")]
    self_contained: bool,
    /// Overwrite FILE
    #[arg(long)]
    force: bool,
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
    let checks: Vec<String> = matches
        .get_many("check")
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    p2v_ganeti::verify::run(&Environment::from_process(), &checks)?;
    Ok(0)
}

/// Brings all nodes to what the master node has.
pub fn run_distribute(matches: &ArgMatches) -> Result<u8> {
    let dry_run = matches.get_flag("dry-run");
    let (report, equal) = p2v_ganeti::distribute::run(&Environment::from_process(), dry_run)?;
    print!("{report}");
    Ok(u8::from(!equal))
}

/// Builds an initrd.
pub fn run_initrd(matches: &ArgMatches) -> Result<u8> {
    let args = InitrdArgs::from_arg_matches(matches)?;
    let output = args
        .output
        .unwrap_or_else(|| PathBuf::from(format!("ramboot-{}.img", args.kernel)));
    let report = builder::build(&InitrdRequest {
        root: args.root,
        kernel: args.kernel,
        output: output.clone(),
        modules: args.modules,
        compression: args.compress.parse()?,
        force: args.force,
        self_contained: args.self_contained,
        init_binary: builder::init_binary()?,
    })?;
    tracing::info!(
        "{}: {} bytes, {} modules",
        output.display(),
        report.bytes,
        report.modules.len()
    );
    Ok(0)
}

/// Never returns.
pub fn run_init(_: &ArgMatches) -> Result<u8> {
    p2v_ramboot::init::run()
}

/// Checks and announces the RAM system.
pub fn run_ready(_: &ArgMatches) -> Result<u8> {
    p2v_ramboot::ready::run()?;
    Ok(0)
}

fn entry_point(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).after_help(ENVIRONMENT)
}
