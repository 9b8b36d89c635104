//! Ganeti's `rename`: the names inside the instance's system follow its own.
//!
//! Any of the disks may hold the root, in any layout: the instance may long be
//! a machine that was moved in. Its filesystems are looked at without being
//! written to ([`survey`]); what must change is decided by what the files say
//! ([`p2v_hostname`]); only then is the root mounted to be written.
//!
//! Not looked into: LVM, RAID, encrypted volumes. Ganeti only warns when
//! rename fails, and shows what it said only then: so it fails where an admin
//! has something left to do, and nowhere else. It runs after each import too.

mod survey;
mod volume;

use std::path::Path;

use anyhow::{Context, Result, bail};
use p2v_sys::disk::Disk;

use crate::attached::AttachedDisk;
use crate::create::state;
use crate::environment::Environment;
use crate::findings::quoted;
use crate::job::{self, Job, RenameJob};
use crate::settings::{HostnamePolicy, Settings, SettingsPaths};
use p2v_hostname::{Changes, Names};
use survey::{FoundRoot, Survey};
use volume::Access;

/// What an admin can always do.
const BY_HAND: &str = "set the name inside the instance if it needs it";

/// Does what the environment asks for.
///
/// # Errors
/// The environment is wrong, or a file of the system cannot be changed; those
/// that can be are. What a node remembers of the instance has followed its name
/// by then.
pub fn run(environment: &Environment) -> Result<()> {
    let RenameJob { job, old_name } = environment.rename_job()?;
    let paths = environment.paths()?;
    // The node's memory follows Ganeti, whatever the disks hold.
    let moved = state::rename(
        &paths.state_dir,
        old_name.as_str(),
        job.instance.as_str(),
        job.uuid.as_deref(),
    );
    let renamed = rename_system(&job, &old_name, &paths)
        .with_context(|| format!("renaming the system of {old_name} to {}", job.instance));
    match (renamed, moved) {
        (Err(error), Err(other)) => {
            tracing::warn!("{other:#}");
            Err(error)
        }
        (renamed, moved) => renamed.and(moved),
    }
}

fn rename_system(job: &Job, old_name: &job::InstanceName, paths: &SettingsPaths) -> Result<()> {
    if job.disks.is_empty() {
        tracing::info!("{} has no disk: there is nothing to rename", job.instance);
        return Ok(());
    }
    let policy = policy(paths, job);
    if *old_name == job.instance && policy == HostnamePolicy::Keep {
        tracing::info!("{old_name} keeps its name: there is nothing to rename");
        return Ok(());
    }
    let names = Names::new(old_name, &job.instance);
    let disks = claim_disks(job, paths)?;
    let target = paths.target_dir();
    crate::scratch::make_directory(&target)?;
    let mut survey = Survey::default();
    for (index, (disk, _)) in disks.iter().enumerate() {
        survey.look_at(index, disk, &target)?;
    }
    match survey.choose() {
        Some(found) => rename_root(found, &disks[found.disk].0, &target, &names, policy)?,
        None => no_root(&survey)?,
    }
    for (disk, attached) in disks {
        drop(disk);
        attached.close()?;
    }
    Ok(())
}

/// The policy for this instance. Settings that are wrong are create's to
/// refuse; here they must not keep an instance from its name.
fn policy(paths: &SettingsPaths, job: &Job) -> HostnamePolicy {
    match Settings::load(paths, job) {
        Ok(settings) => settings.hostname_policy,
        Err(error) => {
            tracing::warn!("taking the hostname policy for `keep`: {error:#}");
            HostnamePolicy::Keep
        }
    }
}

/// All disks that the instance may write to.
fn claim_disks(job: &Job, paths: &SettingsPaths) -> Result<Vec<(Disk, AttachedDisk)>> {
    let mut disks = Vec::new();
    for disk in &job.disks {
        if disk.access == job::Access::ReadOnly {
            continue;
        }
        let attached = AttachedDisk::open(disk, paths).context(BY_HAND)?;
        let claimed = Disk::claim(attached.path())
            .with_context(|| format!("nothing was changed; stop the instance, or {BY_HAND}"))?;
        disks.push((claimed, attached));
    }
    Ok(disks)
}

/// Says what was found instead of a root. That is a failure where one may be
/// in what could not be looked into.
fn no_root(survey: &Survey) -> Result<()> {
    if survey.closed.is_empty() {
        tracing::info!("the disks hold no system: there is nothing to rename");
        return Ok(());
    }
    bail!(
        "no root was found, and nothing was changed: {}; {BY_HAND}",
        survey.closed.join("; ")
    )
}

fn rename_root(
    found: &FoundRoot,
    disk: &Disk,
    target: &Path,
    names: &Names,
    policy: HostnamePolicy,
) -> Result<()> {
    let volume = &found.volume;
    let find = |root: &p2v_sys::Root| Changes::find(root, names, policy);
    let changes = volume.with(disk, target, Access::Look, find)?;
    if changes.is_empty() {
        report(found, &changes, &[]);
        return changes.finish();
    }
    volume.check_writable(disk)?;
    let (written, changes) = volume.with(disk, target, Access::Write, |root| {
        // The journal may have changed the files by now.
        let mut changes = find(root)?;
        Ok((changes.make(root), changes))
    })?;
    disk.sync()?;
    report(found, &changes, &written);
    changes.finish()
}

/// Says what has been done.
fn report(found: &FoundRoot, changes: &Changes, written: &[&str]) {
    let volume = &found.volume;
    if changes.own_name {
        let own = quoted(changes.machine.as_deref().unwrap_or_default());
        tracing::info!("the machine on {volume} has a name of its own, {own}: left alone");
    } else if !written.is_empty() {
        tracing::info!("changed on {volume}: {}", written.join(", "));
    } else if !changes.has_faults() {
        tracing::info!("no file on {volume} has the old name: nothing to change");
    }
}
