//! Where an agent works: this machine, or, in tests, a directory and some loop
//! devices.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// What of the machine an agent may touch.
#[derive(Debug, Clone)]
pub struct Place {
    run: PathBuf,
    /// The only disks there are, and that nothing is asked of the machine.
    only: Option<Vec<PathBuf>>,
}

impl Place {
    /// The machine that this runs on, which must have its root in RAM.
    pub fn this_machine() -> Self {
        Self {
            run: PathBuf::from("/run/p2v-target"),
            only: None,
        }
    }

    /// For tests: these block devices are all the disks of a machine in RAM,
    /// and what an agent keeps is in the directory `run`.
    pub fn of_tests(run: &Path, disks: &[PathBuf]) -> Self {
        Self {
            run: run.to_owned(),
            only: Some(disks.to_owned()),
        }
    }

    /// The directory that everything is kept in until the machine restarts.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The disks that tests allow; `None` for those that the machine has.
    pub(super) fn only(&self) -> Option<&[PathBuf]> {
        self.only.as_deref()
    }

    /// How long the agents of another run may take to end by themselves: one
    /// whose source was killed has just seen its connection end, and may have
    /// to wait for its disk.
    pub(super) fn leaving(&self) -> Duration {
        match self.only {
            None => Duration::from_secs(30),
            Some(_) => Duration::from_secs(2),
        }
    }

    /// Makes the directory for what is kept.
    pub(super) fn make(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.run)
            .with_context(|| format!("creating {}", self.run.display()))
    }

    /// Where a volume is mounted to be filled.
    pub(super) fn volume(&self, name: &str) -> PathBuf {
        self.run.join("volumes").join(name)
    }

    /// Where the system is put together to be repaired.
    pub(super) fn root(&self) -> PathBuf {
        self.run.join("root")
    }

    /// What tells this start of the machine from others.
    pub(super) fn boot(&self) -> Result<String> {
        const FILE: &str = "/proc/sys/kernel/random/boot_id";
        match self.only {
            None => std::fs::read_to_string(FILE).with_context(|| format!("reading {FILE}")),
            // A test that restarts its machine makes the directory anew.
            Some(_) => {
                let file = self.run.join("boot");
                if !file.exists() {
                    std::fs::write(&file, format!("{:?}", std::time::SystemTime::now()))?;
                }
                Ok(std::fs::read_to_string(file)?)
            }
        }
    }

    /// Whether the machine runs in RAM, and p2v put it there.
    pub(super) fn is_ram_booted(&self) -> bool {
        self.only.is_some() || self.check_ram_booted().is_ok()
    }

    /// Fails unless disks may be overwritten here.
    pub(super) fn check_ram_booted(&self) -> Result<()> {
        if self.only.is_some() {
            return Ok(());
        }
        let not = "this is no machine that was started for a transfer";
        p2v_ramboot::ready::check_root().context(not)?;
        if !Path::new(p2v_ramboot::IN_RAM).exists() {
            bail!("{not}: its root is in RAM, but not by p2v's init");
        }
        Ok(())
    }
}
