//! Where the tree of a new bootstrap root comes from.

use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::recipe::Recipe;
use crate::tool::Tool;
use crate::{settle, trim};

/// Room for the packages, what they become, and the archive of it; measured
/// at 0.98 GB for the base packages by either tool; the rest is for EXTRA_PKGS.
const NEEDED_BYTES: u64 = 1_300_000_000;

/// Makes the tree that the cache keeps.
pub trait Source {
    /// Free space that the making needs in the cache, in bytes.
    fn needed_bytes(&self) -> u64;

    /// Makes the tree in `target`, a path that does not exist yet, and
    /// returns the name of what made it.
    fn build(&self, recipe: &Recipe, target: &Path) -> Result<String>;
}

/// The real source: Debian's packages, settled and trimmed.
#[derive(Debug, Default)]
pub struct Debian {
    /// The tool to use; the one that this node has if `None`.
    pub tool: Option<Tool>,
}

impl Source for Debian {
    fn needed_bytes(&self) -> u64 {
        NEEDED_BYTES
    }

    fn build(&self, recipe: &Recipe, target: &Path) -> Result<String> {
        let tool = self.tool.map_or_else(Tool::detect, Ok)?;
        check_programs_run(target.parent().unwrap_or(target))?;
        tool.install(recipe, target)?;
        settle::settle(target)?;
        trim::trim(target, &recipe.extra_packages())?;
        settle::seal(target)?;
        Ok(tool.name().to_owned())
    }
}

/// Fails if the filesystem is mounted with noexec: the packages' own programs
/// are run in the tree. The tools find out after minutes, if at all.
pub(crate) fn check_programs_run(dir: &Path) -> Result<()> {
    let checking = || format!("checking the filesystem of {}", dir.display());
    let flags = statvfs(dir).with_context(checking)?.flags();
    if flags.contains(FsFlags::ST_NOEXEC) {
        bail!(
            "{}: it is mounted with noexec, and a bootstrap root is built by running programs \
             in it; make the cache directory a link to elsewhere",
            checking()
        );
    }
    Ok(())
}
