//! The root filesystem of a machine on which nothing of ours was ever
//! installed: a suite's required packages, and beside them, as files, those
//! that ours need. Made once and kept in the test cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use p2v_sys::Cmd;
use p2v_sys::lock::FileLock;

use super::needed_packages;
use crate::place;

/// The one package more: the first process of a [`crate::ganeti_lab::node`].
const FIRST_PROCESS: &str = "tini";

/// Longer than a slow mirror takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(1200);

/// The root's directory in the test cache. Makes it where it is missing, and
/// drops those that other packages were needed in.
pub fn ready(suite: &str) -> Result<PathBuf> {
    let needed = needed_packages()?;
    let cache = place::test_cache()?.join("clean-roots");
    std::fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let key = blake3::hash(format!("{suite} {FIRST_PROCESS} {needed:?}").as_bytes()).to_hex();
    let root = cache.join(format!("{suite}-{}", &key[..16]));
    let lock = cache.join(format!("{suite}.lock"));
    let _lock = FileLock::wait(&lock, "making the root of a clean machine")?;
    if !root.exists() {
        drop_others(&cache, suite)?;
        make(suite, &needed, &cache, &root)?;
    }
    Ok(root)
}

fn make(suite: &str, needed: &[String], cache: &Path, root: &Path) -> Result<()> {
    let unfinished = cache.join(format!("{suite}-unfinished"));
    let download = "chroot \"$1\" apt-get --quiet --yes --no-install-recommends --download-only";
    Cmd::new("mmdebstrap", format!("making a clean root of {suite}"))
        .args(["--mode=root", "--variant=minbase", "--format=directory"])
        .arg(format!("--include={FIRST_PROCESS}"))
        // The lists and the packages downloaded last stay.
        .arg("--skip=cleanup/apt")
        .arg("--customize-hook=rm -f \"$1\"/var/cache/apt/archives/*.deb")
        .arg(format!(
            "--customize-hook={download} install {}",
            needed.join(" ")
        ))
        .arg(suite)
        .arg(&unfinished)
        .timeout(LONGEST)
        .run()
        .context("clean machines need Debian's packages: is there a way to the mirror, or http_proxy set?")?;
    std::fs::rename(&unfinished, root).with_context(|| format!("renaming {}", unfinished.display()))
}

/// Also what a killed run left.
fn drop_others(cache: &Path, suite: &str) -> Result<()> {
    let reading = || format!("reading {}", cache.display());
    for entry in std::fs::read_dir(cache).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name.starts_with(&format!("{suite}-")) {
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}
