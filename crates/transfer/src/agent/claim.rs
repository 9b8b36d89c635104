//! One transfer at a time: agents are known by a locked file each.
//!
//! A transfer that has lost its connection comes again as the same run, and its
//! earlier agents are ended before the next one works. Another run is refused
//! while this one's agents live, unless somebody has agreed to end them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use p2v_sys::lock::FileLock;
use p2v_sys::{interrupt, time};
use serde::{Deserialize, Serialize};

use super::place::Place;
use super::voice::Voice;
use crate::target::{ABOUT_ANOTHER, AtWork};

/// From SIGTERM to SIGKILL: an agent undoes what it has half done.
const GRACE: Duration = Duration::from_secs(5);

/// How long a killed one may hang in the kernel.
const PATIENCE: Duration = Duration::from_secs(30);

/// This process's right to work on the disks, for as long as it lives.
#[derive(Debug)]
pub struct Claim {
    agent: Agent,
    file: PathBuf,
    _lock: FileLock,
}

/// Who makes a claim.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// See [`crate::protocol::Request`].
    pub run: &'a str,
    /// What it makes of the disks.
    pub plan_id: &'a str,
}

/// An agent that works on the disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Agent {
    at_work: AtWork,
    /// For one volume's contents alone.
    data: bool,
}

impl Claim {
    /// Makes `held` this process's claim for that run. Its other agents are
    /// ended: each order begins without any, also for contents. Those of other
    /// runs too if `take_over`, and are an error if not.
    pub fn take(
        held: &mut Option<Self>,
        place: &Place,
        claimant: Claimant,
        take_over: bool,
    ) -> Result<()> {
        claimant.check()?;
        place.make()?;
        let own = held.take_if(|claim| claim.agent.at_work.run == claimant.run);
        *held = None;
        let registry = match take_over {
            true => Registry::open(place)?,
            false => Registry::open_alone(place, claimant.run)?,
        };
        for (file, agent) in registry.others()? {
            end(agent.at_work.process, &file)?;
        }
        *held = Some(match own {
            Some(own) => own,
            None => registry.enter(claimant, false)?,
        });
        Ok(())
    }

    /// This process's claim to fill a volume, beside others that do so for the
    /// same run.
    pub fn to_fill(place: &Place, claimant: Claimant) -> Result<Self> {
        claimant.check()?;
        place.make()?;
        Registry::open_alone(place, claimant.run)?.enter(claimant, true)
    }
}

/// The run that is at work, other than `run`.
pub fn at_work(place: &Place, run: &str) -> Result<Option<AtWork>> {
    match place.run().join(AGENTS).exists() {
        true => Registry::open(place)?.stranger(run),
        false => Ok(None),
    }
}

/// The same, after it had the time to leave.
pub fn still_at_work(place: &Place, run: &str, voice: &mut Voice) -> Result<Option<AtWork>> {
    let deadline = Instant::now() + place.leaving();
    let mut told = false;
    loop {
        let other = at_work(place, run)?;
        match &other {
            None => return Ok(None),
            Some(_) if Instant::now() >= deadline => return Ok(other),
            Some(other) if !told => voice.note(format!("{other}: looking whether it ends"))?,
            Some(_) => {}
        }
        told = true;
        pause()?;
    }
}

fn pause() -> Result<()> {
    interrupt::check()?;
    std::thread::sleep(Duration::from_millis(100));
    Ok(())
}

impl Claimant<'_> {
    fn check(&self) -> Result<()> {
        let plain = self.run.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(
            plain && (1..=64).contains(&self.run.len()),
            "the order does not say which run of a transfer it is of"
        );
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Unlocked, it would be taken for what it is: stale.
        let _ = std::fs::remove_file(&self.file);
    }
}

/// The registry's directory, below the place's.
const AGENTS: &str = "agents";

/// The directory of the agents' files; nobody else enters or looks meanwhile.
struct Registry {
    directory: PathBuf,
    _lock: FileLock,
}

impl Registry {
    fn open(place: &Place) -> Result<Self> {
        let directory = place.run().join(AGENTS);
        match std::fs::create_dir(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("creating {}", directory.display()));
            }
            _ => {}
        }
        let lock = FileLock::wait(&place.run().join("agents.lock"), "ending old agents")?;
        Ok(Self {
            directory,
            _lock: lock,
        })
    }

    /// Opens it once no other run is at work.
    fn open_alone(place: &Place, run: &str) -> Result<Self> {
        let deadline = Instant::now() + place.leaving();
        loop {
            let registry = Self::open(place)?;
            match registry.stranger(run)? {
                None => return Ok(registry),
                Some(other) if Instant::now() >= deadline => bail!("{other}: {ABOUT_ANOTHER}"),
                // Whoever works there needs the registry too.
                Some(_) => drop(registry),
            }
            pause()?;
        }
    }

    /// An agent of another run.
    fn stranger(&self, run: &str) -> Result<Option<AtWork>> {
        let others = self.others()?.into_iter();
        let mut others = others.map(|(_, agent)| agent.at_work);
        Ok(others.find(|other| other.run != run))
    }

    fn enter(&self, claimant: Claimant, data: bool) -> Result<Claim> {
        let at_work = AtWork {
            run: claimant.run.to_owned(),
            plan_id: claimant.plan_id.to_owned(),
            from: from(),
            since: time::now(),
            process: own_process(),
        };
        let agent = Agent { at_work, data };
        let kind = if data { "data" } else { "orders" };
        let file = self.directory.join(format!("{kind}-{}", own_process()));
        let doing = || format!("writing {}", file.display());
        // A process of this number that ended long ago may have left one.
        let _ = std::fs::remove_file(&file);
        let lock = FileLock::try_lock(&file)?.with_context(doing)?;
        let text = serde_json::to_vec(&agent)?;
        let opened = std::fs::OpenOptions::new().write(true).open(&file);
        opened
            .and_then(|mut opened| opened.write_all(&text))
            .with_context(doing)?;
        Ok(Claim {
            agent,
            file,
            _lock: lock,
        })
    }

    /// Agents that work, but for this process.
    fn others(&self) -> Result<Vec<(PathBuf, Agent)>> {
        let doing = || format!("reading {}", self.directory.display());
        let mut others = Vec::new();
        for entry in std::fs::read_dir(&self.directory).with_context(doing)? {
            let file = entry.with_context(doing)?.path();
            if let Some(agent) = living(&file)? {
                if agent.at_work.process != own_process() {
                    others.push((file, agent));
                }
            }
        }
        Ok(others)
    }
}

fn own_process() -> i32 {
    std::process::id() as i32
}

/// The client's address, which the SSH server that started this has told.
fn from() -> Option<String> {
    let connection = std::env::var("SSH_CONNECTION").ok()?;
    let address = connection.split(' ').next()?;
    // Whoever sets it otherwise shall steer nobody's terminal.
    let address: std::net::IpAddr = address.split('%').next()?.parse().ok()?;
    Some(address.to_string())
}

/// The agent whose file this is; `None`, and the file is gone, if it has ended.
/// The lock proves that it lives: a number alone may be another process's.
fn living(file: &Path) -> Result<Option<Agent>> {
    if FileLock::try_lock(file)?.is_some() {
        let _ = std::fs::remove_file(file);
        return Ok(None);
    }
    let doing = || format!("reading {}", file.display());
    let text = std::fs::read(file).with_context(doing)?;
    serde_json::from_slice(&text).map(Some).with_context(doing)
}

fn end(process: i32, file: &Path) -> Result<()> {
    let pid = Pid::from_raw(process);
    let doing = || format!("ending the earlier agent, process {pid}");
    check_is_agent(process).with_context(doing)?;
    tracing::info!("{}", doing());
    let start = Instant::now();
    let mut signal = Signal::SIGTERM;
    let _ = kill(pid, signal);
    while living(file)?.is_some() {
        if start.elapsed() > GRACE && signal == Signal::SIGTERM {
            signal = Signal::SIGKILL;
            let _ = kill(pid, signal);
        }
        if start.elapsed() > PATIENCE {
            bail!("{}: it hangs in the kernel; restart the instance", doing());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The file's word is not enough to kill by.
fn check_is_agent(pid: i32) -> Result<()> {
    let exe = |pid: &str| std::fs::read_link(format!("/proc/{pid}/exe"));
    let own = exe("self").context("finding our own program")?;
    let its = exe(&pid.to_string()).context("finding its program")?;
    let name = its.file_name().unwrap_or_default().to_string_lossy();
    // One that was replaced since it was started.
    let name = name.trim_end_matches(" (deleted)");
    if its == own || name == "p2v" {
        return Ok(());
    }
    bail!("it is no p2v but {}", its.display())
}
