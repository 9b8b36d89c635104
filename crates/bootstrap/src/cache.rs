//! The cache: a directory with two files a root, KEY.tar.zst and KEY.json.
//!
//! Both appear by a rename when they are complete, the JSON last, so there is
//! nothing half-written to be found. Whoever builds holds the lock KEY.lock:
//! two creates at once build once, and what is left of a build whose lock is
//! free is left of a killed one.
//!
//! A root holds no secrets, but whoever may write here decides what every
//! instance runs: the directory must be ours and nobody else's to write.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;
use p2v_sys::lock::FileLock;
use p2v_sys::{Root, interrupt};

mod tidy;

pub use tidy::INITRD_PREFIX;

use crate::archive::{self, Packed, Scope};
use crate::metadata::{self, Metadata};
use crate::recipe::Recipe;
use crate::scratch::{self, Scratch};
use crate::source::{Debian, Source};

/// When roots are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachePolicy {
    /// Whether a newly built root is kept (GENERATE_CACHE). An existing one is
    /// used in any case.
    pub generate: bool,
    /// The age in days from which a root is built anew (CLEAN_CACHE); `None`
    /// means never.
    pub clean_days: Option<u32>,
}

/// A directory of bootstrap roots.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    policy: CachePolicy,
}

/// A verified root, ready to be unpacked. It stays usable when the cache
/// drops it.
#[derive(Debug)]
pub struct CachedRoot {
    archive: File,
    metadata: Metadata,
}

impl CachedRoot {
    /// Room that the unpacked root takes on a filesystem with blocks of 4 KiB,
    /// in bytes, its own structures not counted.
    pub fn unpacked_bytes(&self) -> u64 {
        self.metadata.unpacked_bytes
    }

    /// Number of inodes it takes.
    pub fn inodes(&self) -> u64 {
        self.metadata.inodes
    }

    /// Its name in the cache.
    pub fn key(&self) -> &str {
        &self.metadata.key
    }

    /// The version of its kernel, as in `6.1.0-31-amd64`.
    pub fn kernel_version(&self) -> &str {
        &self.metadata.kernel
    }

    /// All that is known of it.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Unpacks it into the directory `target`: the top of a fresh filesystem.
    pub fn unpack(&self, target: &Path) -> Result<()> {
        // A handle of its own would share the position.
        let path = format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&self.archive)
        );
        let archive = File::open(&path)
            .with_context(|| format!("opening the bootstrap root {}", self.key()))?;
        archive::unpack(archive, target)
            .with_context(|| format!("unpacking the bootstrap root {}", self.key()))
    }
}

impl Cache {
    /// The cache in `dir`, which is made if need be.
    pub fn new(dir: impl Into<PathBuf>, policy: CachePolicy) -> Self {
        Self {
            dir: dir.into(),
            policy,
        }
    }

    /// Finds and verifies the root that `recipe` describes, or builds it from
    /// Debian's packages, which takes minutes.
    pub fn obtain(&self, recipe: &Recipe) -> Result<CachedRoot> {
        self.obtain_from(recipe, &Debian::default())
    }

    /// Like [`Cache::obtain`], from another source.
    pub fn obtain_from(&self, recipe: &Recipe, source: &dyn Source) -> Result<CachedRoot> {
        recipe.check()?;
        self.make_directory()?;
        self.tidy()?;
        let key = recipe.key();
        // What looks damaged may be about to be replaced: only under the lock
        // is it what it seems.
        if let Ok(Some(root)) = self.find(&key) {
            return Ok(root);
        }
        let what = format!("building the bootstrap root {key}");
        let _lock = FileLock::wait(&self.lock_path(&key), &what)?;
        match self.find(&key) {
            Ok(Some(root)) => return Ok(root),
            Err(why) => {
                tracing::warn!("building the bootstrap root {key} anew: {why:#}");
                self.remove(&key)?;
            }
            Ok(None) => {}
        }
        self.build(&key, recipe, source)
            .map_err(|error| self.explain_full_disk(error, source))
            .with_context(|| format!("building the bootstrap root in {}", self.dir.display()))
    }

    /// Makes the directory, or checks that nobody else writes to it.
    fn make_directory(&self) -> Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .with_context(|| format!("making the cache directory {}", self.dir.display()))?;
        let checking = || format!("checking the cache directory {}", self.dir.display());
        // Through a link: an admin may have moved it to a larger disk.
        let metadata = std::fs::metadata(&self.dir).with_context(checking)?;
        let us = nix::unistd::geteuid().as_raw();
        if metadata.uid() != us || metadata.mode() & 0o022 != 0 {
            bail!(
                "{}: others may write to it (owner {}, mode {:o}), and so into every instance: \
                 chown it to {us} and chmod it to 700",
                checking(),
                metadata.uid(),
                metadata.mode() & 0o7777,
            );
        }
        Ok(())
    }

    fn explain_full_disk(&self, error: anyhow::Error, source: &dyn Source) -> anyhow::Error {
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

    /// What the cache holds, by key; files without sound metadata are not
    /// listed.
    pub fn list(&self) -> Result<Vec<Metadata>> {
        let names = self.names()?;
        let keys = names.iter().filter_map(|name| name.strip_suffix(".json"));
        Ok(keys
            .filter_map(|key| {
                let metadata = Metadata::read(&self.metadata_path(key)).ok()??;
                // The key names the files that are removed.
                (metadata.key == key).then_some(metadata)
            })
            .collect())
    }

    /// Finds and verifies a root; an error means that it is damaged.
    fn find(&self, key: &str) -> Result<Option<CachedRoot>> {
        let path = self.archive_path(key);
        let metadata = Metadata::read(&self.metadata_path(key))?;
        let archive = match File::open(&path) {
            Ok(archive) => Some(archive),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        match (metadata, archive) {
            (None, None) => Ok(None),
            (None, Some(_)) => bail!("reading {}: its metadata is missing", path.display()),
            (Some(_), None) => bail!("reading {}: it is missing", path.display()),
            (Some(metadata), Some(archive)) => {
                verify(key, &metadata, &archive)
                    .with_context(|| format!("checking {}", path.display()))?;
                Ok(Some(CachedRoot { archive, metadata }))
            }
        }
    }

    /// Builds the root; the caller holds the lock.
    fn build(&self, key: &str, recipe: &Recipe, source: &dyn Source) -> Result<CachedRoot> {
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
                "{}: {} MB are free, and building a bootstrap root needs {} MB",
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

    /// Removes a root, the metadata first: an archive without is not found.
    fn remove(&self, key: &str) -> Result<()> {
        for path in [self.metadata_path(key), self.archive_path(key)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>> {
        let reading = || format!("reading the cache directory {}", self.dir.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir).with_context(reading)? {
            let name = entry.with_context(reading)?.file_name();
            names.extend(name.into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn archive_path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.tar.zst"))
    }

    fn metadata_path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.json"))
    }

    fn lock_path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.lock"))
    }
}

fn verify(key: &str, metadata: &Metadata, archive: &File) -> Result<()> {
    if metadata.key != key {
        bail!("its metadata is that of {}", metadata.key);
    }
    let length = archive.metadata().context("examining it")?.len();
    if length != metadata.archive_bytes {
        bail!(
            "it has {length} bytes instead of {}",
            metadata.archive_bytes
        );
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(archive).context("reading it")?;
    if hasher.finalize().to_hex().as_str() != metadata.archive_blake3 {
        bail!("its checksum is wrong");
    }
    Ok(())
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
