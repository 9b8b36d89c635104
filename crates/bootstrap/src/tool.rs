//! mmdebstrap and debootstrap: the packages become a tree.
//!
//! Neither makes an initramfs: the instance boots from our own initrd, and
//! mkinitramfs would take longer than all the rest.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use p2v_sys::command::in_path;
use p2v_sys::{Cmd, without_credentials};

use crate::mirror_login::MirrorLogin;
use crate::recipe::{Recipe, USR_IS_MERGED, is_base};

/// A slow mirror is no failure.
const TIMEOUT: Duration = Duration::from_secs(2 * 3600);

/// mmdebstrap's own hook for suites that are merged, but not by their
/// packages.
const MERGE_HOOK: &str = "/usr/share/mmdebstrap/hooks/merged-usr";

/// Where debootstrap has what is particular to each suite.
const SCRIPTS: &str = "/usr/share/debootstrap/scripts";

/// Puts the mirror's login where apt looks for it, and where it stays, for the
/// root's own apt. mmdebstrap runs it by a shell, with the root as `$1`.
const LOGIN_HOOK: &str =
    r#"install -D -m 0600 "$P2V_MIRROR_LOGIN" "$1/etc/apt/auth.conf.d/p2v-mirror.conf""#;

/// A program that installs Debian into a directory.
///
/// Where no MIRROR is given, mmdebstrap takes a stable suite's security and
/// other updates too. debootstrap never does, and mmdebstrap not from a given
/// MIRROR: then a root has what the suite's last point release had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// mmdebstrap: the faster one, and it takes security updates too.
    Mmdebstrap,
    /// debootstrap: the one that every node has.
    Debootstrap,
}

impl Tool {
    /// The one this node has; mmdebstrap if both.
    ///
    /// # Errors
    /// It has neither.
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
        let from = recipe.mirror.as_deref().map(without_credentials);
        let from = from.as_deref().unwrap_or("its default mirror");
        let what = format!("{} {} from {from}", recipe.suite, recipe.arch);
        tracing::info!("installing {what} with {} (minutes)", self.name());
        let login = recipe.mirror.as_deref().map(MirrorLogin::take_from);
        let login = login.transpose()?.flatten();
        let command = match self {
            Self::Mmdebstrap => mmdebstrap(recipe, target, &what, login.as_ref()),
            Self::Debootstrap => {
                check_signed(Path::new(SCRIPTS), &recipe.suite)?;
                debootstrap(recipe, target, &what)
            }
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

fn mmdebstrap(recipe: &Recipe, target: &Path, what: &str, login: Option<&MirrorLogin>) -> Cmd {
    let mut packages = recipe.all_packages();
    let mut hook = None;
    if recipe.suite == "bookworm" && Path::new(MERGE_HOOK).exists() {
        packages.push(USR_IS_MERGED);
        hook = Some(format!("--hook-dir={MERGE_HOOK}"));
    }
    let command = Cmd::new("mmdebstrap", format!("installing {what}"))
        .args(["--mode=root", "--format=directory", "--variant=minbase"])
        .arg(format!("--architectures={}", recipe.arch))
        .arg(format!("--components={}", recipe.components().join(",")))
        .arg(format!("--include={}", packages.join(",")))
        .args(hook)
        // A build that is cut short is thrown away: no package needs to be on
        // the disk before the next one is unpacked.
        .arg("--dpkgopt=force-unsafe-io");
    let (command, mirror) = match login {
        None => (command, recipe.mirror.as_deref()),
        Some(login) => {
            let command = command
                .arg(format!("--setup-hook={LOGIN_HOOK}"))
                .env("P2V_MIRROR_LOGIN", login.file.path());
            (command, Some(login.address.as_str()))
        }
    };
    command.arg(&recipe.suite).arg(target).args(mirror)
}

/// Where debootstrap knows no key of an archive, or has no file of it, it
/// installs from there with a warning; and what it installs runs as root.
/// mmdebstrap never does.
fn check_signed(scripts: &Path, suite: &str) -> Result<()> {
    let doing = || format!("looking for the key of {suite}'s archive");
    let script = match std::fs::read(scripts.join(suite)) {
        Ok(script) => String::from_utf8_lossy(&script).into_owned(),
        // debootstrap itself says that it does not know the suite.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(doing),
    };
    let keyring = |line: &str| Some(line.strip_prefix("keyring ")?.trim().to_owned());
    let keyrings: Vec<String> = script.lines().filter_map(keyring).collect();
    if keyrings.iter().any(|file| Path::new(file).exists()) {
        return Ok(());
    }
    match keyrings.first() {
        Some(file) => bail!(
            "{}: debootstrap wants {file}, which is not on this node: install the package that \
             has it, or choose another SUITE",
            doing()
        ),
        None => bail!(
            "{}: debootstrap knows none, and would take anybody's packages: install mmdebstrap, \
             or choose another SUITE",
            doing()
        ),
    }
}

/// debootstrap hands the mirror's password to wget as an argument, and so do
/// we to it.
fn debootstrap(recipe: &Recipe, target: &Path, what: &str) -> Cmd {
    Cmd::new("debootstrap", format!("installing {what}"))
        .args(["--variant=minbase", "--force-check-gpg"])
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
    let missing = missing_packages(words);
    let unset = |value: &Option<String>| match value {
        Some(address) => without_credentials(address),
        None => "not set".to_owned(),
    };
    if says(&["No space left on device", "enough free space"]) {
        return Some("the directory of the cache is on a full disk: make room there".to_owned());
    }
    if says(&["mounted with noexec or nodev"]) {
        return Some(
            "the directory of the cache is on a filesystem mounted with nodev, where only \
             mmdebstrap can work: install that, or make the directory a link to elsewhere"
                .to_owned(),
        );
    }
    if let Some(base) = missing.iter().find(|name| is_base(name)) {
        return Some(format!(
            "{} has no package {base}, which every target needs: choose another SUITE in \
             p2v-target.conf, or a MIRROR that has all of main",
            recipe.suite,
        ));
    }
    if !missing.is_empty() {
        return Some(format!(
            "{} has no package {}: check EXTRA_PKGS and COMPONENTS (now {}) in p2v-target.conf",
            recipe.suite,
            missing.join(", nor "),
            recipe.components().join(","),
        ));
    }
    says(UNREACHABLE).then(|| {
        format!(
            "the mirror cannot be reached, or has no {}: check MIRROR (now {}), PROXY (now {}) and SUITE in p2v-target.conf",
            recipe.suite,
            unset(&recipe.mirror),
            unset(&recipe.proxy),
        )
    })
}

/// What the tools say when nothing comes from the mirror.
const UNREACHABLE: &[&str] = &[
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

/// The packages that do not exist, by apt's and debootstrap's words for it.
fn missing_packages(words: &str) -> Vec<&str> {
    let after = |line, phrase| str::split_once(line, phrase).map(|(_, rest)| rest);
    let mut packages: Vec<&str> = Vec::new();
    for line in words.lines() {
        if let Some(rest) = after(line, "Unable to locate package ") {
            packages.extend(rest.split_whitespace().next());
        } else if let Some(rest) = after(line, "Couldn't find these debs: ") {
            packages.extend(rest.split_whitespace());
        } else if let Some((start, _)) = line.split_once("' has no installation candidate") {
            packages.extend(start.rsplit('\'').next());
        }
    }
    packages.sort_unstable();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::tests::recipe;

    #[test]
    fn the_tools_words_are_followed_by_what_to_do() {
        for (words, expected) in [
            (
                "E: Unable to locate package vim-tinny\nE: Unable to locate package tmuxx\nE: failed",
                "bookworm has no package tmuxx, nor vim-tinny: check EXTRA_PKGS",
            ),
            (
                "E: Couldn't find these debs: vim-tinny",
                "bookworm has no package vim-tinny: check EXTRA_PKGS and COMPONENTS (now main)",
            ),
            (
                "E: Package 'mail-reader' has no installation candidate",
                "bookworm has no package mail-reader: check EXTRA_PKGS",
            ),
            (
                "E: Unable to locate package isc-dhcp-client",
                "bookworm has no package isc-dhcp-client, which every target needs: choose another SUITE",
            ),
            (
                "E: Cannot install into target '/var/cache/x' mounted with noexec or nodev",
                "mounted with nodev, where only mmdebstrap can work",
            ),
            (
                "dpkg: error: No space left on device",
                "full disk: make room",
            ),
        ] {
            let advice = explain(words, &recipe()).unwrap();
            assert!(advice.contains(expected), "{advice}");
        }
        assert_eq!(explain("E: something else", &recipe()), None);
    }

    #[test]
    fn debootstrap_is_refused_where_it_would_check_no_signature() {
        let scripts = tempfile::tempdir().unwrap();
        let key = scripts.path().join("key.gpg");
        std::fs::write(&key, "").unwrap();
        let script = |name: &str, text: String| {
            std::fs::write(scripts.path().join(name), text).unwrap();
        };
        script(
            "there",
            format!("mirror_style release\nkeyring {}\n", key.display()),
        );
        script(
            "gone",
            "default_mirror x\nkeyring /no/such/key.gpg\n".to_owned(),
        );
        script(
            "keyless",
            "# keyring none\nmirror_style release\n".to_owned(),
        );
        let check =
            |suite| check_signed(scripts.path(), suite).map_err(|error| format!("{error:#}"));
        assert_eq!(check("there"), Ok(()));
        assert_eq!(check("unknown"), Ok(()));
        let gone = check("gone").unwrap_err();
        assert!(
            gone.contains("install the package that has it") && gone.contains("/no/such/key.gpg")
        );
        assert!(check("keyless").unwrap_err().contains("install mmdebstrap"));
    }

    #[test]
    fn passwords_of_mirror_and_proxy_are_not_shown() {
        let mut secret = recipe();
        secret.mirror = Some("https://me:pa@ss@mirror.example/debian@old".into());
        secret.proxy = Some("http://me:pass@proxy.example:3128".into());
        let advice = explain("Could not connect to it", &secret).unwrap();
        assert!(
            !advice.contains("pa@ss") && !advice.contains("me:"),
            "{advice}"
        );
        assert!(
            advice.contains("https://***@mirror.example/debian@old"),
            "{advice}"
        );
        assert!(advice.contains("http://***@proxy.example:3128"), "{advice}");
    }
}
