//! Work in namespaces that vanish with it, whatever kills it.
//!
//! [`run`] forks. The child works as PID 1 of a new PID namespace, in a new
//! mount namespace. When the child ends, or is killed because the parent was
//! (`PR_SET_PDEATHSIG`), the kernel ends every process of the namespace and
//! drops its mounts; loop devices with autoclear (see [`crate::loopdev`])
//! follow. So no SIGKILL leaves a mount, a loop device or a process.

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use crate::{interrupt, server};

/// How long the worker may take to clean up after a termination signal before
/// it is killed.
const GRACE: std::time::Duration = std::time::Duration::from_secs(20);

/// Runs `work` in namespaces of its own and returns its exit status. Must be
/// called before the process has other threads.
///
/// Termination signals to this process are passed on once to the worker, where
/// [`interrupt::check`] reports them; a worker that does not end within 20
/// seconds is killed.
pub fn run(work: impl FnOnce() -> u8) -> Result<u8> {
    interrupt::install()?;
    match unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS) {
        Err(Errno::EPERM) => {
            bail!("making the private namespaces: not permitted: run this as root")
        }
        made => made.context("making the private namespaces")?,
    }
    let parent = nix::unistd::getpid();
    // SAFETY: there is one thread, so the child may do anything.
    match unsafe { fork() }.context("starting the worker")? {
        ForkResult::Parent { child } => supervise(child),
        ForkResult::Child => {
            let status = match enter(parent) {
                Ok(()) => work(),
                Err(error) => {
                    tracing::error!("{error:#}");
                    1
                }
            };
            std::process::exit(i32::from(status))
        }
    }
}

/// Ends every other process of the namespace that [`run`] made, but for
/// [`crate::server::Server`]s: daemons that a hook left behind would keep the
/// target mounted. Does nothing elsewhere.
pub fn end_others() {
    if std::process::id() != 1 {
        return;
    }
    if let Err(error) = end_all_but(&server::running()) {
        tracing::warn!("ending leftover processes: {error:#}");
    }
}

fn end_all_but(keep: &[Pid]) -> Result<()> {
    // One that is ended may have started another one meanwhile.
    loop {
        let others = others(keep)?;
        if others.is_empty() {
            return Ok(());
        }
        for other in &others {
            // An error means that it has ended already.
            let _ = kill(*other, Signal::SIGKILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
        for other in others {
            // Being PID 1, we reap what is orphaned, and only that: who keeps
            // a process waits for it.
            let ended = waitpid(other, Some(WaitPidFlag::WNOHANG));
            tracing::debug!("ending a leftover process: {ended:?}");
        }
    }
}

/// The other processes of this namespace, whose /proc is mounted.
fn others(keep: &[Pid]) -> Result<Vec<Pid>> {
    let doing = "listing the processes in /proc";
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context(doing)? {
        let name = entry.context(doing)?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let pid = Pid::from_raw(pid);
        if pid.as_raw() != 1 && !keep.contains(&pid) {
            found.push(pid);
        }
    }
    Ok(found)
}

fn enter(parent: Pid) -> Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("tying the worker to its parent")?;
    // A parent that died before that call sends no signal. /proc is still the
    // outer one here, so a look into it tells.
    if !std::path::Path::new(&format!("/proc/{parent}")).exists() {
        anyhow::bail!("starting the worker: its parent has ended");
    }
    part_mounts()?;
    let none: Option<&str> = None;
    // Programs that look into /proc must see the new namespace's processes.
    mount(
        Some("proc"),
        "/proc",
        Some("proc"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        none,
    )
    .context("mounting /proc")
}

/// What is mounted here is seen nowhere else; what is unmounted elsewhere goes
/// here too, or its device would stay in use for as long as we work.
fn part_mounts() -> Result<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .context("making the mounts private")
}

fn supervise(worker: Pid) -> Result<u8> {
    // A signal that arrives between the check and the wait must not be lost:
    // the wait polls, at a pace that costs nothing.
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&SigSet::all()), None)
        .context("unblocking signals")?;
    let mut asked: Option<std::time::Instant> = None;
    let mut pause = std::time::Duration::from_millis(1);
    loop {
        match waitpid(worker, Some(WaitPidFlag::WNOHANG)).context("waiting for the worker")? {
            WaitStatus::Exited(_, status) => return Ok(u8::try_from(status).unwrap_or(1)),
            WaitStatus::Signaled(_, signal, _) => {
                anyhow::bail!("the worker was ended by {signal}")
            }
            _ => {}
        }
        if let Some(signal) = interrupt::received() {
            match asked {
                None => {
                    let _ = kill(worker, signal);
                    asked = Some(std::time::Instant::now());
                }
                Some(since) if since.elapsed() > GRACE => {
                    let _ = kill(worker, Signal::SIGKILL);
                }
                Some(_) => {}
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(std::time::Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use nix::mount::umount;

    use super::*;

    /// The place that is mounted in the thread's namespace.
    fn is_mounted(place: &str) -> bool {
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        mounts.lines().any(|line| line.contains(place))
    }

    #[test]
    fn what_is_unmounted_outside_goes_and_what_is_mounted_inside_stays_there() {
        p2v_testing::need_root!();
        let dir = tempfile::tempdir().unwrap();
        let [outer, inner] = ["outer", "inner"].map(|name| {
            let path = dir.path().join(name).display().to_string();
            std::fs::create_dir(&path).unwrap();
            path
        });
        let none: Option<&str> = None;
        let mount_at = |place: &str| {
            mount(none, place, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        };
        // A namespace of this test's alone, in which mounts are shared as
        // systemd has them.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, "/", none, private, none).unwrap();
        let shared = MsFlags::MS_REC | MsFlags::MS_SHARED;
        mount(none, "/", none, shared, none).unwrap();
        mount_at(&outer);
        let (entered, unmounted) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNS).unwrap();
                part_mounts().unwrap();
                mount_at(&inner);
                assert!(is_mounted(&outer) && is_mounted(&inner));
                entered.wait();
                unmounted.wait();
                assert!(!is_mounted(&outer) && is_mounted(&inner));
            });
            entered.wait();
            assert!(!is_mounted(&inner));
            umount(outer.as_str()).unwrap();
            unmounted.wait();
        });
    }
}
