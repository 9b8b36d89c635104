//! Reads Ganeti's variables by their names, and notes every fault.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

use super::{BY_GANETI, CHECKING, Environment};
use crate::findings::{Findings, quoted};
use crate::job::network::is_hex_pairs;
use crate::job::{
    Access, ApiVersion, Disk, Job, NO_DISK, NO_DISK_PATH, Network, Nic, OsParameters, is_word,
};

/// Ganeti's own limits are 16 disks and 8 interfaces; this leaves room, and
/// keeps a broken count from having us look for millions.
const MOST_DISKS: u32 = 64;
const MOST_NICS: u32 = 64;

/// Reads variables by their names and notes what is wrong with them.
pub(super) struct Reader<'a> {
    environment: &'a Environment,
    findings: Findings,
    /// Why there is no disk to install on, which not every verb minds.
    no_disk: Option<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            findings: Findings::default(),
            no_disk: None,
        }
    }

    /// A variable's text; `None` if it is not set or empty, or not UTF-8,
    /// which is a fault.
    fn text(&mut self, name: &str) -> Option<&'a str> {
        let value = self.environment.get(name)?;
        if value.to_str().is_none() {
            self.findings.push(format!("{name}: not valid UTF-8"));
        }
        value.to_str()
    }

    /// Like [`Self::parsed`]; a variable that is not set is a fault.
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        what: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.environment.get(name).is_none() {
            self.findings.push(format!("{name} is not set: {what}"));
        }
        self.parsed(name, parse)
    }

    fn parsed<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(name)?;
        let result = parse(text).map_err(|reason| format!("{name}={}: {reason}", quoted(text)));
        self.findings.keep(result)
    }

    /// The variables that begin with `prefix`, without it.
    fn with_prefix(&mut self, prefix: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (name, value) in &self.environment.variables {
            let Some(rest) = name.as_bytes().strip_prefix(prefix.as_bytes()) else {
                continue;
            };
            match (std::str::from_utf8(rest), value.to_str()) {
                (Ok(rest), Some(value)) => found.push((rest.to_owned(), value.to_owned())),
                _ => self
                    .findings
                    .push(format!("{}: not valid UTF-8", quoted(name))),
            }
        }
        found
    }

    pub(super) fn parameters(&mut self) -> OsParameters {
        self.with_prefix("OSP_")
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect()
    }

    /// What every entry point but verify is given.
    pub(super) fn job(&mut self, api: ApiVersion) -> Option<Job> {
        let instance = self.required("INSTANCE_NAME", "the instance's name", str::parse);
        let hypervisor = self.required("HYPERVISOR", "the instance's hypervisor", word);
        let uuid = self.parsed("INSTANCE_UUID", word);
        let os = self.parsed("INSTANCE_OS", printable);
        let os = os.or_else(|| self.parsed("OS_NAME", printable));
        let variant = self.parsed("OS_VARIANT", printable);
        let disks = self.disks();
        let nics = self.nics();
        let reinstall = self.parsed("INSTANCE_REINSTALL", flag);
        let debug_level = self.parsed("DEBUG_LEVEL", number);
        let hypervisor_parameters = self.with_prefix("INSTANCE_HV_");
        let parameters = self.parameters();
        Some(Job {
            api,
            instance: instance?,
            uuid,
            os,
            variant,
            hypervisor: hypervisor?,
            disks,
            nics,
            reinstall: reinstall.unwrap_or(false),
            debug_level: debug_level.unwrap_or(0),
            hypervisor_parameters: hypervisor_parameters.into_iter().collect(),
            parameters,
        })
    }

    /// Like [`Self::job`], and a first disk that can be reached is needed.
    pub(super) fn job_with_disk(&mut self, api: ApiVersion) -> Option<Job> {
        let job = self.job(api);
        if let Some(reason) = self.no_disk {
            self.findings.push(reason);
        }
        job
    }

    /// The disk that `verb` (EXPORT or IMPORT) works on, and its number. Newer
    /// Ganeti says `_DISK_PATH` and `_DISK_URI`, all versions `_DEVICE`.
    pub(super) fn disk_of(&mut self, verb: &str, job: Option<&Job>) -> Option<(u32, Disk)> {
        let index = self.required(&format!("{verb}_INDEX"), "the disk's number", number);
        let device = self.path(&format!("{verb}_DEVICE"));
        let path = self.path(&format!("{verb}_DISK_PATH")).or(device);
        let uri = self.parsed(&format!("{verb}_DISK_URI"), printable);
        let listed = |index| job?.disks.get(usize::try_from(index).ok()?);
        let mut disk = index.and_then(listed).cloned().unwrap_or_default();
        if path.is_some() || uri.is_some() {
            (disk.path, disk.uri) = (path, uri);
        }
        if disk.path.is_none() && disk.uri.is_none() && self.findings.count() == 0 {
            self.findings
                .push(format!("{verb}_DEVICE is not set: the disk to work on"));
        }
        Some((index?, disk))
    }

    /// Fails if a fault was found.
    pub(super) fn check(self, doing: &str) -> Result<()> {
        self.findings.into_result(doing)
    }

    /// Fails if a fault was found; else there is a value.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T> {
        self.check(CHECKING)
            .map_err(|error| anyhow!("{error}{BY_GANETI}"))?;
        value.with_context(|| format!("{CHECKING}: something is missing"))
    }

    fn disks(&mut self) -> Vec<Disk> {
        let count = self.required("DISK_COUNT", "the number of disks", |text| {
            at_most(MOST_DISKS, text)
        });
        let Some(count) = count else {
            return Vec::new();
        };
        let faults_before = self.findings.count();
        let disks: Vec<Disk> = (0..count).map(|index| self.disk(index)).collect();
        self.no_disk = match disks.first() {
            None => Some(NO_DISK),
            Some(first) if first.path.is_some() || first.uri.is_some() => None,
            // One that is there and wrong has been noted already.
            Some(_) => Some(NO_DISK_PATH).filter(|_| self.findings.count() == faults_before),
        };
        disks
    }

    fn disk(&mut self, index: u32) -> Disk {
        let name = |field: &str| format!("DISK_{index}_{field}");
        Disk {
            path: self.path(&name("PATH")),
            uri: self.parsed(&name("URI"), printable),
            access: self
                .parsed(&name("ACCESS"), str::parse)
                .unwrap_or(Access::ReadWrite),
            backend: self.parsed(&name("BACKEND_TYPE"), str::parse),
            name: self.parsed(&name("NAME"), printable),
            uuid: self.parsed(&name("UUID"), word),
        }
    }

    fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.parsed(name, |text| {
            let path = PathBuf::from(printable(text)?);
            if path.is_absolute() {
                Ok(path)
            } else {
                Err("not an absolute path".to_owned())
            }
        })
    }

    fn nics(&mut self) -> Vec<Nic> {
        let count = self.parsed("NIC_COUNT", |text| at_most(MOST_NICS, text));
        (0..count.unwrap_or(0))
            .map(|index| self.nic(index))
            .collect()
    }

    fn nic(&mut self, index: u32) -> Nic {
        let name = |field: &str| format!("NIC_{index}_{field}");
        let address = |text: &str| text.parse().map_err(|_| "not an IP address".to_owned());
        Nic {
            mac: self.parsed(&name("MAC"), str::parse),
            ip: self.parsed(&name("IP"), address),
            mode: self.parsed(&name("MODE"), word),
            link: self.parsed(&name("LINK"), printable),
            bridge: self.parsed(&name("BRIDGE"), printable),
            name: self.parsed(&name("NAME"), printable),
            network: self.network(index),
        }
    }

    /// The network an interface is in; `None` if Ganeti says nothing of one.
    fn network(&mut self, index: u32) -> Option<Network> {
        let name = |field: &str| format!("NIC_{index}_NETWORK_{field}");
        let address4 = |text: &str| text.parse().map_err(|_| "not an IPv4 address".to_owned());
        let address6 = |text: &str| text.parse().map_err(|_| "not an IPv6 address".to_owned());
        let network = Network {
            name: self.parsed(&name("NAME"), printable),
            uuid: self.parsed(&name("UUID"), word),
            subnet: self.parsed(&name("SUBNET"), str::parse),
            gateway: self.parsed(&name("GATEWAY"), address4),
            subnet6: self.parsed(&name("SUBNET6"), str::parse),
            gateway6: self.parsed(&name("GATEWAY6"), address6),
            mac_prefix: self.parsed(&name("MAC_PREFIX"), |text| {
                if is_hex_pairs(text, 3) {
                    Ok(text.to_ascii_lowercase())
                } else {
                    Err("not three pairs of hex digits, aa:bb:cc".to_owned())
                }
            }),
            tags: self
                .parsed(&name("TAGS"), printable)
                .map(|tags| tags.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
        };
        Some(network).filter(|network| *network != Network::default())
    }
}

/// A text of one line, without control characters.
fn printable(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("control characters are not allowed".to_owned());
    }
    Ok(text.to_owned())
}

fn word(text: &str) -> Result<String, String> {
    if is_word(text) {
        return Ok(text.to_owned());
    }
    Err("allowed: letters, digits, `.`, `_` and `-`".to_owned())
}

/// A decimal number, without the sign that Rust's own parser takes.
pub(super) fn number(text: &str) -> Result<u32, String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err("not a number".to_owned()),
    }
}

fn at_most(most: u32, text: &str) -> Result<u32, String> {
    match number(text) {
        Ok(count) if count <= most => Ok(count),
        _ => Err(format!("not a number from 0 to {most}")),
    }
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err("allowed: 0, 1".to_owned()),
    }
}
