//! What the OS scripts said, as Ganeti keeps it. Ganeti only warns when one of
//! an import's or a rename fails: the logs tell.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use super::Cluster;

const DIR: &str = "/var/log/ganeti/os";

/// How our scripts begin their last words.
const FAILED: &str = "p2v: error: ";

impl Cluster {
    /// The logs of all scripts that have run, the oldest first.
    pub fn os_logs(&self) -> Result<Vec<PathBuf>> {
        let dir = self.node().path(DIR);
        // Ganeti makes it for the first.
        let Ok(entries) = std::fs::read_dir(dir) else {
            return Ok(Vec::new());
        };
        let mut logs: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in entries.flatten() {
            let when = entry.metadata().and_then(|metadata| metadata.modified());
            logs.push((when.context("reading a log's time")?, entry.path()));
        }
        logs.sort();
        Ok(logs.into_iter().map(|(_, path)| path).collect())
    }

    /// The last log of an entry point (which Ganeti calls "add" for create)
    /// with `instance`.
    pub fn os_log(&self, verb: &str, instance: &str) -> Result<String> {
        let named = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&format!("{verb}-")) && name.contains(&format!("-{instance}-"))
        };
        let log = self.os_logs()?.into_iter().rfind(named);
        let log = log.with_context(|| format!("no log of {verb} with {instance}"))?;
        std::fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))
    }

    /// Fails with the log of any script that failed.
    pub fn check_os_logs(&self) -> Result<()> {
        for log in self.os_logs()? {
            let text = std::fs::read(&log).with_context(|| format!("reading {}", log.display()))?;
            let text = String::from_utf8_lossy(&text);
            if text.contains(FAILED) {
                let name = log.file_name().unwrap_or_default().to_string_lossy();
                bail!("an OS script failed; {name}:\n{}", text.trim_end());
            }
        }
        Ok(())
    }
}
