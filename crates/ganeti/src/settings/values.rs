//! What a setting's text may be: each check says what is allowed.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

pub use p2v_hostname::HostnamePolicy;
use p2v_sys::filesystem::Filesystem;
use p2v_sys::without_credentials;
use serde::{Serialize, Serializer};

use crate::findings::quoted;

/// The architecture, in Debian's words, that this program runs on: the
/// instance boots with this program as its init.
pub(crate) const NATIVE_ARCH: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "unsupported"
};

/// How the disk is partitioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionStyle {
    /// Not at all: the filesystem fills it.
    None,
    /// MBR with one partition.
    Msdos,
    /// GPT with a BIOS boot partition, an EFI system partition and the root.
    Gpt,
}

impl PartitionStyle {
    /// All of them, in the order in which messages list them.
    pub const ALL: [Self; 3] = [Self::None, Self::Msdos, Self::Gpt];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Msdos => "msdos",
            Self::Gpt => "gpt",
        }
    }
}

/// A URL. Shown or serialised, it is without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// The whole URL, with the password that may be in it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Url> for String {
    /// The whole URL, with the password that may be in it.
    fn from(url: Url) -> Self {
        url.0
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_credentials(&self.0))
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&without_credentials(&self.0))
    }
}

/// A password's hash, as /etc/shadow has it. Shown or serialised, it is `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The hash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for PasswordHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// A hash in one of the forms of crypt(5) that are still safe; none if the
/// text is empty.
pub(super) fn password_hash(text: &str) -> Result<Option<PasswordHash>, String> {
    const METHODS: [&str; 6] = ["$y$", "$gy$", "$7$", "$2b$", "$6$", "$5$"];
    if text.is_empty() {
        return Ok(None);
    }
    let whole = METHODS.iter().any(|method| text.starts_with(method))
        && (20..=400).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"./$=,-".contains(&b));
    if whole || text == "!" {
        return Ok(Some(PasswordHash(text.to_owned())));
    }
    Err(format!(
        "allowed: a password's hash as `mkpasswd` prints it ({}...), or !",
        METHODS.join("..., ")
    ))
}

/// A time zone's name; none if the text is empty.
pub(super) fn timezone(text: &str) -> Result<Option<String>, String> {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b))
    };
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() <= 64 && text.split('/').all(part) {
        return Ok(Some(text.to_owned()));
    }
    Err("allowed: the name of a time zone, such as Europe/Brussels or UTC".to_owned())
}

pub(super) fn suite(text: &str) -> Result<String, String> {
    let good = text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b));
    if good {
        return Ok(text.to_owned());
    }
    Err(
        "allowed: a suite's name of lower case letters, digits, `.` and `-`, such as bookworm"
            .to_owned(),
    )
}

pub(super) fn arch(text: &str) -> Result<String, String> {
    if text == NATIVE_ARCH {
        return Ok(text.to_owned());
    }
    Err(format!("allowed: {NATIVE_ARCH}"))
}

pub(super) fn partition_style(text: &str) -> Result<PartitionStyle, String> {
    PartitionStyle::ALL
        .into_iter()
        .find(|style| style.name() == text)
        .ok_or_else(|| allowed(PartitionStyle::ALL.map(PartitionStyle::name)))
}

pub(super) fn hostname_policy(text: &str) -> Result<HostnamePolicy, String> {
    HostnamePolicy::ALL
        .into_iter()
        .find(|policy| policy.name() == text)
        .ok_or_else(|| allowed(HostnamePolicy::ALL.map(HostnamePolicy::name)))
}

pub(super) fn filesystem(text: &str) -> Result<Filesystem, String> {
    Filesystem::from_name(text).ok_or_else(|| allowed(Filesystem::ALL.map(Filesystem::name)))
}

fn allowed<const N: usize>(names: [&str; N]) -> String {
    format!("allowed: {}", names.join(", "))
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("allowed: yes, no".to_owned()),
    }
}

/// A decimal number, without the sign that Rust's own parser takes.
pub(super) fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && range.contains(&number) => Ok(number),
        _ => Err(format!(
            "allowed: a number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// The boot loader's core lies between the partition table and the first
/// partition; 1 MiB is what it is sure to fit in.
pub(super) fn alignment(text: &str) -> Result<u64, String> {
    let range = 2048..=2_097_152;
    match number(text, range.clone()) {
        Ok(sectors) if sectors % 8 == 0 => Ok(sectors),
        _ => Err(format!(
            "allowed: a multiple of 8 from {} to {} sectors of 512 bytes; the boot loader needs \
            the first MiB",
            range.start(),
            range.end()
        )),
    }
}

/// A URL of one of these schemes; none if the text is empty.
pub(super) fn url(text: &str, schemes: &[&str]) -> Result<Option<Url>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let rest = schemes
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme)?.strip_prefix("://"));
    let printable = text
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"\"'`\\<>{}|^".contains(&b));
    // Only a file: URL may do without a host.
    let has_place = |rest: &str| {
        let host = rest.split('/').next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        // What follows a colon that is no port may be the start of a password
        // with a slash in it, which nobody could keep out of a log.
        let after_name = host.rsplit(']').next().unwrap_or_default();
        let port = after_name.split_once(':').map_or("", |(_, port)| port);
        if text.starts_with("file:") {
            rest.starts_with('/')
        } else {
            !host.is_empty() && !host.starts_with(':') && port.bytes().all(|b| b.is_ascii_digit())
        }
    };
    match rest {
        Some(rest) if printable && has_place(rest) => Ok(Some(Url(text.to_owned()))),
        _ => Err(format!(
            "allowed: a URL, {}://... (in a password, write / as %2F, and so on)",
            schemes.join("://..., ")
        )),
    }
}

pub(super) fn absolute_path(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') && !text.chars().any(char::is_control) {
        return Ok(PathBuf::from(text));
    }
    Err("allowed: an absolute path".to_owned())
}

/// Debian's package names, separated by commas or blanks.
pub(super) fn packages(text: &str) -> Result<Vec<String>, String> {
    const ALLOWED: &str = "a package's name (allowed: lower case letters, digits, `+`, `.`, `-`)";
    list(text, ALLOWED, |name| {
        name.len() >= 2
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b))
    })
}

/// An archive's components, separated by commas or blanks.
pub(super) fn components(text: &str) -> Result<Vec<String>, String> {
    const ALLOWED: &str =
        "a component of the archive (allowed: lower case letters, digits, `-`, such as main)";
    list(text, ALLOWED, |name| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

/// The items of a list, each once, in their order. Empty items are nothing:
/// `EXTRA_PKGS+=",vim"` may be the first of its kind.
fn list(text: &str, what: &str, good: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
    let mut items: Vec<String> = Vec::new();
    for item in text.split([',', ' ', '\t', '\n']).filter(|i| !i.is_empty()) {
        if item.len() > 128 || !good(item) {
            return Err(format!("{} is not {what}", quoted(item)));
        }
        if !items.iter().any(|known| known == item) {
            items.push(item.to_owned());
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests;
