//! The ordered parts runner: the executables of a directory such as `hooks.d`,
//! one after the other, by run-parts' rules.
//!
//! A part runs with exactly the given environment, umask 022, no standard
//! input, a process group of its own and a deadline. The first that fails ends
//! the run and is named. What the parts do is not known here.
//!
//! The rules, and why these: operators' hooks were written for Debian's
//! run-parts, see <https://manpages.debian.org/run-parts.8>.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{AccessFlags, access};
use p2v_sys::{Cmd, interrupt};

/// For parts whose environment has no PATH; Ganeti's own always has one.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The parts of a directory, in the order in which they run.
#[derive(Debug)]
pub struct Parts {
    directory: PathBuf,
    names: Vec<String>,
    skipped: Vec<Skipped>,
}

/// A file that will not run, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its name in the directory.
    pub name: OsString,
    /// Why it will not run.
    pub reason: Reason,
}

/// Why a file will not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The name holds something else than ASCII letters, digits, `_` and `-`.
    Name,
    /// Neither a regular file nor a link to one.
    NotAFile,
    /// A symbolic link that leads nowhere.
    BrokenLink,
    /// The run bit is not set: how a part is turned off.
    NotExecutable,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Name => "its name has other characters than letters, digits, _ and -",
            Self::NotAFile => "it is not a regular file",
            Self::BrokenLink => "it is a symbolic link that leads nowhere",
            Self::NotExecutable => "its run bit is not set",
        })
    }
}

impl Parts {
    /// Reads the directory; nothing runs yet. Fails if there is no such
    /// directory.
    pub fn in_directory(directory: &Path) -> Result<Self> {
        let reading = || {
            let directory = directory.display();
            format!("reading the directory {directory}")
        };
        let entries = std::fs::read_dir(directory).with_context(reading)?;
        let mut parts = Self {
            directory: directory.to_owned(),
            names: Vec::new(),
            skipped: Vec::new(),
        };
        for entry in entries {
            parts.sort_out(entry.with_context(reading)?.file_name());
        }
        // Rust compares strings by bytes, which is the C locale's order.
        parts.names.sort();
        parts.skipped.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(parts)
    }

    /// The names of the parts, in the order in which they run.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The directory's other files, with the reason; hidden ones too.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Runs every part in order, each with only the variables of `env` (and
    /// `LC_ALL=C`) and for at most `timeout`. Output appears on standard error
    /// as it comes.
    ///
    /// Fails with the first part that does: the error names it, its exit
    /// status and its last words. One that hangs is killed with its process
    /// group; a termination signal ends the run likewise.
    pub fn run(&self, env: &BTreeMap<OsString, OsString>, timeout: Duration) -> Result<()> {
        let _umask = Umask::set(0o022);
        for name in &self.names {
            interrupt::check().with_context(|| format!("running {name}"))?;
            self.run_part(name, env, timeout)?;
        }
        Ok(())
    }

    /// Runs the part of this name alone, as [`Parts::run`] does.
    pub fn run_one(
        &self,
        name: &str,
        env: &BTreeMap<OsString, OsString>,
        timeout: Duration,
    ) -> Result<()> {
        let _umask = Umask::set(0o022);
        self.run_part(name, env, timeout)
    }

    fn run_part(
        &self,
        name: &str,
        env: &BTreeMap<OsString, OsString>,
        timeout: Duration,
    ) -> Result<()> {
        tracing::info!("running {name}");
        let path = self.directory.join(name);
        check_kind(&path).with_context(|| format!("running {name}"))?;
        let mut command = Cmd::new(&path, format!("running {name}"))
            .clear_env()
            .timeout(timeout);
        if !env.contains_key(OsStr::new("PATH")) {
            command = command.env("PATH", DEFAULT_PATH);
        }
        for (variable, value) in env {
            command = command.env(variable, value);
        }
        command.run_shown().map_err(|error| explain(error, &path))
    }

    fn sort_out(&mut self, name: OsString) {
        match judge(&self.directory, &name) {
            Ok(name) => self.names.push(name),
            Err(reason) => self.skipped.push(Skipped { name, reason }),
        }
    }
}

fn judge(directory: &Path, name: &OsStr) -> Result<String, Reason> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let text = match name.to_str() {
        Some(text) if name.as_bytes().iter().all(allowed) => text,
        _ => return Err(Reason::Name),
    };
    let path = directory.join(name);
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(Reason::NotAFile),
        Err(_) => return Err(Reason::BrokenLink),
    }
    access(&path, AccessFlags::X_OK).map_err(|_| Reason::NotExecutable)?;
    Ok(text.to_owned())
}

/// Fails if the kernel could not start it: the C library has /bin/sh read
/// whatever else is executable, also half a program.
fn check_kind(path: &Path) -> Result<()> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut head));
    // What cannot be read may be started all the same.
    if read.is_ok() && !head.starts_with(b"#!") && head != b"\x7fELF" {
        bail!(
            "{} is neither a program nor a script that begins with #!",
            path.display()
        );
    }
    Ok(())
}

/// Adds what the kernel's own words for a script that cannot start leave out.
fn explain(error: anyhow::Error, path: &Path) -> anyhow::Error {
    let code = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::raw_os_error)
        .map(Errno::from_raw);
    match code {
        Some(Errno::ENOENT) => error.context(format!(
            "{} is gone, or the interpreter in its #! line is not installed",
            path.display()
        )),
        _ => error,
    }
}

/// The process's umask, put back when dropped. Like run-parts we give parts
/// 022: what they write in the root must not depend on the daemon's.
struct Umask(Mode);

impl Umask {
    fn set(mask: u32) -> Self {
        Self(umask(Mode::from_bits_truncate(mask)))
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        umask(self.0);
    }
}
