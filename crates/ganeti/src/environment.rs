//! The environment that Ganeti gives its OS scripts, raw and validated.
//!
//! This is the only module that reads environment variables; it reads nothing
//! else. All faults are found before any is reported.
//!
//! Of Ganeti's interface these are left to the verbs that will need them:
//! `EXPORT_DEVICE`, `EXPORT_DISK_PATH`, `EXPORT_DISK_URI`, `EXPORT_INDEX`,
//! `EXP_SIZE_FD`, their `IMPORT_*` likes and `OLD_INSTANCE_NAME`.
//!
//! See <https://docs.ganeti.org/docs/ganeti/3.0/html/man-ganeti-os-interface.html>.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::findings::{Findings, quoted};
use crate::job::network::is_hex_pairs;
use crate::job::{
    Access, ApiVersion, Disk, Job, NO_DISK, NO_DISK_PATH, Network, Nic, OsParameters, is_word,
};
use crate::settings::SettingsPaths;

/// Ganeti's own limits are 16 disks and 8 interfaces; this leaves room, and
/// keeps a broken count from having us look for millions.
const MOST_DISKS: u32 = 64;
const MOST_NICS: u32 = 64;

/// What Ganeti's variables begin with, or are: hooks get them all.
const GANETI_PREFIXES: [&str; 5] = ["INSTANCE_", "DISK_", "NIC_", "OS_", "OSP_"];
const GANETI_NAMES: [&str; 2] = ["HYPERVISOR", "DEBUG_LEVEL"];

/// Where hooks look for programs if Ganeti said nothing.
const DEFAULT_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Environment variables as they came. Shown, it is their names alone, since
/// OS parameters may be secret.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// This process's environment.
    pub fn from_process() -> Self {
        Self::from_pairs(std::env::vars_os())
    }

    /// An environment of these variables; of two with the same name the later
    /// counts.
    pub fn from_pairs<N: Into<OsString>, V: Into<OsString>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self {
            variables: pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }

    /// What Ganeti asks `create` for. Fails with a list of every fault found.
    pub fn create_job(&self) -> Result<Job> {
        const DOING: &str = "checking the environment given by Ganeti";
        let api = self.api_version()?;
        let mut reader = Reader::new(self);
        let instance = reader.required("INSTANCE_NAME", "the instance's name", str::parse);
        let hypervisor = reader.required("HYPERVISOR", "the instance's hypervisor", word);
        let os = reader.parsed("INSTANCE_OS", printable);
        let os = os.or_else(|| reader.parsed("OS_NAME", printable));
        let variant = reader.parsed("OS_VARIANT", printable);
        let disks = reader.disks();
        let nics = reader.nics();
        let reinstall = reader.parsed("INSTANCE_REINSTALL", flag);
        let debug_level = reader.parsed("DEBUG_LEVEL", number);
        let hypervisor_parameters = reader.with_prefix("INSTANCE_HV_");
        let parameters = reader.parameters();
        reader.findings.into_result(DOING)?;
        let (Some(instance), Some(hypervisor)) = (instance, hypervisor) else {
            bail!("{DOING}: INSTANCE_NAME or HYPERVISOR is missing");
        };
        Ok(Job {
            api,
            instance,
            os,
            variant,
            hypervisor,
            disks,
            nics,
            reinstall: reinstall.unwrap_or(false),
            debug_level: debug_level.unwrap_or(0),
            hypervisor_parameters: hypervisor_parameters.into_iter().collect(),
            parameters,
        })
    }

    /// The OS parameters: all of the interface that `verify` is given.
    pub fn parameters(&self) -> Result<OsParameters> {
        let mut reader = Reader::new(self);
        let parameters = reader.parameters();
        reader.findings.into_result("checking the OS parameters")?;
        Ok(parameters)
    }

    /// The version of the interface that Ganeti speaks.
    pub fn api_version(&self) -> Result<ApiVersion> {
        const DOING: &str = "checking OS_API_VERSION";
        match self.get("OS_API_VERSION") {
            None => bail!(
                "{DOING}: it is not set; this program is called by Ganeti, with version 20, 15 \
                or 10 of its OS interface (the arguments of version 5 are not supported)"
            ),
            Some(value) => match value.to_str().unwrap_or_default().parse() {
                Ok(version) => Ok(version),
                Err(reason) => bail!("{DOING}: {}: {reason}", quoted(value)),
            },
        }
    }

    /// Whether Ganeti asks for a verbose log.
    pub fn is_verbose(&self) -> bool {
        self.get("DEBUG_LEVEL").is_some_and(|level| level != "0")
    }

    /// The variables that hooks get from here: all that Ganeti set, secret OS
    /// parameters included, and PATH. Nothing else is inherited: import and
    /// export run in the node daemon's own environment.
    pub fn hook_environment(&self) -> Vec<(OsString, OsString)> {
        let ganetis = |name: &OsStr| {
            let bytes = name.as_bytes();
            GANETI_NAMES.iter().any(|known| name == *known)
                || GANETI_PREFIXES
                    .iter()
                    .any(|prefix| bytes.starts_with(prefix.as_bytes()))
        };
        let path = self.get("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
        self.variables
            .iter()
            .filter(|(name, _)| ganetis(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .chain([("PATH".into(), path.to_owned())])
            .collect()
    }

    /// Where the node's files are. `P2V_CONFIG_DIR`, `P2V_OS_DIR`,
    /// `P2V_CACHE_DIR` and `P2V_STATE_DIR` go over the defaults; Ganeti starts
    /// its scripts with a clean environment, so they serve tests and
    /// installations under a DESTDIR only.
    pub fn paths(&self) -> Result<SettingsPaths> {
        let mut findings = Findings::default();
        let mut dir = |name: &str, default: PathBuf| match self.get(name) {
            None => default,
            Some(value) => {
                let path = PathBuf::from(value);
                if !path.is_absolute() {
                    findings.push(format!("{name}={}: not an absolute path", quoted(value)));
                }
                path
            }
        };
        let default = SettingsPaths::default();
        let paths = SettingsPaths {
            config_dir: dir("P2V_CONFIG_DIR", default.config_dir),
            os_dir: dir("P2V_OS_DIR", default.os_dir),
            cache_dir: dir("P2V_CACHE_DIR", default.cache_dir),
            state_dir: dir("P2V_STATE_DIR", default.state_dir),
        };
        findings.into_result("checking the directories given by P2V_*")?;
        Ok(paths)
    }

    /// A variable; an empty one counts as not set.
    fn get(&self, name: &str) -> Option<&OsStr> {
        let value = self.variables.get(OsStr::new(name))?;
        Some(value.as_os_str()).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// Reads variables by their names and notes what is wrong with them.
struct Reader<'a> {
    environment: &'a Environment,
    findings: Findings,
}

impl<'a> Reader<'a> {
    fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            findings: Findings::default(),
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
    fn required<T>(
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

    fn parameters(&mut self) -> OsParameters {
        self.with_prefix("OSP_")
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect()
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
        match disks.first() {
            None => self.findings.push(NO_DISK),
            // A path that is there and wrong has been noted already.
            Some(first) if first.path.is_none() && self.findings.count() == faults_before => {
                self.findings.push(NO_DISK_PATH);
            }
            Some(_) => {}
        }
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
fn number(text: &str) -> Result<u32, String> {
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

#[cfg(test)]
mod tests;
