//! Ganeti's own acceptance run of an OS definition.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::ganeti_lab::Cluster;
use crate::ganeti_lab::cluster::NODE;

/// Measured at half a minute; a shutdown that nobody answers takes two more.
const LONGEST: Duration = Duration::from_secs(1200);

/// How many lines of it are shown.
const SHOWN: usize = 12;

/// Runs it; returns its last lines.
pub fn run(cluster: &Cluster) -> Result<String> {
    // It stops instances a second after their start, when no system is there
    // to hear the power button; each would be waited for in vain.
    cluster.gnt("gnt-cluster modify -H kvm:acpi=false")?;
    let arguments = [
        "-o",
        "p2v-target+default",
        "-t",
        "file",
        "-n",
        NODE,
        "--disk-size=2G",
        "--mem-size=512M",
        "--vcpu-count=1",
        "--no-ip-check",
        "--no-name-check",
        "--no-replace1",
        "--no-replace2",
        "--no-failover",
        "--no-migrate",
        "--reboot-types=hard",
        "--rename=burnin2.lab",
        "burnin1.lab",
    ];
    let said = cluster
        .node()
        .command("/usr/lib/ganeti/tools/burnin", "running burnin")
        .args(arguments)
        .timeout(LONGEST)
        .read()
        .context("the whole of it is in /var/log/ganeti/burnin.log")?;
    // It does not look whether the scripts of a rename succeed.
    cluster.check_os_logs()?;
    let lines: Vec<&str> = said.lines().collect();
    Ok(lines[lines.len().saturating_sub(SHOWN)..].join("\n"))
}
