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
//! | `init` | the static p2v binary |
//! | `dev/console` | character device 5:1, which PID 1 gets as its standard input and outputs |
//! | `dev`, `proc`, `sys`, `run`, `root`, `tmp` | empty directories |
//! | `etc/p2v-initrd` | [`MARKER`], a line a fact: the kernel's version, and what made it |
//! | `lib/modules/VERSION/…/NAME.ko.folded` | the modules, each with all that it depends on; `NAME.ko` where one cannot be folded |
//! | `lib/modules/VERSION/modules.{dep,alias,softdep,builtin}` | kmod's own text formats, cut down to what is inside |
//!
//! Folding rearranges a module so that it compresses better;
//! [`modules::Module::read`] undoes it. The format is in `modules/folded.rs`.
//!
//! `lib` is a directory, never a link.

pub mod builder;
pub mod init;
pub mod modules;
pub mod ready;

/// The file in the initrd that says that it is one of ours. Without it, or
/// when it is not PID 1, `init` refuses to run.
pub const MARKER: &str = "/etc/p2v-initrd";

/// A file at the top of a root which create has not finished. `init` refuses
/// to boot such a root and says that the instance must be reinstalled.
pub const INCOMPLETE: &str = "/.p2v-incomplete";

/// A file that `init` leaves at the top of the root that it has put into RAM,
/// and that no other root has: only there may disks be overwritten.
pub const IN_RAM: &str = "/.p2v-in-ram";
