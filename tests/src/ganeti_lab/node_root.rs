//! The root filesystem of a lab's node: Debian 12 with Ganeti and what the OS
//! definition needs, made once and kept in the test cache. Nothing is ever
//! written to it: nodes are layers over it (see [`super::node`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use p2v_sys::Cmd;
use p2v_sys::lock::FileLock;

use crate::place;

/// The suite whose Ganeti is 3.0.2.
const SUITE: &str = "bookworm";

/// What is installed, with comments.
const PACKAGES: &str = include_str!("node-packages.txt");

/// Longer than a slow mirror takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(1200);

/// The root's directory in the test cache. Makes it where it is missing, in
/// about a minute.
pub fn ready() -> Result<PathBuf> {
    let cache = place::test_cache()?;
    let root = cache.join(format!("node-{}", key()));
    let lock = cache.join("node-root.lock");
    let _lock = FileLock::wait(&lock, "making the root of the lab's node")?;
    if !root.exists() {
        make(&cache, &root)?;
    }
    Ok(root)
}

/// Whether [`ready`] has nothing to do.
pub fn is_there() -> Result<bool> {
    Ok(place::test_cache()?
        .join(format!("node-{}", key()))
        .exists())
}

fn make(cache: &Path, root: &Path) -> Result<()> {
    // Not a temporary directory that vanishes: a killed run's is found by name.
    let unfinished = cache.join("node-unfinished");
    if unfinished.exists() {
        remove(&unfinished)?;
    }
    Cmd::new("mmdebstrap", "making the root of the lab's node")
        .args(["--mode=root", "--variant=minbase", "--format=directory"])
        .arg("--aptopt=APT::Install-Recommends \"false\"")
        .arg(format!("--include={}", packages().join(",")))
        .arg(SUITE)
        .arg(&unfinished)
        .timeout(LONGEST)
        .run()
        .context("the lab's node needs Debian's packages: is there a way to the mirror, or http_proxy set?")?;
    std::fs::rename(&unfinished, root).with_context(|| format!("renaming {}", unfinished.display()))
}

fn remove(dir: &Path) -> Result<()> {
    std::fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))
}

fn packages() -> Vec<&'static str> {
    PACKAGES
        .lines()
        .filter_map(|line| line.split('#').next())
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

fn key() -> String {
    let words = format!("{SUITE} {}", packages().join(" "));
    blake3::hash(words.as_bytes()).to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_packages() {
        let packages = packages();
        assert!(packages.contains(&"ganeti-3.0"));
        assert!(
            packages.iter().all(|name| !name.contains([' ', '#'])),
            "{packages:?}"
        );
    }
}
