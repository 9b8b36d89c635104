//! A new root: its tree becomes an archive, which appears in the cache when it
//! is complete.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;
use p2v_sys::lock::SharedFile;
use p2v_sys::{Root, interrupt};

use super::{Cache, CachedRoot};
use crate::archive::{self, Packed, Scope};
use crate::metadata::{self, Metadata};
use crate::recipe::Recipe;
use crate::scratch::{self, Scratch};
use crate::source::{self, Debian, Source};
use crate::tool::Tool;

impl Cache {
    /// What keeps this node from building a root in the cache from Debian's
    /// packages: no tool for it, too little space, programs that may not run
    /// there. The directory must be there.
    pub fn build_obstacles(&self) -> Vec<anyhow::Error> {
        let checks = [
            Tool::detect().map(drop),
            self.check_space(Debian::default().needed_bytes()),
            source::check_programs_run(&self.dir),
        ];
        checks.into_iter().filter_map(Result::err).collect()
    }

    /// Builds the root; the caller holds the lock.
    pub(super) fn build(
        &self,
        key: &str,
        recipe: &Recipe,
        source: &dyn Source,
    ) -> Result<CachedRoot> {
        let start = Instant::now();
        let scratch = Scratch::new(self.dir.join(format!("{}{key}", scratch::PREFIX)))?;
        self.check_space(source.needed_bytes())?;
        let tree = scratch.path().join("root");
        let tool = source.build(recipe, &tree)?;
        interrupt::check()?;
        let kernel = kernel_version(&tree)?;
        let path = scratch.path().join("archive");
        let archive = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("making {}", path.display()))?;
        let packed = archive::pack(&tree, &archive, &path, &Scope::default())?;
        let metadata = describe(key, recipe, tool, kernel, packed);
        if self.policy.generate {
            self.keep(&scratch, &archive, &metadata)?;
        }
        let archive = SharedFile::hold(archive, &path)?;
        // The open file stays when the scratch directory goes.
        scratch.close()?;
        tracing::info!(
            "built the bootstrap root {key} in {} s: {} MB, {} MB packed",
            start.elapsed().as_secs(),
            metadata.unpacked_bytes / 1_000_000,
            metadata.archive_bytes / 1_000_000,
        );
        Ok(CachedRoot { archive, metadata })
    }

    fn check_space(&self, needed: u64) -> Result<()> {
        let checking = || format!("checking the space in {}", self.dir.display());
        let status = statvfs(&self.dir).with_context(checking)?;
        let free = status.blocks_available() * status.fragment_size();
        if free < needed {
            bail!(
                "{}: {} MB are free, and building a bootstrap root needs {} MB: make room there",
                checking(),
                free / 1_000_000,
                needed.div_ceil(1_000_000),
            );
        }
        Ok(())
    }

    /// Puts a complete root into the cache.
    fn keep(&self, scratch: &Scratch, archive: &File, metadata: &Metadata) -> Result<()> {
        let keeping = || format!("keeping the bootstrap root in {}", self.dir.display());
        archive.sync_all().with_context(keeping)?;
        let described = scratch.path().join("metadata");
        let mut text = serde_json::to_vec_pretty(metadata).with_context(keeping)?;
        text.push(b'\n');
        // A mirror's address may hold a password.
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&described)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .with_context(keeping)?;
        let key = &metadata.key;
        // An old one's must not describe the new archive.
        self.remove_file(&self.metadata_path(key))?;
        for (from, to) in [
            (scratch.path().join("archive"), self.archive_path(key)),
            (described, self.metadata_path(key)),
        ] {
            std::fs::rename(&from, &to).with_context(keeping)?;
        }
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .with_context(keeping)
    }

    pub(super) fn explain_full_disk(
        &self,
        error: anyhow::Error,
        source: &dyn Source,
    ) -> anyhow::Error {
        let full = |cause: &(dyn std::error::Error + 'static)| {
            let io = cause.downcast_ref::<std::io::Error>();
            io.and_then(std::io::Error::raw_os_error) == Some(nix::libc::ENOSPC)
                || cause.downcast_ref() == Some(&nix::errno::Errno::ENOSPC)
        };
        if !error.chain().any(full) {
            return error;
        }
        let needed = source.needed_bytes().div_ceil(1_000_000);
        anyhow::anyhow!(
            "{error:#}: the disk of {} is full, and building needs about {needed} MB there",
            self.dir.display()
        )
    }
}

fn describe(key: &str, recipe: &Recipe, tool: String, kernel: String, packed: Packed) -> Metadata {
    let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Metadata {
        version: metadata::VERSION,
        key: key.to_owned(),
        suite: recipe.suite.clone(),
        arch: recipe.arch.clone(),
        mirror: recipe.mirror.clone(),
        components: owned(recipe.components()),
        packages: owned(recipe.all_packages()),
        tool,
        kernel,
        built_at: now.unwrap_or_default().as_secs(),
        archive_bytes: packed.archive_bytes,
        archive_blake3: packed.archive_blake3,
        unpacked_bytes: packed.unpacked_bytes,
        inodes: packed.inodes,
    }
}

/// The newest kernel of the tree that has both an image and modules.
fn kernel_version(tree: &Path) -> Result<String> {
    let root = Root::open(tree)?;
    let images = root.list("boot")?;
    let versions = images
        .iter()
        .filter_map(|name| name.to_str()?.strip_prefix("vmlinuz-"))
        .filter(|version| root.exists(Path::new("usr/lib/modules").join(version)));
    versions
        .max_by_key(|version| numbers(version))
        .map(str::to_owned)
        .context("looking for a kernel in the bootstrap root: there is none")
}

/// The numbers of a version, so that 6.10 is newer than 6.9.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}
