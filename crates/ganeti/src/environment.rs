//! The environment that Ganeti gives its OS scripts, raw and validated.
//!
//! This is the only module that reads environment variables; it reads nothing
//! else. All faults are found before any is reported.
//!
//! See <https://docs.ganeti.org/docs/ganeti/3.0/html/man-ganeti-os-interface.html>.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::findings::{Findings, quoted};
use crate::job::{ApiVersion, DiskJob, Job, OsParameters, RenameJob};
use crate::settings::SettingsPaths;
use reader::Reader;

mod reader;

const CHECKING: &str = "checking the environment given by Ganeti";

/// What to do about a fault in it.
const BY_GANETI: &str = "; Ganeti sets these: have gnt-instance or gnt-backup call this program, \
    or set them as ganeti-os-interface(7) says";

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
        let mut reader = Reader::new(self);
        let job = reader.job_with_disk(self.api_version()?);
        reader.finish(job)
    }

    /// What Ganeti asks `rename` for; the instance may have no disk. Fails
    /// with a list of every fault found.
    pub fn rename_job(&self) -> Result<RenameJob> {
        let mut reader = Reader::new(self);
        let old_name = reader.required("OLD_INSTANCE_NAME", "its name until now", str::parse);
        let job = reader.job(self.api_version()?);
        let job = old_name.and_then(|old_name| {
            Some(RenameJob {
                job: job?,
                old_name,
            })
        });
        reader.finish(job)
    }

    /// Which disk Ganeti asks `export` to stream. Fails with a list of every
    /// fault found.
    pub fn export_job(&self) -> Result<DiskJob> {
        self.disk_job("EXPORT")
    }

    /// Which disk Ganeti asks `import` to restore. Fails with a list of every
    /// fault found.
    pub fn import_job(&self) -> Result<DiskJob> {
        self.disk_job("IMPORT")
    }

    fn disk_job(&self, verb: &str) -> Result<DiskJob> {
        let mut reader = Reader::new(self);
        let job = reader.job(self.api_version()?);
        let place = reader.disk_of(verb, job.as_ref());
        let job = place.and_then(|(index, disk)| {
            Some(DiskJob {
                job: job?,
                index,
                disk,
            })
        });
        reader.finish(job)
    }

    /// The file descriptor on which Ganeti's export daemon waits for the size
    /// of the stream, if it does.
    pub fn size_descriptor(&self) -> Result<Option<i32>> {
        let Some(value) = self.get("EXP_SIZE_FD") else {
            return Ok(None);
        };
        let number = value.to_str().and_then(|text| reader::number(text).ok());
        number
            .and_then(|number| i32::try_from(number).ok())
            .filter(|descriptor| *descriptor > 2)
            .map(Some)
            .with_context(|| {
                format!(
                    "{CHECKING}: EXP_SIZE_FD={}: not a file descriptor above 2{BY_GANETI}",
                    quoted(value)
                )
            })
    }

    /// The OS parameters: all of the interface that `verify` is given.
    pub fn parameters(&self) -> Result<OsParameters> {
        let mut reader = Reader::new(self);
        let parameters = reader.parameters();
        reader.check("checking the OS parameters")?;
        Ok(parameters)
    }

    /// The version of the interface that Ganeti speaks.
    pub fn api_version(&self) -> Result<ApiVersion> {
        const DOING: &str = "checking OS_API_VERSION";
        match self.get("OS_API_VERSION") {
            None => bail!(
                "{DOING}: it is not set; this program is called by Ganeti, with version 20, 15 \
                or 10 of its OS interface (the arguments of version 5 are not supported): use \
                gnt-instance, gnt-backup or gnt-os, which call it"
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

    /// Which form of log `P2V_LOG_FORMAT` asks for, as it is given.
    pub fn log_format(&self) -> Option<&OsStr> {
        self.get("P2V_LOG_FORMAT")
    }

    /// How much of a log `P2V_LOG_LEVEL` asks for, as it is given.
    pub fn log_level(&self) -> Option<&OsStr> {
        self.get("P2V_LOG_LEVEL")
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
                    findings.push(format!(
                        "{name}={}: not an absolute path: give one, or unset it",
                        quoted(value)
                    ));
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

    /// The directory that a node of a virtual cluster has for its root; empty
    /// on a real one.
    pub fn node_root(&self) -> PathBuf {
        self.get("GANETI_ROOTDIR")
            .map(PathBuf::from)
            .unwrap_or_default()
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

#[cfg(test)]
mod tests;
