//! Debian's ganeti-instance-debootstrap, its `create` called as Ganeti does.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use p2v_sys::Cmd;
use p2v_sys::lock::FileLock;

use crate::entry_points;
use crate::ganeti_env::Instance;
use crate::namespace;
use crate::place;

const OS_DIR: &str = "/usr/share/ganeti/os/debootstrap";
const DEFAULTS: &str = "/etc/default/ganeti-instance-debootstrap";
const CACHE: &str = "/var/cache/ganeti-instance-debootstrap";

/// Of the directories that hold a cache each.
const PREFIX: &str = "peer-";

/// What Ganeti puts into PATH for scripts.
const PATH: &str = "/sbin:/bin:/usr/sbin:/usr/bin";

/// The OS definition with settings and a cache of the tests' own.
#[derive(Debug)]
pub struct InstanceDebootstrap {
    dir: PathBuf,
}

impl InstanceDebootstrap {
    /// Prepares it for roots of `suite` with just these packages, each
    /// "NAME=VERSION": the versions only tell one cache from another.
    pub fn new(suite: &str, packages: &[String]) -> Result<Self> {
        if !Path::new(OS_DIR).join("create").exists() {
            bail!("looking for {OS_DIR}/create (is ganeti-instance-debootstrap installed?)");
        }
        let key = blake3::hash(format!("{suite} {packages:?}").as_bytes()).to_hex();
        let name = format!("{PREFIX}{}", &key[..16]);
        drop_others(&place::test_cache()?, &name)?;
        let dir = place::test_cache()?.join(name);
        let cache = dir.join("cache");
        std::fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
        let names: Vec<&str> = packages
            .iter()
            .filter_map(|package| package.split('=').next())
            .collect();
        let defaults = format!(
            "SUITE={suite}\nEXTRA_PKGS={}\nPARTITION_STYLE=none\n\
             GENERATE_CACHE=yes\nCLEAN_CACHE=\nCUSTOMIZE_DIR=\n",
            names.join(",")
        );
        let path = dir.join("defaults");
        std::fs::write(&path, defaults).with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { dir })
    }

    /// Its own directory, which outlives the run.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Fills its cache, unless that is warm already.
    pub fn warm_up(&self, scratch: &Path) -> Result<()> {
        let _lock = FileLock::wait(&self.dir.join("lock"), "the peer's bootstrap")?;
        let cache = self.dir.join("cache");
        let mut entries = std::fs::read_dir(&cache).context("reading the peer's cache")?;
        if entries.any(|entry| entry.is_ok_and(|e| e.path().extension() == Some("tar".as_ref()))) {
            return Ok(());
        }
        let disk = scratch.join("peer-warm-up.img");
        std::fs::File::create(&disk)
            .and_then(|file| file.set_len(4 << 30))
            .context("making a disk for the peer's bootstrap")?;
        let stand_ins = super::script("");
        let path = format!("{}:{PATH}", stand_ins.display());
        let made = self.run(&Instance::new("peer.example", &disk), &path);
        std::fs::remove_file(&disk).context("removing the disk of the peer's bootstrap")?;
        made.map(drop)
    }

    /// Runs `create` and returns the time it took.
    pub fn create(&self, instance: &Instance) -> Result<Duration> {
        self.run(instance, PATH)
    }

    fn run(&self, instance: &Instance, path: &str) -> Result<Duration> {
        let binds = [
            (self.dir.join("defaults"), PathBuf::from(DEFAULTS)),
            (self.dir.join("cache"), PathBuf::from(CACHE)),
        ];
        let script = Path::new(OS_DIR).join("create");
        let mut command = Cmd::new(script, "creating an instance with instance-debootstrap")
            .dir(OS_DIR)
            .clear_env()
            .timeout(Duration::from_secs(900));
        for (name, value) in instance.environment() {
            command = command.env(name, value);
        }
        let command = command.env("PATH", path);
        namespace::with_binds(&binds, || {
            let start = Instant::now();
            command.run()?;
            Ok(start.elapsed())
        })
    }
}

/// Runs its `export` of the instance's first disk, which has no partitions, as
/// Ganeti does; the stream goes to `output`.
pub fn export(instance: &Instance, output: &Path) -> Result<()> {
    let dir = tempfile::tempdir().context("making a directory")?;
    let defaults = dir.path().join("defaults");
    std::fs::write(&defaults, "PARTITION_STYLE=none\n").context("writing the peer's settings")?;
    let stream = File::create(output).with_context(|| format!("making {}", output.display()))?;
    let instance = entry_points::exported(instance);
    let run = || {
        let output = Command::new(Path::new(OS_DIR).join("export"))
            .current_dir(OS_DIR)
            .env_clear()
            .envs(instance.environment())
            .env("OS_VARIANT", "")
            .stdin(Stdio::null())
            .stdout(stream)
            .stderr(Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .context("running instance-debootstrap's export")?;
        if !output.status.success() {
            bail!(
                "instance-debootstrap's export failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    };
    namespace::with_binds(&[(defaults.clone(), PathBuf::from(DEFAULTS))], run)
}

/// Removes the caches of other lists of packages: each takes 1.5 GB, and a
/// list that security updates have outdated does not come back.
fn drop_others(cache: &Path, name: &str) -> Result<()> {
    let reading = || format!("reading {}", cache.display());
    for entry in std::fs::read_dir(cache).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let other = entry.file_name();
        if other.to_string_lossy().starts_with(PREFIX) && other != name {
            std::fs::remove_dir_all(entry.path())
                .with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}
