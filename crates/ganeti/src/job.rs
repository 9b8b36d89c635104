//! What Ganeti asks for, validated: the instance, its disks, its network
//! interfaces and its OS parameters.
//!
//! The types here check one value each and say what is allowed; which variable
//! a value comes from is [`crate::environment`]'s matter. Nothing here reads
//! or writes a file.
//!
//! See <https://docs.ganeti.org/docs/ganeti/3.0/html/man-ganeti-os-interface.html>.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::{Serialize, Serializer};

pub mod network;

pub use network::{MacAddress, Network, Nic, Subnet};

/// What Ganeti asks for.
///
/// Serialised, it holds neither the values of OS parameters, which may be
/// secret, nor the hypervisor's parameters.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    /// The version of the interface that Ganeti speaks.
    pub api: ApiVersion,
    /// The instance's name, usually a fully qualified domain name.
    pub instance: InstanceName,
    /// Ganeti's UUID of it, where Ganeti has one: it outlives a new name.
    pub uuid: Option<String>,
    /// The OS as Ganeti knows it, with its variant: `p2v-target+default`.
    pub os: Option<String>,
    /// The variant, as it came: [`crate::settings`] checks it.
    pub variant: Option<String>,
    /// The hypervisor's name: `kvm`, `xen-pvm`, `xen-hvm`, …
    pub hypervisor: String,
    /// The disks, in Ganeti's order.
    pub disks: Vec<Disk>,
    /// The network interfaces, in Ganeti's order.
    pub nics: Vec<Nic>,
    /// The instance exists and its disk holds old data.
    pub reinstall: bool,
    /// 0: quiet, 1: verbose.
    pub debug_level: u32,
    /// The hypervisor's parameters (`INSTANCE_HV_*`): Python's `str()` of each,
    /// so that a boolean is `True` or `False`.
    #[serde(skip)]
    pub hypervisor_parameters: BTreeMap<String, String>,
    /// The OS parameters, by their names in lower case.
    pub parameters: OsParameters,
}

/// What Ganeti asks `rename` for.
#[derive(Debug, Clone)]
pub struct RenameJob {
    /// The instance, by its new name.
    pub job: Job,
    /// Its name until now.
    pub old_name: InstanceName,
}

/// What Ganeti asks `export` or `import` for: one disk, once a call.
#[derive(Debug, Clone)]
pub struct DiskJob {
    /// The instance.
    pub job: Job,
    /// The disk's number, from 0.
    pub index: u32,
    /// The disk; for an export it may be a snapshot of the instance's own.
    pub disk: Disk,
}

impl Job {
    /// The disk to install on.
    pub fn root_disk(&self) -> Result<&Disk> {
        let disk = self.disks.first().context(NO_DISK)?;
        if disk.access == Access::ReadOnly {
            bail!("{READ_ONLY_DISK}");
        }
        Ok(disk)
    }

    /// A parameter of the hypervisor, if it is set and not empty: its name is
    /// Ganeti's (`kernel_path`, `root_path`, `initrd_path`, …).
    pub fn hypervisor_parameter(&self, name: &str) -> Option<&str> {
        let value = self.hypervisor_parameters.get(name)?;
        // Python's None comes as a word.
        Some(value.as_str()).filter(|value| !value.is_empty() && *value != "None")
    }

    /// Whether the hypervisor gives the instance a serial console.
    pub fn serial_console(&self) -> bool {
        self.hypervisor_parameter("serial_console") == Some("True")
    }
}

/// Said when an instance has no disk at all.
pub(crate) const NO_DISK: &str = "DISK_COUNT is 0: the instance has no disk to install on";

/// Said when Ganeti does not say where the first disk is.
pub(crate) const NO_DISK_PATH: &str = "neither DISK_0_PATH nor DISK_0_URI is set: the first disk \
    must be a block device or a file on the node, or a disk that QEMU can reach";

/// Said when the instance may not write to the first disk.
const READ_ONLY_DISK: &str = "DISK_0_ACCESS is ro: the system is installed on the first disk, \
    which the instance must be able to write to";

/// A version of Ganeti's OS interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiVersion {
    /// Ganeti 2.0: no variants, no parameters.
    V10,
    /// Ganeti 2.1: variants.
    V15,
    /// Ganeti 2.3 and later: variants and parameters.
    V20,
}

impl ApiVersion {
    /// All of them, the newest first, as in ganeti_api_version.
    pub const ALL: [Self; 3] = [Self::V20, Self::V15, Self::V10];

    /// Ganeti's number.
    pub fn number(self) -> u32 {
        match self {
            Self::V10 => 10,
            Self::V15 => 15,
            Self::V20 => 20,
        }
    }

    /// Whether an OS has variants in this version.
    pub fn has_variants(self) -> bool {
        self >= Self::V15
    }
}

impl FromStr for ApiVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|version| version.number().to_string() == text)
            .ok_or_else(|| "not a version of the OS interface; known: 20, 15, 10: use a Ganeti that has one of \
                 these".to_owned())
    }
}

impl Serialize for ApiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.number())
    }
}

pub use p2v_hostname::HostName as InstanceName;

/// A disk of the instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// The block device or file on the node; `None` for a disk that only the
    /// hypervisor can reach.
    pub path: Option<PathBuf>,
    /// The disk in the hypervisor's words, where it reaches it by itself.
    pub uri: Option<String>,
    /// Whether the instance may write to it.
    pub access: Access,
    /// How the node sees it.
    pub backend: Option<Backend>,
    /// Its name, if the admin gave it one.
    pub name: Option<String>,
    /// Ganeti's UUID of it.
    pub uuid: Option<String>,
}

/// Whether the instance may write to a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// `rw`; `W` in Ganeti 2.0.
    #[default]
    ReadWrite,
    /// `ro`.
    ReadOnly,
}

impl FromStr for Access {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "rw" | "w" | "W" => Ok(Self::ReadWrite),
            "ro" | "r" | "R" => Ok(Self::ReadOnly),
            _ => Err("allowed: rw, ro".to_owned()),
        }
    }
}

/// How the node sees a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A block device.
    Block,
    /// A file, and the driver the hypervisor opens it with (`loop`, `blktap`).
    File(String),
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "block" => Ok(Self::Block),
            Some(("file", driver)) if is_word(driver) => Ok(Self::File(driver.to_owned())),
            _ => Err("allowed: block, file:DRIVER".to_owned()),
        }
    }
}

/// Whether `text` is a word of letters, digits and `._-`, not starting with a
/// dot or a hyphen: safe as a file's name and as an argument.
pub(crate) fn is_word(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !text.is_empty()
        && text.len() <= 128
        && !text.starts_with(['.', '-'])
}

/// The OS parameters as they came, by their names in lower case. Any of them
/// may be private or secret: shown or serialised, they are their names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OsParameters(BTreeMap<String, String>);

impl OsParameters {
    /// A parameter's value; an empty one counts as not given.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?.as_str();
        Some(value).filter(|value| !value.is_empty())
    }

    /// The names of all that came, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl FromIterator<(String, String)> for OsParameters {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl fmt::Debug for OsParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Serialize for OsParameters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.keys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_names_are_host_names_and_file_names() {
        let long_label = "a".repeat(64);
        let long_name = vec!["a".repeat(49); 6].join(".");
        let table = [
            ("web1.example.com", true),
            ("web_1", true),
            ("10", true),
            ("Web1.Example.COM", true),
            ("", false),
            (".", false),
            ("..", false),
            ("../x", false),
            ("a/b", false),
            ("a..b", false),
            (".hidden", false),
            ("trailing.", false),
            ("-option", false),
            ("a.-b", false),
            ("a b", false),
            ("a\nb", false),
            ("a$(id)", false),
            ("münchen", false),
            (&long_label, false),
            (&long_name, false),
        ];
        for (name, good) in table {
            assert_eq!(name.parse::<InstanceName>().is_ok(), good, "{name:?}");
        }
        let name: InstanceName = "web1.example.com".parse().unwrap();
        assert_eq!((name.short(), name.domain()), ("web1", Some("example.com")));
    }

    #[test]
    fn the_words_for_disks() {
        assert_eq!("block".parse(), Ok(Backend::Block));
        assert_eq!("file:loop".parse(), Ok(Backend::File("loop".to_owned())));
        for bad in ["", "file", "file:", "file:../x", "block:x"] {
            assert!(bad.parse::<Backend>().is_err(), "{bad:?}");
        }
        assert!("rwx".parse::<Access>().is_err());
    }

    #[test]
    fn parameters_show_their_names_alone() {
        let parameters = OsParameters::from_iter([("token".to_owned(), "s3cret".to_owned())]);
        assert_eq!(parameters.get("token"), Some("s3cret"));
        let shown = format!(
            "{parameters:?} {}",
            serde_json::to_string(&parameters).unwrap()
        );
        assert!(
            shown.contains("token") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
