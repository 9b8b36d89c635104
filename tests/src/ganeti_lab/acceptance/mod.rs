//! The OS definition before its judge: every verb through Ganeti's own
//! commands, in the order of an instance's life, then many creates at once
//! and Ganeti's burnin.
//!
//! Each step says how long it took; the first that fails ends the run and
//! leaves the lab's directory, with Ganeti's logs in it.

mod backup;
mod burnin;
mod crowd;
mod definition;
mod machine;

use std::time::Instant;

use anyhow::Result;

use super::Cluster;
use crate::progress::step;
use crate::vm_slot::VmSlot;

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Extent {
    /// One instance's life, with one boot: a few minutes.
    Short,
    /// All of it.
    Whole,
}

/// Goes through the steps; fails with the first that does.
pub fn run(cluster: &Cluster, extent: Extent) -> Result<()> {
    let started = Instant::now();
    steps(cluster, extent).inspect_err(|_| {
        cluster.keep();
        let logs = cluster.dir().join("upper/var/log/ganeti");
        eprintln!("Ganeti's logs: {}", logs.display());
    })?;
    let seconds = started.elapsed().as_secs();
    println!(
        "all steps passed in {} min {} s",
        seconds / 60,
        seconds % 60
    );
    Ok(())
}

fn steps(cluster: &Cluster, extent: Extent) -> Result<()> {
    let on = cluster;
    step("gnt-os list, diagnose, info", || definition::is_shown(on))?;
    step("wrong parameters refused, nothing made", || {
        definition::wrong_ones_are_refused(on)
    })?;
    step("add with parameters", || definition::parameters_count(on))?;
    step("private and secret parameters, in no log", || {
        definition::secrets_stay_secret(on)
    })?;
    step("add", || machine::add(on))?;
    let slot = VmSlot::wait()?;
    step("start, boot to SSH, its host keys, all in RAM", || {
        machine::boot(on)
    })?;
    step("repartition over SSH, a machine moves in, stop", || {
        machine::move_in(on)
    })?;
    drop(slot);
    step("rename: the machine's names follow", || backup::rename(on))?;
    step("backup export: the disk is only read", || {
        backup::export(on)
    })?;
    step("import, new name, larger disk: every file equal", || {
        backup::import(on)
    })?;
    step("the last filesystem has the larger disk's room", || {
        backup::has_grown(on)
    })?;
    step("reinstall of the repartitioned instance", || {
        backup::reinstall(on)
    })?;
    if extent == Extent::Whole {
        step("start, boot to SSH after reinstall", || {
            backup::boot_reinstalled(on)
        })?;
        step("export and import of one that boots itself", || {
            backup::boot_imported(on)
        })?;
    }
    step("remove, nothing stays", || backup::remove_all(on))?;
    if extent == Extent::Whole {
        step("ten creates at once, cold cache: one builds", || {
            crowd::ten_at_once(on)
        })?;
        let words = step("burnin", || burnin::run(on))?;
        println!("burnin's last lines:\n{words}");
    }
    Ok(())
}
