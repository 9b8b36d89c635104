//! Everything that create checks before it writes.

use std::ffi::OsString;

use anyhow::{Result, anyhow, bail};
use p2v_bootstrap::CachedRoot;
use p2v_parts::Parts;
use p2v_sys::disk::Disk;
use p2v_sys::tools;

use super::identity;
use crate::attached::AttachedDisk;
use crate::environment::Environment;
use crate::job::Job;
use crate::layout;
use crate::needs;
use crate::settings::{Settings, SettingsPaths};

/// A create that can go ahead.
#[derive(Debug)]
pub struct Plan {
    /// What Ganeti asks for.
    pub job: Job,
    /// How it is to be made.
    pub settings: Settings,
    /// Where things are on this node.
    pub paths: SettingsPaths,
    /// The instance's first disk, claimed.
    pub disk: Disk,
    /// What makes it reachable on this node; let go after the claim.
    pub attached: AttachedDisk,
    /// The hooks to run.
    pub hooks: Parts,
    /// The text of root's authorized_keys.
    pub authorized_keys: String,
    /// What Ganeti set, for the hooks.
    pub hook_environment: Vec<(OsString, OsString)>,
}

impl Plan {
    /// Checks the environment, the settings, the node's tools, the keys, the
    /// hooks and the disk. Writes nothing.
    pub fn make(environment: &Environment) -> Result<Self> {
        let job = environment.create_job()?;
        let paths = environment.paths()?;
        let settings = Settings::load(&paths, &job)?;
        tools::check(&needs::for_create(&settings))?;
        let authorized_keys = settings.authorized_keys()?;
        let hooks = Parts::in_directory(&settings.customize_dir).map_err(|error| {
            anyhow!("{error:#}: create it, or set CUSTOMIZE_DIR to the directory of the hooks")
        })?;
        for skipped in hooks.skipped() {
            let name = skipped.name.to_string_lossy();
            tracing::debug!("not running the hook {name}: {}", skipped.reason);
        }
        check_fixes(&paths)?;
        if let Some(zone) = &settings.timezone {
            identity::check_timezone(zone)?;
        }
        let attached = AttachedDisk::open(job.root_disk()?, &paths)?;
        let disk = Disk::claim(attached.path())?;
        layout::check_sectors(&disk, settings.partition_style)?;
        if job.reinstall {
            tracing::info!("reinstalling: what {} holds is lost", disk.path().display());
        }
        Ok(Self {
            hook_environment: environment.hook_environment(),
            job,
            settings,
            paths,
            disk,
            attached,
            hooks,
            authorized_keys,
        })
    }

    /// The bootstrap root, from the cache or built into it.
    pub fn bootstrap_root(&self) -> Result<CachedRoot> {
        let cache = self.settings.cache(&self.paths);
        cache.obtain(&self.settings.recipe())
    }

    /// Fails if the root does not fit onto the disk, or the filesystem that
    /// holds a disk's file cannot take it.
    pub fn check_size(&self, cached: &CachedRoot) -> Result<()> {
        let needed = layout::needed_size(
            self.settings.partition_style,
            self.settings.filesystem,
            self.settings.alignment_bytes(),
            cached.unpacked_bytes(),
        );
        if self.disk.size() < needed {
            bail!(
                "checking the size of {}: it has {} MiB and needs at least {} MiB; nothing was \
                 written: give the instance a larger disk",
                self.disk.path().display(),
                self.disk.size() >> 20,
                needed >> 20
            );
        }
        let room = self.disk.room()?;
        let content = cached.unpacked_bytes();
        if room < content {
            bail!(
                "checking the space for {}: the filesystem that holds it can give it {} MiB, and \
                 the root needs {} MiB; nothing was written: make room there",
                self.disk.path().display(),
                room >> 20,
                content.div_ceil(1 << 20)
            );
        }
        Ok(())
    }
}

/// The hook that installs the fixes would find out only after the disk has
/// been written.
fn check_fixes(paths: &SettingsPaths) -> Result<()> {
    let fixes = paths.fixes_dir();
    if !fixes.is_dir() {
        bail!(
            "looking for the fixes in {}: no such directory; create it, even if empty",
            fixes.display()
        );
    }
    Ok(())
}
