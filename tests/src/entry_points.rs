//! The entry points, run from outside as Ganeti does: its environment and
//! nothing else, the OS directory as working directory, all that they say in a
//! log.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::outcome::{self, Outcome};
use crate::{Instance, Lab};

/// Longer than a gigabyte takes on a busy machine.
const LONGEST_STREAM: Duration = Duration::from_secs(600);

/// Longer than a bootstrap through a slow mirror on a busy machine.
const LONGEST_CREATE: Duration = Duration::from_secs(900);

/// Longer than rename waits for a disk in use.
const LONGEST_RENAME: Duration = Duration::from_secs(60);

impl Lab {
    /// Runs `create` as Ganeti does and waits for its end.
    pub fn create(&self, instance: &Instance) -> Result<Outcome> {
        self.start_create(instance)?.finish(LONGEST_CREATE)
    }

    /// Runs `rename` as Ganeti does after the instance was called `old`.
    pub fn rename(&self, instance: &Instance, old: &str) -> Result<Outcome> {
        self.start_rename(instance, old)?.finish(LONGEST_RENAME)
    }

    /// Runs `verify` as Ganeti does, with these OS parameters: it hears of no
    /// instance.
    pub fn verify(&self, parameters: &[(&str, &str)]) -> Result<Outcome> {
        let mut instance = Instance::new("none", Path::new("/no/disk"));
        for (name, value) in parameters {
            instance = instance.parameter(name, value);
        }
        for name in instance.environment().into_keys() {
            let known = ["OS_", "OSP_"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
            if !known && name != "PATH" && name != "DEBUG_LEVEL" {
                instance = instance.without(&name);
            }
        }
        let running = self.start_with("verify", &["parameters"], &instance)?;
        running.finish(LONGEST_RENAME)
    }

    /// Starts `rename` as Ganeti does.
    pub fn start_rename(&self, instance: &Instance, old: &str) -> Result<Running> {
        self.start("rename", &instance.clone().with("OLD_INSTANCE_NAME", old))
    }

    /// Starts `create` as Ganeti does.
    pub fn start_create(&self, instance: &Instance) -> Result<Running> {
        self.start("create", instance)
    }

    /// Runs `export` of the instance's first disk to `stream`.
    pub fn export(&self, instance: &Instance, stream: impl Into<Stdio>) -> Result<Outcome> {
        self.start_export(instance, stream)?.finish(LONGEST_STREAM)
    }

    /// Runs `import` of the instance's first disk from `stream`.
    pub fn import(&self, instance: &Instance, stream: impl Into<Stdio>) -> Result<Outcome> {
        self.start_import(instance, stream)?.finish(LONGEST_STREAM)
    }

    /// Starts `export` of the instance's first disk as Ganeti does.
    pub fn start_export(&self, instance: &Instance, stream: impl Into<Stdio>) -> Result<Running> {
        let pipes = (Stdio::null(), Some(stream.into()));
        self.start_piped("export", &[], &exported(instance), pipes)
    }

    /// Starts `import` of the instance's first disk as Ganeti does.
    pub fn start_import(&self, instance: &Instance, stream: impl Into<Stdio>) -> Result<Running> {
        let instance = with_disk(instance, "IMPORT");
        self.start_piped("import", &[], &instance, (stream.into(), None))
    }

    fn start(&self, verb: &str, instance: &Instance) -> Result<Running> {
        self.start_with(verb, &[], instance)
    }

    fn start_with(&self, verb: &str, arguments: &[&str], instance: &Instance) -> Result<Running> {
        self.start_piped(verb, arguments, instance, (Stdio::null(), None))
    }

    /// Starts an entry point as Ganeti does: clean environment, the OS
    /// directory as working directory, the given standard input, both outputs
    /// in one log if there is no other standard output.
    fn start_piped(
        &self,
        verb: &str,
        arguments: &[&str],
        instance: &Instance,
        (input, stream): (Stdio, Option<Stdio>),
    ) -> Result<Running> {
        let mut log = tempfile::NamedTempFile::new_in(self.dir()).context("making a log")?;
        log.disable_cleanup(true);
        let output = || log.as_file().try_clone().context("opening the log");
        let script = self.os_dir().join(verb);
        let child = Command::new(&script)
            .args(arguments)
            .current_dir(self.os_dir())
            .env_clear()
            .envs(instance.environment())
            .envs(self.directories())
            .stdin(input)
            .stdout(match stream {
                Some(stream) => stream,
                None => output()?.into(),
            })
            .stderr(output()?)
            .spawn()
            .with_context(|| format!("starting {}", script.display()))?;
        Ok(Running {
            child,
            log: log.path().to_owned(),
            started: Instant::now(),
        })
    }
}

/// The instance with what Ganeti adds for the export of its first disk.
pub fn exported(instance: &Instance) -> Instance {
    with_disk(instance, "EXPORT")
}

/// As `import` and `export` are told which disk is meant.
fn with_disk(instance: &Instance, verb: &str) -> Instance {
    let disk = instance.disks.first();
    let device = disk.map(|disk| disk.display().to_string());
    instance
        .clone()
        .with(&format!("{verb}_DEVICE"), &device.unwrap_or_default())
        .with(&format!("{verb}_INDEX"), "0")
}

/// An entry point that has been started.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub child: Child,
    log: PathBuf,
    started: Instant,
}

impl Running {
    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits for its end; kills it after `within`, which is an error.
    pub fn finish(mut self, within: Duration) -> Result<Outcome> {
        let waited = outcome::wait(&mut self.child, within);
        let took = self.started.elapsed();
        let status = match waited {
            Ok(status) => status,
            Err(error) => {
                let _ = self.child.kill();
                let _ = self.child.wait();
                bail!("{error:#}; it said:\n{}", self.log());
            }
        };
        Ok(Outcome {
            status,
            log: self.log(),
            took,
        })
    }

    /// Sends a signal to the process that Ganeti started.
    pub fn signal(&self, signal: nix::sys::signal::Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("converting a process id")?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal)
            .with_context(|| format!("sending {signal}"))
    }
}
