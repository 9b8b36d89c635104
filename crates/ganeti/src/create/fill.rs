//! Fills the mounted root: bootstrap root, identity, hooks, kernel, initrd and
//! the boot loader's menu.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;
use p2v_bootloader::Menu;
use p2v_bootstrap::CachedRoot;
use p2v_sys::{Root, interrupt};

use super::host_keys::{HostKey, HostKeys};
use super::identity;
use super::kernel::{self, Kernel};
use super::last_resort;
use super::plan::Plan;
use crate::boot_loader::consoles;
use crate::layout::Layout;

/// What the root now has.
pub struct Filled {
    /// The public halves of its SSH host keys.
    pub host_keys: Vec<HostKey>,
    /// Its kernel.
    pub kernel: Kernel,
}

/// Fills the filesystem `uuid`, mounted on `target`.
pub fn fill(
    plan: &Plan,
    cached: &CachedRoot,
    layout: &Layout,
    uuid: &str,
    target: &Path,
) -> Result<Filled> {
    let root = Root::open(target)?;
    let instance = plan.job.instance.as_str();
    // Until this file is gone, our init refuses to boot the root, by whatever
    // kernel it is started.
    root.write(p2v_ramboot::INCOMPLETE, "", 0o600)?;
    let keys = HostKeys::start(&plan.paths.scratch_dir(), instance);
    tracing::info!("unpacking the bootstrap root");
    cached.unpack(target)?;
    interrupt::check()?;
    identity::write(&root, instance, plan.settings.filesystem.name(), uuid)?;
    identity::authorize(&root, &plan.authorized_keys)?;
    let host_keys = keys.install(&root)?;
    run_hooks(plan, layout, target)?;
    // After the hooks: what is set for this instance goes over what they do
    // for all.
    if let Some(hash) = &plan.settings.root_password_hash {
        identity::set_root_password(&root, hash.as_str())?;
    }
    if let Some(zone) = &plan.settings.timezone {
        identity::set_timezone(&root, zone)?;
    }
    interrupt::check()?;
    let kernel = Kernel::newest(&root)?;
    let menu = Menu {
        root_uuid: uuid.to_owned(),
        kernel: kernel.path(),
        initrd: kernel.initrd_path(),
        title: "p2v-target: boot into RAM".to_owned(),
        // The interfaces are named by MAC in the root, so that the kernel's
        // own names, unlike udev's, are right from the start.
        options: " net.ifnames=0",
        consoles: consoles(&plan.job.hypervisor, plan.job.serial_console()),
    };
    last_resort::install(&root, &plan.paths.cache_dir)?;
    kernel::install(&root, &kernel, &menu, &plan.paths.cache_dir)?;
    root.remove_file(p2v_ramboot::INCOMPLETE)?;
    Ok(Filled { host_keys, kernel })
}

/// Runs the hooks with what Ganeti set and instance-debootstrap's variables.
fn run_hooks(plan: &Plan, layout: &Layout, target: &Path) -> Result<()> {
    let settings = &plan.settings;
    let mut environment: BTreeMap<OsString, OsString> =
        plan.hook_environment.iter().cloned().collect();
    for (name, value) in settings.hook_variables() {
        environment.insert(name.into(), value.into());
    }
    let ours: [(&str, OsString); 6] = [
        ("TARGET", target.into()),
        ("BLOCKDEV", layout.whole.path().into()),
        ("FSYSDEV", layout.root.path().into()),
        ("P2V_BINARY", kernel::own_binary()?.into()),
        ("P2V_FIXES_DIR", plan.paths.fixes_dir().into()),
        ("P2V_CONFIG_DIR", plan.paths.config_dir.clone().into()),
    ];
    for (name, value) in ours {
        environment.insert(name.into(), value);
    }
    plan.hooks.run(&environment, settings.hook_timeout)
}
