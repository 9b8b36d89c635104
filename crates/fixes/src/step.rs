//! Programs of the transferred system that finish a fix: the rebuild of an
//! initramfs, the installation of a boot loader. A dry run lists them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::MsFlags;
use p2v_sys::{Cmd, Mount, Root};

/// On emulated hardware a large initramfs takes ten minutes.
const DEADLINE: Duration = Duration::from_secs(45 * 60);

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What looks whether a step has done what it should.
pub type Check = Box<dyn Fn(&Root) -> Result<String>>;

/// A program to run in the transferred system.
pub struct Step {
    /// What it does, in the words of a message: "rebuilding the initramfs of
    /// 6.1.0-30-amd64".
    pub what: String,
    /// The program and its arguments, as seen inside; none where `check` does
    /// the work itself.
    pub argv: Vec<String>,
    /// Looks at the result; what it returns is told.
    pub check: Option<Check>,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.argv.is_empty() {
            true => f.write_str(&self.what),
            false => write!(f, "{}: {}", self.what, self.argv.join(" ")),
        }
    }
}

impl Step {
    /// A step without a check.
    pub fn new(what: impl Into<String>, argv: &[&str]) -> Self {
        Self {
            what: what.into(),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            check: None,
        }
    }

    /// The same with a check.
    #[must_use]
    pub fn checked(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Runs it, with the root as its `/`, and checks. What the check says is
    /// returned.
    ///
    /// # Errors
    /// The program is missing or failed, or the check found that it has not
    /// done its work.
    pub fn run(&self, root: &Root) -> Result<Option<String>> {
        if !self.argv.is_empty() {
            self.run_program(root)?;
        }
        let check = self.check.as_ref().map(|check| check(root));
        let doing = || match self.argv.is_empty() {
            true => self.what.clone(),
            false => format!("looking at the result of {}", self.what),
        };
        check.transpose().with_context(doing)
    }

    fn run_program(&self, root: &Root) -> Result<()> {
        let _mounts = kernel_filesystems(root.path())?;
        // A daemon's policy, a systemd in the root: nothing may be started.
        Cmd::new("chroot", &self.what)
            .arg(root.path())
            .args(&self.argv)
            .clear_env()
            .env("PATH", PATH)
            .env("SYSTEMD_OFFLINE", "1")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("HOME", "/root")
            .timeout(DEADLINE)
            .run_shown()
    }
}

/// Mounts what programs expect and the caller has not mounted: a system that
/// is repaired by hand has nothing of it.
fn kernel_filesystems(root: &Path) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    let private = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    for (name, kind, sign) in [
        ("proc", "proc", "self"),
        ("sys", "sysfs", "class"),
        ("dev", "", "null"),
    ] {
        let place = root.join(name);
        let is_directory = std::fs::symlink_metadata(&place).is_ok_and(|found| found.is_dir());
        if !is_directory || place.join(sign).exists() {
            continue;
        }
        mounts.push(match kind {
            "" => Mount::bind(Path::new("/dev"), &place)?,
            _ => Mount::new(kind, &place, kind, private, "")?,
        });
    }
    // The last is to go first.
    mounts.reverse();
    Ok(mounts)
}
