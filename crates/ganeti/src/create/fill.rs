//! Fills the mounted root: bootstrap root, identity, hooks, kernel, initrd and
//! the boot loader's menu.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;
use p2v_bootloader::{Console, Menu};
use p2v_bootstrap::CachedRoot;
use p2v_sys::{Root, interrupt};

use super::host_keys::{HostKey, HostKeys};
use super::identity;
use super::kernel::{self, Kernel};
use super::layout::Layout;
use super::plan::Plan;

/// What the root now has.
pub struct Filled {
    /// The public halves of its SSH host keys.
    pub host_keys: Vec<HostKey>,
    /// Its kernel.
    pub kernel: Kernel,
    /// What its boot loader boots.
    pub menu: Menu,
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
    interrupt::check()?;
    let kernel = Kernel::newest(&root)?;
    let menu = Menu {
        root_uuid: uuid.to_owned(),
        kernel: kernel.path(),
        initrd: kernel.initrd_path(),
        consoles: consoles(&plan.job.hypervisor, plan.job.serial_console()),
    };
    kernel::install(&root, &kernel, &menu, &plan.paths.cache_dir)?;
    root.remove_file(p2v_ramboot::INCOMPLETE)?;
    Ok(Filled {
        host_keys,
        kernel,
        menu,
    })
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

/// The consoles of an instance; the last one is where init speaks.
fn consoles(hypervisor: &str, serial: bool) -> Vec<Console> {
    match hypervisor {
        "xen-pvm" => vec![Console::Screen, Console::Xen],
        _ if serial => vec![Console::Screen, Console::Serial],
        _ => vec![Console::Screen],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consoles_follow_the_hypervisor() {
        use Console::{Screen, Serial, Xen};
        assert_eq!(consoles("kvm", true), [Screen, Serial]);
        assert_eq!(consoles("kvm", false), [Screen]);
        assert_eq!(consoles("xen-pvm", false), [Screen, Xen]);
        assert_eq!(consoles("xen-hvm", true), [Screen, Serial]);
    }
}
