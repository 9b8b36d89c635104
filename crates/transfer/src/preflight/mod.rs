//! Everything that can be known before the first write to the target, found
//! out all at once: nobody mends one thing to be told of the next.
//!
//! Nothing is asked of the two machines here, but for this one's own programs:
//! source and target were looked at before.

mod finding;
mod system;
mod target;
#[cfg(test)]
mod tests;

use p2v_sys::tools::{self, Missing, Tool};

use crate::plan::{self, Fill, Plan, Wishes, size_text};
use crate::source::Source;
use crate::target::Target;

pub use finding::{Finding, Weight};

/// Looks at all of it, errors first.
pub fn check(source: &Source, target: &Target, plan: &Plan) -> Vec<Finding> {
    sorted(source, target, plan, data(source, target, plan))
}

/// The same where no plan can be made, which `error` says: all that need not
/// wait for one.
pub fn check_unplanned(
    source: &Source,
    target: &Target,
    wishes: &Wishes,
    error: &anyhow::Error,
) -> Vec<Finding> {
    let mut findings: Vec<_> = target
        .disks
        .iter()
        .filter_map(target::disk_in_use)
        .collect();
    // Of the wrong machine, no disks are known.
    if target.ram_booted {
        findings.insert(0, Finding::error(format!("{error:#}")));
    }
    let plan = plan::without_disks(source, target, wishes);
    sorted(source, target, &plan, findings)
}

fn sorted(source: &Source, target: &Target, plan: &Plan, more: Vec<Finding>) -> Vec<Finding> {
    let mut findings = more;
    findings.extend(target::findings(source, target, plan));
    findings.extend(system::findings(source, plan));
    findings.extend(source_tools());
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    findings
}

/// Whether the plan can be carried out, and what of the source fits.
fn data(source: &Source, target: &Target, plan: &Plan) -> Vec<Finding> {
    let faults = plan.faults(source, target);
    if !faults.is_empty() {
        return faults.into_iter().map(Finding::error).collect();
    }
    let (mut used, mut room, mut inodes) = (0_u64, 0_u64, 0_u64);
    for (_, volume) in plan.volumes() {
        if let Fill::Files {
            used: bytes,
            inodes: files,
            ..
        } = &volume.fill
        {
            used = used.saturating_add(*bytes);
            inodes = inodes.saturating_add(*files);
            room = room.saturating_add(volume.size);
        }
    }
    let mut findings = vec![Finding::good(format!(
        "the data fits: {} in {inodes} files, into {}",
        size_text(used),
        size_text(room)
    ))];
    for left in &plan.left_out {
        let name = left.was.first().map_or("an area", |name| name);
        let text = format!("{name} is not moved: {}", left.reason);
        findings.push(Finding::warning(text));
    }
    findings
}

/// Programs that a transfer runs on the source, with their Debian packages.
const TOOLS: [Tool; 5] = [
    ("ssh", "openssh-client"),
    ("ssh-keyscan", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("sfdisk", "fdisk"),
    ("blkid", "util-linux"),
];

/// The programs that a transfer runs on this machine, the source, and that are
/// not there.
pub fn source_tools() -> Vec<Finding> {
    tools::missing(&TOOLS).iter().map(source_tool).collect()
}

fn source_tool(missing: &Missing) -> Finding {
    Finding::error(format!("{} is missing on the source", missing.what))
        .remedy(format!("install {}", missing.package))
}

/// What can be said of a target without a source: where it runs, its memory,
/// its disks and network cards.
pub fn of_target(target: &Target) -> Vec<Finding> {
    target::by_itself(target)
}
