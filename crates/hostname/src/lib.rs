//! A machine's name in the files of its system: where it stands, and how it
//! changes. Used when an instance is renamed, and when a machine that moved in
//! takes its instance's name.
//!
//! Nothing here knows disks or Ganeti.

mod files;
mod names;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use files::Changes;
pub use names::{Form, Names, given_name, is_nobodys};

/// What becomes of a name of its own that a machine brings along.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostnamePolicy {
    /// The machine keeps it.
    #[default]
    Keep,
    /// The machine takes the instance's name.
    Instance,
}

impl HostnamePolicy {
    /// All of them, in the order in which messages list them.
    pub const ALL: [Self; 2] = [Self::Keep, Self::Instance];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Instance => "instance",
        }
    }
}

/// An instance's name: safe as a host name and as a file's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostName(String);

impl HostName {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name up to its first dot.
    pub fn short(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }

    /// What comes after the first dot, if there is one.
    pub fn domain(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, domain)| domain)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = String;

    /// Ganeti's own rule allows `_`, and so do we; its empty labels and
    /// leading hyphens are no use to a resolver or a command line.
    fn from_str(text: &str) -> Result<Self, String> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if text.len() > 253 || !text.split('.').all(label) {
            return Err(
                "not a host name: labels of letters, digits, `-` and `_`, at most 63 \
                characters each, joined by dots, at most 253 in all"
                    .to_owned(),
            );
        }
        Ok(Self(text.to_owned()))
    }
}
