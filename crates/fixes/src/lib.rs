//! The repairs of a transferred system: what its new hardware makes wrong.
//!
//! A fix is a function of the [`Machine`] and a [`Draft`] of the root; it says
//! what it found with a [`Verdict`]. It edits texts and runs nothing: programs
//! of the transferred system that must follow are [`Step`]s. The [`runner`]
//! runs the directory fixes.d, where each of [`BUILT_IN`] has its two lines and
//! operators have their own.
//!
//! Nothing here copies files, makes filesystems or knows a transfer.

pub mod cmdline;
pub mod draft;
mod fix;
pub mod lines;
pub mod machine;
pub mod part;
pub mod report;
pub mod runner;
pub mod step;
mod system;
#[cfg(test)]
mod testing;

/// What the programs in fuzz/ call beside the public functions.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::fix::initramfs::archive::{Contents, read};
}

use anyhow::Result;

pub use draft::Draft;
pub use machine::Machine;
pub use step::Step;

/// What a fix found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It does not apply to this system, and why.
    NotNeeded(String),
    /// The system is as it must be.
    Right(String),
    /// What it changed, a line a thing.
    Changed(Vec<String>),
}

impl Verdict {
    /// Changed, or right as it was if there is nothing in `lines`.
    pub fn of(lines: Vec<String>, right: &str) -> Self {
        match lines.is_empty() {
            true => Self::Right(right.to_owned()),
            false => Self::Changed(lines),
        }
    }

    /// It does not apply.
    pub fn not_needed(why: &str) -> Self {
        Self::NotNeeded(why.to_owned())
    }
}

/// A fix's work.
pub type Fix = fn(&Machine, &mut Draft) -> Result<Verdict>;

/// A fix that comes with p2v-target.
#[derive(Debug)]
pub struct BuiltIn {
    /// What its part's name begins with: the order.
    pub number: u8,
    /// Its name, `verb-noun`.
    pub name: &'static str,
    /// What it does, in a line.
    pub purpose: &'static str,
    /// Whether a system that it fails on may not start.
    pub vital: bool,
    /// The work.
    pub run: Fix,
}

impl BuiltIn {
    const fn new(number: u8, name: &'static str, purpose: &'static str, run: Fix) -> Self {
        Self {
            number,
            name,
            purpose,
            vital: false,
            run,
        }
    }

    const fn vital(mut self) -> Self {
        self.vital = true;
        self
    }

    /// Its name in fixes.d.
    pub fn part(&self) -> String {
        format!("{:02}-{}", self.number, self.name)
    }
}

/// Every fix, in the order in which they run.
pub const BUILT_IN: &[BuiltIn] = &[
    BuiltIn::new(
        10,
        "repair-fstab",
        "fstab names the filesystems and swap areas that are there",
        fix::fstab::run,
    )
    .vital(),
    BuiltIn::new(
        15,
        "repair-crypttab",
        "crypttab names the devices that are there",
        fix::crypttab::run,
    ),
    BuiltIn::new(
        20,
        "repair-cmdline",
        "root= and resume= of the kernel's command line, and RESUME",
        fix::cmdline::run,
    )
    .vital(),
    BuiltIn::new(
        30,
        "drop-device-rules",
        "udev's rules for the old cards and drives",
        fix::device_rules::run,
    ),
    BuiltIn::new(
        35,
        "rename-nics",
        "the network configuration names the cards that are there",
        fix::nics::run,
    ),
    BuiltIn::new(
        40,
        "set-consoles",
        "the kernel's messages and a login on the instance's consoles",
        fix::consoles::run,
    ),
    BuiltIn::new(
        50,
        "set-hostname",
        "the host name: the system's own, or the instance's",
        fix::hostname::run,
    ),
    BuiltIn::new(
        55,
        "keep-machine-id",
        "the machine's id stays as it was",
        fix::machine_id::run,
    ),
    BuiltIn::new(
        60,
        "scrub-lvm",
        "LVM's list of devices, and filters that name old disks",
        fix::lvm::run,
    ),
    BuiltIn::new(
        65,
        "scrub-mdadm",
        "arrays in mdadm.conf that did not come along",
        fix::mdadm::run,
    ),
    BuiltIn::new(
        70,
        "relabel-selinux",
        "SELinux writes its labels anew at the first start",
        fix::selinux::run,
    ),
    BuiltIn::new(
        75,
        "disable-daemons",
        "daemons of the old hardware",
        fix::daemons::run,
    ),
    BuiltIn::new(
        80,
        "reset-debconf",
        "the disk that grub-pc is to install itself on",
        fix::debconf::run,
    ),
    BuiltIn::new(
        85,
        "rebuild-initramfs",
        "the new disk's drivers are in the initramfs of every kernel",
        fix::initramfs::run,
    )
    .vital(),
    BuiltIn::new(
        90,
        "install-bootloader",
        "the system's own boot loader on the disk that the instance starts from",
        fix::bootloader::run,
    )
    .vital(),
];

/// The fix of that name.
pub fn by_name(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|fix| fix.name == name)
}
