//! A cache of its own, and a small tree in the place of Debian's packages.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use p2v_bootstrap::{Cache, CachePolicy, CachedRoot, Recipe, Source};
use p2v_testing::names;

use super::common;

pub const KEEP: CachePolicy = CachePolicy {
    generate: true,
    clean_days: None,
};

pub fn recipe() -> Recipe {
    Recipe {
        suite: "bookworm".into(),
        arch: "amd64".into(),
        mirror: None,
        components: Vec::new(),
        packages: Vec::new(),
        proxy: None,
    }
}

/// Makes the small tree, and counts how often.
#[derive(Default)]
pub struct Small {
    builds: AtomicU32,
    pub needed: u64,
    pub pause: Duration,
    pub fail: bool,
}

impl Small {
    pub fn builds(&self) -> u32 {
        self.builds.load(Ordering::SeqCst)
    }
}

impl Source for Small {
    fn needed_bytes(&self) -> u64 {
        self.needed
    }

    fn build(&self, _recipe: &Recipe, target: &Path) -> Result<String> {
        self.builds.fetch_add(1, Ordering::SeqCst);
        common::make_tree(target);
        std::thread::sleep(self.pause);
        if self.fail {
            bail!("the packages are no good");
        }
        Ok("small".to_owned())
    }
}

pub struct Lab {
    pub dir: tempfile::TempDir,
    pub small: Small,
}

impl Lab {
    pub fn new() -> Option<Self> {
        p2v_testing::root_or_skip().then(|| Self {
            dir: tempfile::tempdir().unwrap(),
            small: Small::default(),
        })
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    pub fn obtain(&self, policy: CachePolicy) -> Result<CachedRoot> {
        Cache::new(self.cache(), policy).obtain_from(&recipe(), &self.small)
    }

    pub fn file(&self, ending: &str) -> PathBuf {
        self.cache().join(format!("{}.{ending}", recipe().key()))
    }

    pub fn names(&self) -> Vec<String> {
        names(&self.cache())
    }

    pub fn complete(&self) -> Vec<String> {
        ["json", "lock", "tar.zst"]
            .map(|ending| format!("{}.{ending}", recipe().key()))
            .into()
    }
}
