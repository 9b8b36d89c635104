//! The ramboot initrd: its builder, and the init that runs in it.
//!
//! [`builder`] runs on a node and writes the initrd of a kernel; [`init`] is
//! that initrd's PID 1. What both must read alike, the kernel's module
//! indexes, is in [`modules`]. Neither needs initramfs-tools, busybox or a
//! shell.
//!
//! # What is inside the initrd
//!
//! One newc cpio archive, compressed as a whole:
//!
//! | Path | What |
//! |---|---|
//! | `init` | the static p2v-init, or p2v itself |
//! | `dev/console` | character device 5:1, which PID 1 gets as its standard input and outputs |
//! | `dev`, `proc`, `sys`, `run`, `root`, `tmp` | empty directories |
//! | `p2v-root/NUMBER` | in the self-contained form the root itself, see `embedded.rs` |
//! | `etc/p2v-initrd` | [`MARKER`], a line a fact: the kernel's version, and what made it |
//! | `lib/modules/VERSION/…/NAME.ko.folded` | the modules, each with all that it depends on; `NAME.ko` where one cannot be folded |
//! | `lib/modules/VERSION/modules.{dep,alias,softdep,builtin}` | kmod's own text formats, cut down to what is inside |
//!
//! Folding rearranges a module so that it compresses better;
//! [`modules::Module::read`] undoes it. The format is in `modules/folded.rs`.
//!
//! `lib` is a directory, never a link.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use p2v_sys::Root;

pub mod builder;
mod embedded;
pub mod init;
pub mod modules;
pub mod pair;
pub mod ready;

/// What the programs in fuzz/ call beside the public functions.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::init::cmdline::CommandLine;
    pub use crate::init::partition_table::Table;
    pub use crate::init::superblock::probe;

    /// A module as it goes into the initrd; `None` if it goes as it is.
    pub fn fold(module: &[u8]) -> Option<Vec<u8>> {
        crate::modules::folded::fold(module)
    }

    /// The module that was folded.
    pub fn unfold(folded: &[u8]) -> anyhow::Result<Vec<u8>> {
        crate::modules::folded::unfold(folded)
    }
}

/// The file in the initrd that says that it is one of ours. Without it, or
/// when it is not PID 1, `init` refuses to run.
pub const MARKER: &str = "/etc/p2v-initrd";

/// A file at the top of a root which create has not finished. `init` refuses
/// to boot such a root and says that the instance must be reinstalled.
pub const INCOMPLETE: &str = "/.p2v-incomplete";

/// A file that `init` leaves at the top of the root that it has put into RAM,
/// and that no other root has: only there may disks be overwritten.
pub const IN_RAM: &str = "/.p2v-in-ram";

/// The file of a root that names what is not to be in RAM.
pub const EXCLUDE: &str = "/etc/ramboot.exclude";

/// What to hand over to, in the order of the kernel's own attempts.
const INITS: [&str; 4] = [
    "/sbin/init",
    "/etc/init",
    "/bin/init",
    "/lib/systemd/systemd",
];

/// A path relative to the root, as lists of files write it: "/usr/./share/" is
/// "usr/share", and "/" is ".".
fn normal(path: &Path) -> PathBuf {
    let parts = path.components();
    let normal: PathBuf = parts
        .filter(|c| matches!(c, Component::Normal(_)))
        .collect();
    if normal.as_os_str().is_empty() {
        return PathBuf::from(".");
    }
    normal
}

/// What [`EXCLUDE`] of `root` names, relative to it.
fn excluded(root: &Root) -> Result<Vec<PathBuf>> {
    let text = root.read_text(EXCLUDE);
    let text = text.with_context(|| format!("reading {EXCLUDE} of the root"))?;
    let text = text.unwrap_or_default();
    let lines = text.lines().map(str::trim);
    Ok(lines
        .filter(|line| line.starts_with('/'))
        .map(|line| normal(Path::new(line)))
        .collect())
}
