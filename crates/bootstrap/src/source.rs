//! Where the tree of a new bootstrap root comes from.

use std::path::Path;

use anyhow::Result;

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
        tool.install(recipe, target)?;
        settle::settle(target)?;
        trim::trim(target, &recipe.extra_packages())?;
        settle::seal(target)?;
        Ok(tool.name().to_owned())
    }
}
