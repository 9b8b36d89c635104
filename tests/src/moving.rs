//! A source machine moves into an instance, step by step, with what each step
//! must leave behind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::created::Created;
use crate::outcome::{self, Outcome};
use crate::progress::step;
use crate::qemu::{Machine, MachineSpec};
use crate::sources::compare::{self, Comparison};
use crate::sources::{Firmware, Look, Source, look};
use crate::unreliable::Unreliable;
use crate::{Instance, Lab, MIB, manifest};

/// Ten times what an idle machine with two cores needs.
const LONGEST_BOOT: Duration = Duration::from_secs(600);

/// The same for a transfer, with an initramfs rebuilt by emulation.
const LONGEST_TRANSFER: Duration = Duration::from_secs(2400);

/// The same for switching off.
const LONGEST_STOP: Duration = Duration::from_secs(200);

/// RAM of an instance, in MiB, while it waits for a machine and afterwards.
const RAM: u32 = 2048;

pub mod trouble;

/// How the source reaches the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Without trouble.
    Whole,
    /// By connections that break so often.
    Breaking {
        /// How often.
        cuts: usize,
    },
}

/// How many bytes pass before a breaking way breaks.
const BETWEEN_CUTS: u64 = 8 * MIB;

/// How long the parts of a move took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// From QEMU's start until the target is ready.
    pub ready: Duration,
    /// `p2v transfer`, until it ended.
    pub transfer: Duration,
    /// From QEMU's start until the moved machine lets one log in.
    pub boot: Duration,
}

/// An instance made for a source.
#[derive(Debug)]
pub struct Moving<'a> {
    lab: &'a Lab,
    source: &'a Source,
    created: Created,
    hash: blake3::Hash,
}

impl<'a> Moving<'a> {
    /// Makes the instance, with a disk of `size` bytes.
    pub fn new(lab: &'a Lab, source: &'a Source, size: u64) -> Result<Self> {
        let recipe = source.recipe;
        let disk = lab.disk(&format!("{}.img", recipe.name), size)?;
        let style = match recipe.firmware {
            Firmware::Bios => "msdos",
            Firmware::Efi => "gpt",
        };
        let name = format!("{}.example.org", recipe.name);
        let instance = Instance::new(&name, &disk).parameter("partition_style", style);
        Ok(Self {
            lab,
            source,
            created: Created::make(lab, &instance)?,
            hash: manifest::hash_of_sparse(&source.disk)?,
        })
    }

    /// The instance's disk.
    pub fn disk(&self) -> &Path {
        &self.created.disk
    }

    /// Starts the instance, whatever is on its disk.
    pub fn start(&self) -> Result<Machine> {
        let boot = self.source.recipe.firmware.boot();
        let spec = MachineSpec::new(boot, self.disk()).memory(RAM);
        Machine::start(&spec, self.lab.dir())
    }

    /// Starts it and waits until it runs in RAM and is ready to be filled.
    pub fn start_ready(&self) -> Result<Machine> {
        let machine = self.start()?;
        machine.console().expect("p2v: ready", LONGEST_BOOT)?;
        Ok(machine)
    }

    /// `p2v transfer` of the source to what listens at a local port, with the
    /// options that every transfer needs.
    pub fn command(&self, port: u16) -> Command {
        let mut command = Command::new(self.lab.binary());
        command
            .arg("transfer")
            .arg("--source")
            .arg(&self.source.disk);
        command.args(["--target", "root@127.0.0.1", "--port"]);
        command.arg(port.to_string());
        command.arg("--identity").arg(self.lab.dir().join("key"));
        for (fingerprint, _) in self.created.host_keys() {
            command.args(["--host-key", &fingerprint]);
        }
        command.arg("--report-dir").arg(self.report());
        command.arg("--yes");
        command
    }

    /// Where a transfer's report is put.
    pub fn report(&self) -> PathBuf {
        self.lab.dir().join("report")
    }

    /// Runs that, with these options more, to its end.
    pub fn transfer(&self, port: u16, options: &[&str]) -> Result<Outcome> {
        Running::start(self.command(port).args(options), self.lab.dir())?.finish(LONGEST_TRANSFER)
    }

    /// Moves the machine to a target that is ready; how that must end.
    pub fn transfer_by(&self, way: Way, port: u16) -> Result<Outcome> {
        let outcome = match way {
            Way::Whole => self.transfer(port, &[])?,
            Way::Breaking { cuts } => {
                let way = Unreliable::to(port, cuts, BETWEEN_CUTS)?;
                let outcome = self.transfer(way.port(), &[])?;
                let done = way.cuts();
                ensure!(done == cuts, "only {done} cuts: {}", outcome.log);
                outcome
            }
        };
        ensure!(outcome.status.success(), "{}", outcome.log);
        self.source_is_untouched()?;
        Ok(outcome)
    }

    /// Compares the instance's disk, at rest, with the source's.
    pub fn compare(&self) -> Result<Comparison> {
        compare::compare(self.source, self.disk(), self.lab.dir())?.judge()
    }

    /// Waits until the moved machine has started; returns what it says of
    /// itself.
    pub fn look(&self, machine: &mut Machine) -> Result<Look> {
        machine.wait_for_ssh(LONGEST_BOOT)?;
        let ssh = self.source.login(machine, self.lab.dir())?;
        let said = look::ask(self.source.recipe, &ssh).with_context(|| machine.console().tail())?;
        Ok(Look::parse(&said))
    }

    /// Fails if the source's disk is not as it was.
    pub fn source_is_untouched(&self) -> Result<()> {
        let hash = manifest::hash_of_sparse(&self.source.disk)?;
        ensure!(hash == self.hash, "the source's disk was written to");
        Ok(())
    }
}

/// The whole of it: an instance with a disk of `size` bytes, a transfer with
/// that way, the files compared, and the moved machine as well as
/// it was `before`.
pub fn migrate(lab: &Lab, source: &Source, size: u64, way: Way, before: &Look) -> Result<Times> {
    let mut times = Times::default();
    let moving = step("create the instance", || Moving::new(lab, source, size))?;
    let mut machine = step("start it into RAM", || moving.start_ready())?;
    times.ready = machine.uptime();
    step("move the machine into it", || {
        times.transfer = moving.transfer_by(way, machine.ssh_port())?.took;
        Ok(())
    })?;
    step("wait for its restart", || {
        let ended = machine.wait_for_end(LONGEST_STOP)?;
        ensure!(ended == "guest-reset", "{ended}, not a restart");
        Ok(())
    })?;
    drop(machine);
    let found = step("compare the files", || moving.compare())?;
    let changed: usize = found.changed.values().sum();
    println!(
        "    {} files are equal, but for {changed} of the fixes'",
        found.files
    );
    let mut machine = moving.start()?;
    step("start the machine in its new place", || {
        let after = moving.look(&mut machine)?;
        let worse = after.worse_than(before);
        ensure!(worse.is_empty(), "{}", worse.join("\n"));
        Ok(())
    })?;
    times.boot = machine.uptime();
    step("switch it off", || {
        look::switch_off(&source.login(&machine, lab.dir())?)?;
        let ended = machine.wait_for_end(LONGEST_STOP)?;
        ensure!(ended == "guest-shutdown", "{ended}");
        Ok(())
    })?;
    Ok(times)
}

/// A running transfer, its output in a file; dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    started: Instant,
}

impl Running {
    /// Starts it; its log is kept in `dir`.
    pub fn start(command: &mut Command, dir: &Path) -> Result<Self> {
        let log = tempfile::Builder::new()
            .prefix("transfer-")
            .suffix(".log")
            .tempfile_in(dir)
            .context("making a log")?
            .into_temp_path()
            .keep()
            .context("keeping the log")?;
        let output = File::create(&log).context("opening the log")?;
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("sharing the log")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        Ok(Self {
            child,
            log,
            started,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits for its end.
    pub fn finish(mut self, within: Duration) -> Result<Outcome> {
        let status = outcome::wait(&mut self.child, within).with_context(|| self.said())?;
        Ok(Outcome {
            status,
            log: self.said(),
            took: self.started.elapsed(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
