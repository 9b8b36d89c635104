//! What a fix must know of the machine that the transferred system now runs
//! on, and of the one it came from.
//!
//! It is read from a JSON file ([`Machine::load`]), which a transfer writes
//! with all the old names, or found out on the running target ([`found`]),
//! which does not know them: then mount points tell which is which.

pub mod found;
mod specs;

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

pub use p2v_hostname::HostnamePolicy;
pub use specs::{Resolved, Spec, octal_decoded, octal_encoded};

/// Ganeti's `serial_speed` for KVM, unless an admin chose another, in baud.
const USUAL_SPEED: u32 = 38400;

/// The machine, new and old.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    /// What runs it.
    pub hypervisor: Hypervisor,
    /// The instance's name.
    pub instance: String,
    /// What becomes of the name that the system brings along.
    pub hostname: HostnamePolicy,
    /// How it starts.
    pub boot: BootMode,
    /// The disk that it starts from, as it is called here: `/dev/vda`.
    pub boot_disk: String,
    /// The filesystems and swap areas that it has now.
    pub volumes: Vec<Volume>,
    /// What fstab may have called old filesystems that did not come along.
    pub gone: Vec<String>,
    /// The old disks' own names, `/dev/sda` and the like, with those of
    /// `/dev/disk`.
    pub old_disks: Vec<String>,
    /// The network cards that it has now.
    pub nics: Vec<Nic>,
    /// The consoles that it has: `tty0`, `ttyS0`, `hvc0`. Empty for what the
    /// hypervisor has by default.
    pub consoles: Vec<String>,
    /// The serial console's speed in baud; 0 for Ganeti's usual one.
    pub serial_speed: u32,
}

/// Ganeti's hypervisors that a full system runs under.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hypervisor {
    /// QEMU with KVM: virtio.
    #[default]
    #[serde(rename = "kvm")]
    Kvm,
    /// Xen, paravirtual.
    #[serde(rename = "xen-pvm")]
    XenPvm,
    /// Xen, with emulated hardware.
    #[serde(rename = "xen-hvm")]
    XenHvm,
}

impl Hypervisor {
    /// The one that Ganeti calls so.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "kvm" => Some(Self::Kvm),
            "xen-pvm" => Some(Self::XenPvm),
            "xen-hvm" => Some(Self::XenHvm),
            _ => None,
        }
    }

    /// Ganeti's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::XenPvm => "xen-pvm",
            Self::XenHvm => "xen-hvm",
        }
    }
}

/// How the machine starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootMode {
    /// From the boot sector.
    #[default]
    Bios,
    /// From the EFI system partition's removable path.
    Efi,
    /// With a kernel that the node gives it.
    Direct,
}

/// A filesystem or swap area, as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Volume {
    /// Its device: `/dev/vda1`.
    pub device: String,
    /// blkid's word for the type: `ext4`, `vfat`, `swap`.
    pub kind: String,
    /// Its UUID.
    pub uuid: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// Its partition's UUID.
    pub partuuid: Option<String>,
    /// Its partition's name in a GPT.
    pub partlabel: Option<String>,
    /// Where it belongs in the transferred system: `/`, `/home`. None for swap.
    pub mount_point: Option<String>,
    /// What it was called on the old machine, in fstab's notations:
    /// `/dev/sda1`, `UUID=...`, `/dev/mapper/vg-root`.
    pub was: Vec<String>,
}

/// A network card, as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nic {
    /// Its hardware address.
    pub mac: String,
    /// What the transferred system will call it: `ens3`, `eth0`.
    pub name: String,
    /// What the card that it stands in for was called.
    pub old_name: Option<String>,
    /// That card's hardware address.
    pub old_mac: Option<String>,
}

impl Machine {
    /// Reads a machine from a JSON file.
    pub fn load(path: &Path) -> Result<Self> {
        let doing = || format!("reading the machine from {}", path.display());
        let text = std::fs::read(path).with_context(doing)?;
        serde_json::from_slice(&text)
            .map_err(|error| anyhow!("{}: {error}: docs/fixes.md has the fields", doing()))
    }

    /// The consoles, the one that init gets as the last.
    pub fn consoles(&self) -> Vec<&str> {
        match (self.consoles.is_empty(), self.hypervisor) {
            (false, _) => self.consoles.iter().map(String::as_str).collect(),
            (true, Hypervisor::XenPvm) => vec!["hvc0"],
            (true, Hypervisor::Kvm | Hypervisor::XenHvm) => vec!["tty0", "ttyS0"],
        }
    }

    /// The serial console's speed in baud.
    pub fn serial_speed(&self) -> u32 {
        match self.serial_speed {
            0 => USUAL_SPEED,
            speed => speed,
        }
    }

    /// The filesystem mounted there in the transferred system.
    pub fn mounted_on(&self, mount_point: &str) -> Option<&Volume> {
        self.volumes
            .iter()
            .find(|volume| volume.mount_point.as_deref() == Some(mount_point))
    }

    /// The swap areas.
    pub fn swaps(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.iter().filter(|volume| volume.is_swap())
    }

    /// The card whose old or new hardware address this is, in any case.
    pub fn nic_by_mac(&self, mac: &str) -> Option<&Nic> {
        let is = |known: &str| known.eq_ignore_ascii_case(mac);
        self.nics
            .iter()
            .find(|nic| nic.old_mac.as_deref().is_some_and(is))
            .or_else(|| self.nics.iter().find(|nic| is(&nic.mac)))
    }
}

impl Volume {
    /// Whether it is a swap area.
    pub fn is_swap(&self) -> bool {
        self.kind == "swap"
    }
}
