//! The machines that move: made by script from Debian's packages, once, and
//! kept in the test cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use p2v_sys::Cmd;
use p2v_sys::lock::FileLock;

use crate::place;
use crate::qemu::Machine;
use crate::ssh::{Key, Ssh};

mod build;
pub mod compare;
pub mod look;
mod recipe;

pub use build::extent;
pub use look::Look;
pub use recipe::{ALL, BTRFS, EXT3, EXT4, Firmware, Recipe, Volume, XFS};

/// Ten times what an idle machine with two cores needs.
const LONGEST_START: Duration = Duration::from_secs(600);

/// The same for switching off.
const LONGEST_STOP: Duration = Duration::from_secs(200);

/// A source that is ready to be moved.
#[derive(Debug)]
pub struct Source {
    /// What it is.
    pub recipe: &'static Recipe,
    /// Its disk's image. Nobody writes to it.
    pub disk: PathBuf,
    /// Its SSH host keys.
    pub host_keys: Vec<String>,
    /// The key that may log in.
    pub key: Key,
}

/// That source; made now, in a few minutes, where it is missing.
pub fn ready(recipe: &'static Recipe) -> Result<Source> {
    let cache = place::test_cache()?.join("sources");
    std::fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let lock = cache.join(format!("{}.lock", recipe.name));
    let _lock = FileLock::wait(&lock, "making a source machine")?;
    let key = login_key(&cache)?;
    let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex()[..16].to_owned();
    let root_key = build::root_key(recipe);
    let root = cache.join(format!("{}-{}.tar.zst", recipe.name, hash(&root_key)));
    let disk_key = format!("{root_key} {} {}", build::disk_key(recipe), key.public());
    let made = cache.join(format!("{}-{}", recipe.name, hash(&disk_key)));
    if !made.exists() {
        if !root.exists() {
            let unfinished = cache.join(format!("{}-unfinished.tar.zst", recipe.name));
            build::make_root(recipe, &unfinished)?;
            rename(&unfinished, &root)?;
        }
        let unfinished = cache.join(format!("{}-unfinished", recipe.name));
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished)
                .with_context(|| format!("removing {}", unfinished.display()))?;
        }
        std::fs::create_dir(&unfinished)
            .with_context(|| format!("making {}", unfinished.display()))?;
        let work = unfinished.join("work");
        std::fs::create_dir(&work).with_context(|| format!("making {}", work.display()))?;
        let disk = unfinished.join("disk.img");
        let host_keys = build::make_disk(recipe, &root, &disk, key.public(), &work)?;
        std::fs::write(unfinished.join("host-keys"), host_keys).context("writing host keys")?;
        std::fs::remove_dir_all(&work).with_context(|| format!("removing {}", work.display()))?;
        rename(&unfinished, &made)?;
    }
    let keys = std::fs::read_to_string(made.join("host-keys"))
        .with_context(|| format!("reading the host keys in {}", made.display()))?;
    Ok(Source {
        recipe,
        disk: made.join("disk.img"),
        host_keys: keys.lines().map(str::to_owned).collect(),
        key,
    })
}

impl Source {
    /// What it says of itself on its own hardware. It is started for that once,
    /// and what it writes then is thrown away.
    pub fn before(&self, dir: &Path) -> Result<Look> {
        let questions = blake3::hash(look::QUESTIONS.as_bytes()).to_hex();
        let kept = self
            .disk
            .with_file_name(format!("before-{}", &questions[..8]));
        if !kept.exists() {
            let mut machine = Machine::start(&self.recipe.machine(&self.disk), dir)?;
            machine.wait_for_ssh(LONGEST_START)?;
            let ssh = self.login(&machine, dir)?;
            let said = look::ask(self.recipe, &ssh).with_context(|| machine.console().tail())?;
            look::switch_off(&ssh)?;
            machine.wait_for_end(LONGEST_STOP)?;
            let unfinished = kept.with_extension("unfinished");
            std::fs::write(&unfinished, said)
                .with_context(|| format!("writing {}", unfinished.display()))?;
            rename(&unfinished, &kept)?;
        }
        let said = std::fs::read_to_string(&kept)
            .with_context(|| format!("reading {}", kept.display()))?;
        Ok(Look::parse(&said))
    }

    /// The same machine with a disk of its own in `dir`, to be changed there.
    pub fn own_copy(&self, dir: &Path) -> Result<Self> {
        let disk = dir.join("source.img");
        Cmd::new("cp", "copying the source's disk")
            .arg("--sparse=always")
            .args([&self.disk, &disk])
            .run()?;
        Ok(Self {
            recipe: self.recipe,
            disk,
            host_keys: self.host_keys.clone(),
            key: self.key.copy(&dir.join("source-key"))?,
        })
    }

    /// A way into the machine that has its files, wherever it runs. Keeps its
    /// own files in `dir`.
    pub fn login(&self, machine: &Machine, dir: &Path) -> Result<Ssh> {
        let key = self.key.copy(&dir.join("source-login"))?;
        Ssh::with_host_keys(machine.ssh_port(), &key, &self.host_keys)
    }
}

/// One for all sources: it is on their disks.
fn login_key(cache: &Path) -> Result<Key> {
    let _lock = FileLock::wait(&cache.join("key.lock"), "making a key for the sources")?;
    let path = cache.join("key");
    if path.exists() {
        return Key::at(&path);
    }
    Key::generate(&path)
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).with_context(|| format!("renaming {}", from.display()))
}
