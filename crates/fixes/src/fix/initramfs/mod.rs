//! The initramfs of every installed kernel: looked into, and made anew by the
//! system's own tool where it lacks the new disk's drivers or waits for old
//! disks. Then it is looked into again.
//!
//! An initramfs that is right is left alone: making one takes minutes.

pub(crate) mod archive;
mod kernels;
mod stale;
mod tool;

use anyhow::{Result, bail};

use crate::machine::Machine;
use crate::{Draft, Verdict};
pub(super) use kernels::installed;
use kernels::{Kernel, Look, look};
use tool::Tool;

/// Looks into all, and plans what must be made anew.
pub fn run(machine: &Machine, draft: &mut Draft) -> Result<Verdict> {
    let kernels = installed(draft)?;
    if kernels.is_empty() {
        draft.warn("the system has no kernel of its own: it needs one from the node");
        return Ok(Verdict::not_needed("no kernel is installed"));
    }
    let tool = Tool::of(draft)?;
    let mut done = Vec::new();
    let mut hopeless = Vec::new();
    let mut planned = false;
    let mut wanted = Vec::new();
    for kernel in &kernels {
        let found = look(machine, draft.root(), kernel);
        if found.is_good() {
            continue;
        }
        let lost = kernel.lost(&found.missing);
        if !lost.is_empty() {
            hopeless.push(format!(
                "the kernel {} has no {}: install another one, or choose other disks for the instance",
                kernel.version,
                lost.join(", ")
            ));
            continue;
        }
        let Some(tool) = &tool else {
            hopeless.push(format!(
                "{}, and the system has no tool to make it anew",
                told(kernel, &found)
            ));
            continue;
        };
        done.push(told(kernel, &found));
        wanted.extend(found.missing.iter().copied());
        draft.step(tool.step(kernel).checked(Box::new(again(machine, kernel))));
        planned = true;
    }
    if let (Some(tool), true) = (&tool, planned) {
        done.extend(tool.configure(draft, &wanted)?);
    }
    // One that starts is enough, if somebody chooses it.
    let all = hopeless.len() == kernels.len();
    for text in hopeless {
        if all {
            draft.obstacle(text);
        } else {
            draft.warn(text);
        }
    }
    Ok(match (done.is_empty(), all) {
        (true, true) => Verdict::not_needed("no initramfs can be made right, see below"),
        _ => Verdict::of(done, "every initramfs has the drivers that it needs"),
    })
}

fn told(kernel: &Kernel, look: &Look) -> String {
    let mut reasons = Vec::new();
    if !look.missing.is_empty() {
        reasons.push(format!("lacks {}", look.missing.join(", ")));
    }
    if !look.stale.is_empty() {
        reasons.push(format!("waits for {}", look.stale.join(", ")));
    }
    if let Some(why) = &look.closed {
        reasons.push(format!("could not be looked into: {why}"));
    }
    format!("/{} {}", kernel.initramfs, reasons.join(" and "))
}

/// Looks into the new one.
fn again(machine: &Machine, kernel: &Kernel) -> impl Fn(&p2v_sys::Root) -> Result<String> + use<> {
    let (machine, kernel) = (machine.clone(), kernel.clone());
    move |root| {
        let found = look(&machine, root, &kernel);
        match found {
            Look {
                ref missing,
                ref closed,
                ..
            } if missing.is_empty() && closed.is_none() => {
                Ok(format!("/{} has the drivers now", kernel.initramfs))
            }
            _ => bail!("the new {}", told(&kernel, &found)),
        }
    }
}

#[cfg(test)]
mod tests;
