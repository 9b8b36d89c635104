//! `p2v initrd`, also `make-ramboot-initrd`: builds ramboot initrds.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{ArgMatches, Args, Command, FromArgMatches, ValueHint};
use p2v_ramboot::builder::{self, Compression, InitrdRequest};

use crate::help::Help;
use crate::paths;

/// What its help says.
pub const HELP: Help = Help {
    description: &[
        "Makes an initrd of a kernel's modules for virtual hardware (virtio, Xen, SCSI, AHCI, NVMe, \
         e1000, ext2 to ext4, xfs, btrfs) and p2v's own init. Booted with it, a machine copies its \
         root into RAM and lets its disk go. create makes one for every instance by itself.",
        "With --self-contained the root itself is put inside, and the machine boots whatever became \
         of its disk. Such a file holds the root's secrets, so only its owner may read it.",
        "Nothing but the root's files is needed: no initramfs-tools, no busybox. No program of the \
         root is run.",
    ],
    statuses: &[
        (0, "The file is complete."),
        (
            1,
            "There is none, or the old one is as it was; the last line says why and what to do.",
        ),
    ],
    examples: &[
        (
            "p2v initrd --kernel 6.1.0-56-amd64 --root /srv/root --output ramboot.img",
            "Build one of another root's modules",
        ),
        (
            "p2v initrd --self-contained --kernel 6.1.0-56-amd64 --root /mnt --output web1.img",
            "Build one that needs no disk, of a created disk that is mounted on /mnt",
        ),
    ],
};

#[derive(Args)]
struct InitrdArgs {
    /// Kernel to build for, as `uname -r` prints it there
    #[arg(long, value_name = "VERSION", value_hint = ValueHint::Other)]
    kernel: String,
    /// Root to take the kernel's modules from
    #[arg(long, value_name = "DIR", default_value = "/",
          value_parser = paths::directory(), value_hint = ValueHint::DirPath)]
    root: PathBuf,
    /// File to write [default: ./ramboot-VERSION.img]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Module or alias to include beside those for virtual hardware; may be
    /// repeated
    #[arg(long = "module", value_name = "NAME", value_hint = ValueHint::Other)]
    modules: Vec<String>,
    /// Compression of the initrd
    #[arg(long, value_name = "METHOD", default_value = "zstd",
          value_parser = PossibleValuesParser::new(Compression::ALL.map(Compression::name)))]
    compress: String,
    /// Put the root itself inside, packed: it then boots without any disk
    #[arg(long, requires = "root")]
    self_contained: bool,
    /// Overwrite FILE
    #[arg(long)]
    force: bool,
}

/// The builder of ramboot initrds.
pub fn initrd() -> Command {
    InitrdArgs::augment_args(Command::new("initrd"))
        .about("Builds the initrd that moves an instance into RAM")
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
