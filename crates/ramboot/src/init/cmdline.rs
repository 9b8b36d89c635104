//! The kernel's command line: the standard parameters that concern the root,
//! and our own, `ramboot.*`.
//!
//! | Parameter | Meaning |
//! |---|---|
//! | `root=` | a device path, `UUID=`, `LABEL=`, `PARTUUID=`, `PARTLABEL=` |
//! | `rootflags=` `rootfstype=` | mount options, and types to try, comma-separated |
//! | `rootdelay=SECONDS` | wait at least so long for the root |
//! | `rootwait` | wait for the root for ever |
//! | `init=` | the program to hand over to |
//! | `panic=SECONDS` | without `ramboot.onerror=`: reboot so long after a failure, at once if negative |
//! | `modprobe.blacklist=` `module_blacklist=` | modules not to load |
//! | `MODULE.NAME=VALUE` | a module's option |
//! | `ramboot.onerror=` | `reboot`, `poweroff` or `wait` after a failure; `wait` unless `panic=` says otherwise |
//! | `ramboot.timeout=SECONDS` | how long to wait for the root; 30 |
//! | `ramboot.size=` | the size of the root in RAM: bytes, or with K, M, G, or % of RAM |
//! | `ramboot.exclude=PATH:...` | what not to copy; a directory stays, empty |
//!
//! `ro` and `rw` say nothing here: the disk is always mounted read-only, and
//! the root in RAM is always writable.
//!
//! See <https://docs.kernel.org/admin-guide/kernel-parameters.html>.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::modules::canonical;

/// How long to wait for the root unless told otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Which block device holds the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootSpec {
    /// A path under /dev.
    Device(PathBuf),
    /// The filesystem's UUID.
    Uuid(String),
    /// The filesystem's label.
    Label(String),
    /// The partition's UUID in a GPT, or disk signature and number in an MBR.
    PartUuid(String),
    /// The partition's name in a GPT.
    PartLabel(String),
}

impl std::fmt::Display for RootSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Device(path) => write!(f, "{}", path.display()),
            Self::Uuid(value) => write!(f, "UUID={value}"),
            Self::Label(value) => write!(f, "LABEL={value}"),
            Self::PartUuid(value) => write!(f, "PARTUUID={value}"),
            Self::PartLabel(value) => write!(f, "PARTLABEL={value}"),
        }
    }
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Reboot after so long.
    Reboot(Duration),
    /// Switch the machine off.
    PowerOff,
    /// Stay, so that the console can be read.
    Wait,
}

/// The size of the root in RAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// In bytes.
    Bytes(u64),
    /// In hundredths of all RAM.
    Percent(u64),
}

/// The command line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// `root=`
    pub root: Option<RootSpec>,
    /// `rootflags=`, or empty.
    pub root_flags: String,
    /// `rootfstype=`, or none: then the type is probed.
    pub root_types: Vec<String>,
    /// How long to wait for the root; `None` is for ever.
    pub timeout: Option<Duration>,
    /// `init=`
    pub init: Option<PathBuf>,
    /// `ramboot.onerror=`, else what `panic=` means, else waiting.
    pub on_error: OnError,
    /// `ramboot.size=`
    pub size: Option<Size>,
    /// `ramboot.exclude=`, as written, without empty ones.
    pub exclude: Vec<PathBuf>,
    /// Options by module name (with `_` for `-`), as the kernel takes them.
    pub module_options: BTreeMap<String, String>,
    /// Modules not to load, with `_` for `-`.
    pub blacklist: BTreeSet<String>,
    /// What was not understood, for the console.
    pub warnings: Vec<String>,
}

impl Default for CommandLine {
    fn default() -> Self {
        Self {
            root: None,
            root_flags: String::new(),
            root_types: Vec::new(),
            timeout: Some(DEFAULT_TIMEOUT),
            init: None,
            on_error: OnError::Wait,
            size: None,
            exclude: Vec::new(),
            module_options: BTreeMap::new(),
            blacklist: BTreeSet::new(),
            warnings: Vec::new(),
        }
    }
}

impl CommandLine {
    /// Reads /proc/cmdline.
    pub fn read() -> Result<Self> {
        let bytes = std::fs::read("/proc/cmdline").context("reading /proc/cmdline")?;
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// Understands `text`. What is wrong in it ends up in `warnings`: a boot
    /// that can go on without it should.
    pub fn parse(text: &str) -> Self {
        let mut line = Self::default();
        let mut waits = Waits::default();
        for word in words(text) {
            // What follows is for the program we hand over to.
            if word == "--" {
                break;
            }
            let (name, value) = word.split_once('=').unwrap_or((&word, ""));
            if let Err(error) = line.take(name, value, &mut waits) {
                line.warnings.push(format!("{name}={value}: {error:#}"));
            }
        }
        line.timeout = waits.timeout();
        if let Some(on_error) = waits.on_error.or(waits.panic) {
            line.on_error = on_error;
        }
        line
    }

    fn take(&mut self, name: &str, value: &str, waits: &mut Waits) -> Result<()> {
        match name {
            "root" => self.root = Some(root_spec(value)?),
            "rootflags" => self.root_flags = value.to_owned(),
            "rootfstype" => self.root_types = list(value, ','),
            "rootdelay" => waits.delay = Some(seconds(value)?),
            "rootwait" => waits.for_ever = true,
            "init" if value.starts_with('/') => self.init = Some(value.into()),
            "init" => bail!("not an absolute path"),
            "panic" => waits.panic = panic_action(value)?,
            "modprobe.blacklist" | "module_blacklist" => {
                let names = list(value, ',').into_iter();
                self.blacklist.extend(names.map(|name| canonical(&name)));
            }
            _ => match name.split_once('.') {
                Some(("ramboot", own)) => self.take_own(own, value, waits)?,
                Some((module, option)) => self.take_module_option(module, option, value),
                None => {}
            },
        }
        Ok(())
    }

    fn take_own(&mut self, name: &str, value: &str, waits: &mut Waits) -> Result<()> {
        match name {
            "onerror" => {
                waits.on_error = Some(match value {
                    "reboot" => OnError::Reboot(Duration::ZERO),
                    "poweroff" => OnError::PowerOff,
                    "wait" => OnError::Wait,
                    _ => bail!("known are reboot, poweroff and wait"),
                });
            }
            "timeout" => waits.asked = Some(seconds(value)?),
            "size" => self.size = Some(size(value)?),
            "exclude" => {
                let paths = list(value, ':').into_iter();
                self.exclude.extend(paths.map(PathBuf::from));
            }
            _ => bail!("unknown; known are onerror, timeout, size and exclude"),
        }
        Ok(())
    }

    fn take_module_option(&mut self, module: &str, option: &str, value: &str) {
        let options = self.module_options.entry(canonical(module)).or_default();
        if !options.is_empty() {
            options.push(' ');
        }
        // The kernel parses these as it does the command line, quotes too.
        let quote = if value.contains(' ') { "\"" } else { "" };
        options.push_str(&format!("{option}={quote}{value}{quote}"));
    }
}

/// What the final decisions on time are made of: the order of the words on
/// the command line must not matter.
#[derive(Default)]
struct Waits {
    asked: Option<Duration>,
    delay: Option<Duration>,
    for_ever: bool,
    on_error: Option<OnError>,
    panic: Option<OnError>,
}

impl Waits {
    fn timeout(&self) -> Option<Duration> {
        match (self.asked, self.for_ever) {
            (Some(asked), _) => Some(asked),
            (None, true) => None,
            (None, false) => Some(self.delay.unwrap_or_default().max(DEFAULT_TIMEOUT)),
        }
    }
}

/// As the kernel splits it: by white space outside of double quotes. Quotes
/// vanish.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            c if c.is_ascii_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn list(value: &str, separator: char) -> Vec<String> {
    value
        .split(separator)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn root_spec(value: &str) -> Result<RootSpec> {
    // udev makes these names, and there is no udev here.
    for (directory, key) in [
        ("/dev/disk/by-uuid/", "UUID"),
        ("/dev/disk/by-label/", "LABEL"),
        ("/dev/disk/by-partuuid/", "PARTUUID"),
        ("/dev/disk/by-partlabel/", "PARTLABEL"),
    ] {
        if let Some(name) = value.strip_prefix(directory) {
            return root_spec(&format!("{key}={name}"));
        }
    }
    Ok(match value.split_once('=') {
        Some(("UUID", uuid)) => RootSpec::Uuid(uuid.to_ascii_lowercase()),
        Some(("LABEL", label)) => RootSpec::Label(unescape(label)),
        Some(("PARTUUID", uuid)) if uuid.contains('/') => {
            bail!("an offset from a partition (PARTNROFF) is not supported")
        }
        Some(("PARTUUID", uuid)) => RootSpec::PartUuid(uuid.to_ascii_lowercase()),
        Some(("PARTLABEL", label)) => RootSpec::PartLabel(unescape(label)),
        _ if value.starts_with("/dev/") => RootSpec::Device(value.into()),
        _ => bail!("known are /dev/..., UUID=, LABEL=, PARTUUID= and PARTLABEL="),
    })
}

/// udev writes what is odd in a label as `\xNN`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let code = after.get(..2).and_then(|c| u8::from_str_radix(c, 16).ok());
        rest = match code {
            Some(byte) => {
                bytes.push(byte);
                &after[2..]
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                after
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

fn seconds(value: &str) -> Result<Duration> {
    let number = value.trim_end_matches('s').parse::<u32>();
    let number = number.context("not a number of seconds")?;
    Ok(Duration::from_secs(number.into()))
}

fn panic_action(value: &str) -> Result<Option<OnError>> {
    let number = value.parse::<i64>().context("not a number of seconds")?;
    Ok(match u64::try_from(number) {
        Ok(0) => None,
        Ok(seconds) => Some(OnError::Reboot(Duration::from_secs(seconds))),
        Err(_) => Some(OnError::Reboot(Duration::ZERO)),
    })
}

fn size(value: &str) -> Result<Size> {
    let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number = digits.parse::<u64>().context("not a size")?;
    let shift = match value[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "%" if (1..=100).contains(&number) => return Ok(Size::Percent(number)),
        _ => bail!("not a size: bytes, or a number with K, M, G or %"),
    };
    let bytes = number.checked_mul(1 << shift).context("too large a size")?;
    Ok(Size::Bytes(bytes))
}

#[cfg(test)]
mod tests;
