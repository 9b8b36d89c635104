//! mmdebstrap and debootstrap: the packages become a tree.
//!
//! Neither makes an initramfs: the instance boots from our own initrd, and
//! mkinitramfs would take longer than all the rest.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use p2v_sys::Cmd;
use p2v_sys::command::in_path;

use crate::recipe::{Recipe, USR_IS_MERGED};

/// A slow mirror is no failure.
const TIMEOUT: Duration = Duration::from_secs(2 * 3600);

/// mmdebstrap's own hook for suites that are merged, but not by their
/// packages.
const MERGE_HOOK: &str = "/usr/share/mmdebstrap/hooks/merged-usr";

/// A program that installs Debian into a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// mmdebstrap: the faster one, and it takes security updates too.
    Mmdebstrap,
    /// debootstrap: the one that every node has.
    Debootstrap,
}

impl Tool {
    /// The one this node has; mmdebstrap if both.
    pub fn detect() -> Result<Self> {
        [Self::Mmdebstrap, Self::Debootstrap]
            .into_iter()
            .find(|tool| in_path(tool.name()))
            .context("looking for mmdebstrap or debootstrap: neither is installed on this node")
    }

    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mmdebstrap => "mmdebstrap",
            Self::Debootstrap => "debootstrap",
        }
    }

    /// Installs the recipe's packages into the new directory `target`.
    pub(crate) fn install(self, recipe: &Recipe, target: &Path) -> Result<()> {
        let start = Instant::now();
        let from = recipe.mirror.as_deref().unwrap_or("its default mirror");
        let what = format!("{} {} from {from}", recipe.suite, recipe.arch);
        tracing::info!("installing {what} with {} (minutes)", self.name());
        let command = match self {
            Self::Mmdebstrap => mmdebstrap(recipe, target, &what),
            Self::Debootstrap => debootstrap(recipe, target, &what),
        };
        let command = environment(command, recipe).timeout(TIMEOUT);
        let result = if std::io::stderr().is_terminal() {
            command.run_shown()
        } else {
            command.run()
        };
        if let Err(error) = result {
            match explain(&format!("{error:#}"), recipe) {
                // The advice last: Ganeti shows the end of the log.
                Some(advice) => bail!("{error:#}\n{advice}"),
                None => return Err(error),
            }
        }
        tracing::info!("installed {what} in {} s", start.elapsed().as_secs());
        Ok(())
    }
}

fn mmdebstrap(recipe: &Recipe, target: &Path, what: &str) -> Cmd {
    let mut packages = recipe.all_packages();
    let mut hook = None;
    if recipe.suite == "bookworm" && Path::new(MERGE_HOOK).exists() {
        packages.push(USR_IS_MERGED);
        hook = Some(format!("--hook-dir={MERGE_HOOK}"));
    }
    Cmd::new("mmdebstrap", format!("installing {what}"))
        .args(["--mode=root", "--format=directory", "--variant=minbase"])
        .arg(format!("--architectures={}", recipe.arch))
        .arg(format!("--components={}", recipe.components().join(",")))
        .arg(format!("--include={}", packages.join(",")))
        .args(hook)
        // A build that is cut short is thrown away: no package needs to be on
        // the disk before the next one is unpacked.
        .arg("--dpkgopt=force-unsafe-io")
        .arg(&recipe.suite)
        .arg(target)
        .args(&recipe.mirror)
}

fn debootstrap(recipe: &Recipe, target: &Path, what: &str) -> Cmd {
    Cmd::new("debootstrap", format!("installing {what}"))
        .arg("--variant=minbase")
        .arg(format!("--arch={}", recipe.arch))
        .arg(format!("--components={}", recipe.components().join(",")))
        .arg(format!("--include={}", recipe.all_packages().join(",")))
        .arg(&recipe.suite)
        .arg(target)
        .args(&recipe.mirror)
}

/// The proxy goes by the environment, which apt and wget both heed: as an
/// option of apt's it would stay in the root.
fn environment(command: Cmd, recipe: &Recipe) -> Cmd {
    let command = command
        // The kernel's and initramfs-tools' own word for "make none".
        .env("INITRD", "No")
        .env("DEBIAN_FRONTEND", "noninteractive");
    match &recipe.proxy {
        Some(proxy) => command.env("http_proxy", proxy).env("https_proxy", proxy),
        None => command,
    }
}

/// What to do about the tool's own words, where they are known.
fn explain(words: &str, recipe: &Recipe) -> Option<String> {
    let says = |any: &[&str]| any.iter().any(|phrase| words.contains(phrase));
    let unset = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
    if says(&["No space left on device", "enough free space"]) {
        return Some("the directory of the cache is on a full disk".to_owned());
    }
    if says(&["Unable to locate package", "Couldn't find these debs"]) {
        return Some(format!(
            "a package does not exist in {}: check EXTRA_PKGS and COMPONENTS (now {}) in p2v-target.conf",
            recipe.suite,
            recipe.components().join(" "),
        ));
    }
    let unreachable = [
        "Could not connect",
        "Unable to connect",
        "Could not resolve",
        "failure resolving",
        "Connection refused",
        "Connection failed",
        "Connection timed out",
        "Failed getting release file",
        "does not have a Release file",
        "Failed to fetch",
        "apt-get update failed",
    ];
    says(&unreachable).then(|| {
        format!(
            "the mirror cannot be reached, or has no {}: check MIRROR (now {}), PROXY (now {}) and SUITE in p2v-target.conf",
            recipe.suite,
            unset(&recipe.mirror),
            unset(&recipe.proxy),
        )
    })
}
