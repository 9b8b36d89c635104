//! Where a test works: a directory of its own with the product's
//! configuration, state and disks in it, an SSH key, and the installed tree.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use p2v_sys::Cmd;

use crate::leftovers;
use crate::ssh::Key;

/// Longer than a bootstrap through a slow mirror on a busy machine.
const LONGEST_CREATE: Duration = Duration::from_secs(900);

/// The OS directory within an installed tree.
const OS_DIR: &str = "usr/share/ganeti/os/p2v-target";

/// The configuration within an installed tree.
const CONFIG_DIR: &str = "etc/ganeti/instance-p2v-target";

/// A test's own directory. Removed when the test passes; kept, and named, when
/// it fails or P2V_TEST_KEEP is set.
#[derive(Debug)]
pub struct Lab {
    dir: PathBuf,
    tree: PathBuf,
    cache: PathBuf,
    key: Key,
    keep: AtomicBool,
}

impl Lab {
    /// A new directory below $P2V_TEST_SCRATCH (/var/tmp), with the installed
    /// configuration copied into it and a new key authorized.
    pub fn new(name: &str) -> Result<Self> {
        Self::of_stage(name, &installed_tree()?)
    }

    /// The same with another installed tree than the tests' own.
    pub fn of_stage(name: &str, tree: &Path) -> Result<Self> {
        Self::in_dir(&variable("P2V_TEST_SCRATCH", "/var/tmp"), name, tree)
    }

    /// The same in a directory of `scratch`.
    pub fn in_dir(scratch: &Path, name: &str, tree: &Path) -> Result<Self> {
        let tree = std::path::absolute(tree)
            .with_context(|| format!("finding the installed tree {}", tree.display()))?;
        let dir = tempfile::Builder::new()
            .prefix(&format!("p2v-test-{name}-"))
            .tempdir_in(scratch)
            .with_context(|| format!("making a directory in {}", scratch.display()))?
            .keep();
        let key = Key::generate(&dir.join("key"))?;
        let lab = Self {
            cache: shared_cache()?,
            dir,
            tree,
            key,
            keep: AtomicBool::new(std::env::var_os("P2V_TEST_KEEP").is_some()),
        };
        std::fs::create_dir(lab.state_dir()).context("making the state directory")?;
        copy_tree(&lab.tree.join(CONFIG_DIR), &lab.config_dir())?;
        copy_tree(&lab.tree.join(OS_DIR), &lab.os_dir())?;
        lab.relink_os_dir()?;
        lab.write_config("authorized_keys", lab.key.public())?;
        lab.use_proxy()?;
        Ok(lab)
    }

    /// The same with an empty cache of its own.
    pub fn with_own_cache(name: &str) -> Result<Self> {
        let mut lab = Self::new(name)?;
        lab.cache = lab.dir.join("cache");
        std::fs::create_dir(&lab.cache).context("making a cache directory")?;
        Ok(lab)
    }

    /// Does `work` in this lab, which is kept if that fails.
    pub fn run<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        work(self).inspect_err(|_| self.keep.store(true, Ordering::Relaxed))
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// P2V_CONFIG_DIR: p2v-target.conf, variants, hooks.d, authorized_keys.
    pub fn config_dir(&self) -> PathBuf {
        self.dir.join("config")
    }

    /// P2V_OS_DIR: the entry points and the lists, a copy of the installed.
    pub fn os_dir(&self) -> PathBuf {
        self.dir.join("os")
    }

    /// P2V_STATE_DIR.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// P2V_CACHE_DIR.
    pub fn cache_dir(&self) -> &Path {
        &self.cache
    }

    /// The installed binary.
    pub fn binary(&self) -> PathBuf {
        self.tree.join("usr/sbin/p2v")
    }

    /// The key that may log in to this test's instances.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What the node remembers of an instance.
    pub fn state_of(&self, instance: &str) -> PathBuf {
        self.state_dir().join(format!("{instance}.json"))
    }

    /// A new sparse disk image of `size` bytes.
    pub fn disk(&self, name: &str, size: u64) -> Result<PathBuf> {
        let path = self.dir.join(name);
        File::create(&path)
            .and_then(|file| file.set_len(size))
            .with_context(|| format!("making {}", path.display()))?;
        Ok(path)
    }

    /// Writes a file of the configuration.
    pub fn write_config(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.config_dir().join(name);
        std::fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Adds lines to p2v-target.conf.
    pub fn configure(&self, lines: &str) -> Result<()> {
        let path = self.config_dir().join("p2v-target.conf");
        let mut text = std::fs::read_to_string(&path).unwrap_or_default();
        text.push('\n');
        text.push_str(lines);
        text.push('\n');
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Adds an executable hook.
    pub fn hook(&self, name: &str, script: &str) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.write_config(&format!("hooks.d/{name}"), script)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
            .with_context(|| format!("making {} executable", path.display()))
    }

    /// Checks that nothing of this test is mounted, attached or running.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        leftovers::assert_none(&self.dir);
    }

    /// The variables that lead the product to this test's directories.
    pub fn directories(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("P2V_CONFIG_DIR", self.config_dir()),
            ("P2V_OS_DIR", self.os_dir()),
            ("P2V_CACHE_DIR", self.cache.clone()),
            ("P2V_STATE_DIR", self.state_dir()),
        ]
    }

    /// The entry points in the copied OS directory lead to the installed
    /// binary, whether they were relative or absolute, and the list of variants
    /// to this configuration.
    fn relink_os_dir(&self) -> Result<()> {
        let binary = self
            .binary()
            .canonicalize()
            .with_context(|| format!("looking for {}", self.binary().display()))?;
        for entry in std::fs::read_dir(self.os_dir()).context("reading the OS directory")? {
            let entry = entry.context("reading the OS directory")?;
            let path = entry.path();
            if path.is_symlink() {
                let target = match entry.file_name().to_str() {
                    Some(list @ "variants.list") => self.config_dir().join(list),
                    _ => binary.clone(),
                };
                std::fs::remove_file(&path).context("replacing a link")?;
                std::os::unix::fs::symlink(target, &path).context("replacing a link")?;
            }
        }
        Ok(())
    }

    /// Ganeti's scripts get no proxy from the environment, so one that this
    /// machine needs goes where an administrator would put it.
    fn use_proxy(&self) -> Result<()> {
        match std::env::var("http_proxy") {
            Ok(proxy) if !proxy.is_empty() => self.configure(&format!("PROXY=\"{proxy}\"")),
            _ => Ok(()),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let keep = std::thread::panicking() || self.keep.load(Ordering::Relaxed);
        // Never through a mount: it may show something that is not ours.
        if keep || !leftovers::mounts_below(&self.dir).is_empty() {
            eprintln!("kept {}", self.dir.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("removing {}: {error}", self.dir.display());
        }
    }
}

/// The tree that `make install` made: $P2V_TEST_STAGE, or one made now, once,
/// beside the build.
pub fn installed_tree() -> Result<PathBuf> {
    static TREE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    TREE.get_or_init(|| find_or_install_tree().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|error| anyhow::anyhow!(error))
}

fn find_or_install_tree() -> Result<PathBuf> {
    if let Some(tree) = std::env::var_os("P2V_TEST_STAGE") {
        let tree = PathBuf::from(tree);
        return std::path::absolute(&tree)
            .with_context(|| format!("finding P2V_TEST_STAGE={}", tree.display()));
    }
    let target = source_dir().join("target");
    let tree = target.join("test-stage");
    std::fs::create_dir_all(&target).context("making the build directory")?;
    let lock = target.join("test-stage.lock");
    let _lock = p2v_sys::lock::FileLock::wait(&lock, "installing the tree to test")?;
    Cmd::new("make", "installing the tree to test")
        .args(["--silent", "install"])
        .arg(format!("DESTDIR={}", tree.display()))
        // The Makefile installs what is built there.
        .env("CARGO_TARGET_DIR", &target)
        .dir(source_dir())
        .timeout(LONGEST_CREATE)
        .run()?;
    Ok(tree)
}

/// The source tree these tests were built from.
pub fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("/"))
        .to_owned()
}

/// What outlives a test run: bootstrap roots and the peers' roots, which take
/// minutes to make. $P2V_TEST_CACHE or a directory of /var/cache.
pub fn test_cache() -> Result<PathBuf> {
    let dir = variable(
        "P2V_TEST_CACHE",
        "/var/cache/ganeti-instance-p2v-target-tests",
    );
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}

pub(crate) fn shared_cache() -> Result<PathBuf> {
    let dir = test_cache()?.join("bootstrap");
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}

pub(crate) fn variable(name: &str, default: &str) -> PathBuf {
    std::env::var_os(name).map_or_else(|| PathBuf::from(default), PathBuf::from)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    Cmd::new("cp", format!("copying {}", from.display()))
        .args(["-a", "--"])
        .args([from, to])
        .run()
}
