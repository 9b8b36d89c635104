//! What the target is, as its agent found it.

use p2v_fixes::machine::{BootMode, Hypervisor};
use serde::{Deserialize, Serialize};

/// The target machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// p2v's version there.
    pub p2v: String,
    /// Its name.
    pub hostname: String,
    /// The instance's name, if Ganeti told it.
    pub instance: Option<String>,
    /// What runs it.
    pub hypervisor: Hypervisor,
    /// How its firmware starts it.
    pub boot: BootMode,
    /// Whether its root lies in RAM and p2v's init put it there.
    pub ram_booted: bool,
    /// RAM in bytes: all, and what is free for use.
    pub memory: u64,
    /// See `memory`.
    pub memory_available: u64,
    /// Its processors.
    pub processors: u32,
    /// Another transfer that is at work there.
    pub at_work: Option<AtWork>,
    /// Its disks; none of one that does not run in RAM, whose own they are.
    pub disks: Vec<TargetDisk>,
    /// Its network cards, the first one first.
    pub nics: Vec<TargetNic>,
    /// Programs of those a transfer can need which are missing there.
    pub missing_tools: Vec<String>,
    /// Filesystems that its kernel can mount.
    pub filesystems: Vec<String>,
}

/// A disk of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetDisk {
    /// `/dev/vda`.
    pub device: String,
    /// Bytes.
    pub size: u64,
    /// Bytes in a logical sector.
    pub sector_size: u32,
    /// Who holds it, if somebody does: a mount point, `swap`, a program.
    pub in_use: Option<String>,
    /// What is on it now, a line each: `vda1 ext4 2 GiB "root"`.
    pub holds: Vec<String>,
    /// The plan that it was made for, if its volumes say so.
    pub plan_id: Option<String>,
    /// Which disk of the source it was begun from: see [`crate::source::Disk`].
    pub begun_from: Option<String>,
}

/// A network card of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetNic {
    /// `ens3`.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
}

/// A run of a transfer that has a living agent on the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtWork {
    /// Which run: see [`crate::protocol::Request`].
    pub run: String,
    /// What it makes of the disks.
    pub plan_id: String,
    /// The address that it comes from, as its connection's SSH server told.
    pub from: Option<String>,
    /// Since when this agent of it works, RFC 3339 by the target's clock.
    pub since: String,
    /// The agent's process there.
    pub process: i32,
}

impl std::fmt::Display for AtWork {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let from = self.from.as_deref().unwrap_or("an unknown address");
        let (since, process, plan) = (&self.since, self.process, &self.plan_id);
        write!(
            f,
            "another transfer is at work on the target, from {from} since {since} (process \
             {process}, plan {plan})"
        )
    }
}

/// What to do about [`AtWork`], for messages.
pub const ABOUT_ANOTHER: &str = "wait for its end; if it has lost its machine or its network, \
    the target frees itself two minutes later, or at once with --take-over, which ends it";
