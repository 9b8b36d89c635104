//! One transfer at a time: agents are known by a locked file each, and one that
//! was left behind by a broken connection is ended before the next one works.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use p2v_sys::lock::FileLock;
use serde::{Deserialize, Serialize};

use super::place::Place;

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

/// An agent that works on the disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Agent {
    pid: i32,
    plan_id: String,
    /// For one volume's contents alone.
    data: bool,
}

impl Claim {
    /// Makes `held` this process's claim to the transfer of that plan. Other
    /// agents of that plan are ended, since only one source can have it; those
    /// of other plans too if `over_others`, and are an error if not.
    pub fn take(
        held: &mut Option<Self>,
        place: &Place,
        plan_id: &str,
        over_others: bool,
    ) -> Result<()> {
        place.make()?;
        // Each order begins without agents for contents, also of our own.
        let own = held.take_if(|claim| claim.agent.plan_id == plan_id);
        *held = None;
        let registry = Registry::open(place)?;
        registry.end_others(plan_id, over_others)?;
        *held = Some(match own {
            Some(own) => own,
            None => registry.enter(plan_id, false)?,
        });
        Ok(())
    }

    /// This process's claim to fill a volume, beside others that do so for the
    /// same plan.
    pub fn to_fill(place: &Place, plan_id: &str) -> Result<Self> {
        place.make()?;
        let registry = Registry::open(place)?;
        if let Some((_, agent)) = registry
            .others()?
            .iter()
            .find(|(_, it)| it.plan_id != plan_id)
        {
            bail!(refusal(agent));
        }
        registry.enter(plan_id, true)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Unlocked, it would be taken for what it is: stale.
        let _ = std::fs::remove_file(&self.file);
    }
}

/// The directory of the agents' files; nobody else enters or looks meanwhile.
struct Registry {
    directory: PathBuf,
    _lock: FileLock,
}

impl Registry {
    fn open(place: &Place) -> Result<Self> {
        let directory = place.run().join("agents");
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

    fn enter(&self, plan_id: &str, data: bool) -> Result<Claim> {
        let agent = Agent {
            pid: std::process::id() as i32,
            plan_id: plan_id.to_owned(),
            data,
        };
        let kind = if data { "data" } else { "orders" };
        let file = self.directory.join(format!("{kind}-{}", agent.pid));
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

    fn end_others(&self, plan_id: &str, over_others: bool) -> Result<()> {
        for (file, agent) in self.others()? {
            if agent.plan_id != plan_id && !over_others {
                bail!(refusal(&agent));
            }
            end(&agent, &file)?;
        }
        Ok(())
    }

    /// Agents that work, but for this process.
    fn others(&self) -> Result<Vec<(PathBuf, Agent)>> {
        let doing = || format!("reading {}", self.directory.display());
        let mut others = Vec::new();
        for entry in std::fs::read_dir(&self.directory).with_context(doing)? {
            let file = entry.with_context(doing)?.path();
            if let Some(agent) = living(&file)? {
                if agent.pid != std::process::id() as i32 {
                    others.push((file, agent));
                }
            }
        }
        Ok(others)
    }
}

fn refusal(agent: &Agent) -> String {
    format!(
        "another transfer, of plan {}, is at work here (process {}): wait for its end, or end it",
        agent.plan_id, agent.pid
    )
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

fn end(agent: &Agent, file: &Path) -> Result<()> {
    let pid = Pid::from_raw(agent.pid);
    let doing = || format!("ending the earlier agent, process {pid}");
    check_is_agent(agent.pid).with_context(doing)?;
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
