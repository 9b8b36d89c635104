//! The machine that moves, where `p2v transfer` runs.

use p2v_ramboot::ready;
use p2v_transfer::preflight::{self, Finding};
use p2v_transfer::source::OpenSource;

use crate::{Checked, failed};

/// Looks at the programs, the disks and the network.
pub fn check() -> Checked {
    vec![
        ("programs", programs()),
        ("disks", disks()),
        ("network", vec![network()]),
    ]
}

fn programs() -> Vec<Finding> {
    match preflight::source_tools() {
        missing if missing.is_empty() => {
            vec![Finding::good("all that a transfer runs here is installed")]
        }
        missing => missing,
    }
}

/// As `p2v inspect` does it, and `p2v transfer` begins.
fn disks() -> Vec<Finding> {
    let remedy = "see docs/inspect.md; `p2v inspect DISK...` looks at some disks alone";
    let open = match OpenSource::open(&[]) {
        Ok(open) => open,
        Err(error) => return vec![failed(&error, remedy)],
    };
    let source = open.source.clone();
    let closed = open.close();
    let mut findings: Vec<_> = source.obstacles.iter().map(Finding::error).collect();
    findings.extend(source.remarks.iter().map(Finding::warning));
    findings.extend(closed.err().map(|error| failed(&error, remedy)));
    if source.obstacles.is_empty() {
        let name = source.system.name.as_deref().unwrap_or("the system");
        let count = source.disks.len();
        findings.push(Finding::good(format!(
            "{name} can be moved: {count} disk{} and their filesystems can be read",
            if count == 1 { "" } else { "s" }
        )));
    }
    findings
}

/// How this machine can be reached, and can reach a target.
pub fn network() -> Finding {
    match ready::addresses() {
        Ok(addresses) if addresses.is_empty() => {
            Finding::error("this machine has no network address")
                .remedy("bring its network up: ip link, dhclient, or its own tools")
        }
        Ok(addresses) => {
            let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            Finding::good(format!("this machine has the address {}", all.join(", ")))
        }
        Err(error) => failed(&error, "look at it with `ip address`"),
    }
}
