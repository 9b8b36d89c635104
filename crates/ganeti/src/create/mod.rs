//! Ganeti's `create` entry point: a disk that boots wholly into RAM.
//!
//! Everything is checked, and the bootstrap root made ready, before the first
//! write ([`plan`]). Then the disk is made unbootable, laid out ([`crate::layout`]),
//! filled ([`fill`]) and, as the last write, given its boot loader. A failure
//! on the way, or a SIGKILL, leaves a disk that does not boot.
//!
//! Runs in private namespaces (`p2v_sys::supervise`): the fixed directories
//! that it mounts on are empty to everybody else, also to another create.

mod fill;
mod host_keys;
mod identity;
pub(crate) mod kernel;
mod last_resort;
mod plan;
pub(crate) mod state;

use std::time::Instant;

use anyhow::{Context, Error, Result};
use nix::mount::MsFlags;
use p2v_bootloader::Start;
use p2v_bootstrap::CachedRoot;
use p2v_sys::filesystem::{self, Filesystem};
use p2v_sys::{Mount, supervise};

use crate::boot_loader;
use crate::environment::Environment;
use crate::layout::{self, Layout};
use crate::scratch;
use fill::Filled;
use plan::Plan;
use state::InstanceState;

/// Makes the disk that the environment asks for.
///
/// # Errors
/// The environment or the settings are wrong, or the disk is in use or too
/// small: nothing was written then. Whatever fails later leaves the disk
/// unbootable, and says so.
pub fn run(environment: &Environment) -> Result<()> {
    let start = Instant::now();
    let mut plan = Plan::make(environment)?;
    let _scratch = scratch::mount(&plan.paths)?;
    let cached = plan.bootstrap_root()?;
    plan.check_size(&cached)?;
    let made = make_disk(&plan, &cached).map_err(|error| {
        let error = plan.attached.explain(error);
        leave_unbootable(&plan, error)
    })?;
    report(&plan, &made)?;
    drop(plan.disk);
    plan.attached.close()?;
    tracing::info!(
        "{} is ready to start, made in {:.1} s",
        plan.job.instance,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// What has been made.
struct Made {
    uuid: String,
    filled: Filled,
}

fn make_disk(plan: &Plan, cached: &CachedRoot) -> Result<Made> {
    let settings = &plan.settings;
    tracing::info!(
        "making {} with {} on {}",
        settings.partition_style.name(),
        settings.filesystem.name(),
        plan.disk.path().display()
    );
    plan.disk.wipe_edges()?;
    let layout = layout::lay_out(
        &plan.disk,
        settings.partition_style,
        settings.alignment_bytes(),
    )?;
    let uuid = filesystem::new_uuid()?;
    settings.filesystem.create(layout.root.path(), &uuid)?;
    let mount = mount_root(plan, &layout)?;
    let filled = fill_mounted(plan, cached, &layout, &uuid, &mount)?;
    mount.close()?;
    layout.check_root(&uuid)?;
    boot_loader::install(&plan.disk, &layout, &Start::of_menu(&uuid))?;
    layout.close()?;
    plan.disk.sync()?;
    Ok(Made { uuid, filled })
}

/// Fills the root, and makes sure that all of it was written.
fn fill_mounted(
    plan: &Plan,
    cached: &CachedRoot,
    layout: &Layout,
    uuid: &str,
    mount: &Mount,
) -> Result<Filled> {
    let writes = mount.watch_writes()?;
    let filled = fill::fill(plan, cached, layout, uuid, mount.target());
    // Also after a failure: what hooks left would keep the root mounted.
    let cleared = clear_leftovers(mount);
    let filled = filled?;
    cleared?;
    writes.finish().with_context(|| {
        let disk = plan.disk.path().display();
        format!("is the filesystem or the pool that holds {disk} full?")
    })?;
    Ok(filled)
}

/// Ends the processes and drops the mounts that hooks left behind.
fn clear_leftovers(mount: &Mount) -> Result<()> {
    supervise::end_others();
    for point in mount.unmount_beneath()? {
        tracing::warn!(
            "a hook left something mounted on {}; it is unmounted",
            point.display()
        );
    }
    Ok(())
}

fn mount_root(plan: &Plan, layout: &Layout) -> Result<Mount> {
    let target = plan.paths.target_dir();
    scratch::make_directory(&target)?;
    let filesystem = plan.settings.filesystem;
    let options = match filesystem {
        // No flush on each commit: the whole disk is flushed at the end, and
        // does not boot before.
        Filesystem::Ext3 | Filesystem::Ext4 => "barrier=0",
        Filesystem::Ext2 | Filesystem::Xfs | Filesystem::Btrfs => "",
    };
    let device = layout.root.path();
    Mount::new(
        device,
        &target,
        filesystem.name(),
        MsFlags::MS_NOATIME,
        options,
    )
    .with_context(|| {
        format!(
            "does this node's kernel have {}? try `modprobe {0}`, or set FILESYSTEM",
            filesystem.name()
        )
    })
}

/// Makes sure that a disk whose making failed does not boot, and says so.
fn leave_unbootable(plan: &Plan, error: Error) -> Error {
    let disk = plan.disk.path().display();
    match plan.disk.wipe_edges() {
        Ok(()) => error.context(format!(
            "creating {} (its disk {disk} is left unbootable on purpose)",
            plan.job.instance
        )),
        Err(wiping) => error.context(format!(
            "creating {} (and wiping its disk {disk} failed too: {wiping:#})",
            plan.job.instance
        )),
    }
}

/// Keeps the fingerprints on the node and says them in the log.
fn report(plan: &Plan, made: &Made) -> Result<()> {
    let keys = &made.filled.host_keys;
    let saved = state::save(
        &plan.paths.state_dir,
        &InstanceState {
            version: InstanceState::VERSION,
            instance: plan.job.instance.as_str(),
            uuid: plan.job.uuid.as_deref(),
            created: seconds_since_1970(),
            suite: &plan.settings.suite,
            partition_style: plan.settings.partition_style.name(),
            filesystem: plan.settings.filesystem.name(),
            root_uuid: &made.uuid,
            kernel: &made.filled.kernel.version,
            host_keys: keys,
        },
    )?;
    for key in keys {
        tracing::info!("host key {} {}", key.kind, key.fingerprint);
    }
    tracing::info!("host keys are kept in {}", saved.display());
    Ok(())
}

fn seconds_since_1970() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
