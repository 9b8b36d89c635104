//! A program that serves something in the foreground for as long as its guard
//! lives. It is never a daemon: it ends with the thread that started it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::Cmd;
use crate::interrupt;

/// How long a server may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(20);

/// From linux/prctl.h.
const PR_SET_IO_FLUSHER: libc::c_int = 57;

static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A running server, ended by [`Server::end`] or when dropped.
#[derive(Debug)]
pub struct Server {
    command: Cmd,
    handle: duct::Handle,
    log: PathBuf,
    ended: bool,
}

impl Server {
    /// Starts `command`, its output in the file `log`, and waits until
    /// `is_ready` or, at most, for `patience`.
    ///
    /// The server must not wait for itself when it serves a disk that this
    /// process mounts later. So it is marked as one through which the kernel
    /// writes back its memory (`PR_SET_IO_FLUSHER`), and it gets a mount
    /// namespace of its own: a killed process unmounts what no other one has
    /// mounted, before it closes its files. What it mounts is seen here where a
    /// mount is shared.
    pub fn start(
        command: Cmd,
        log: &Path,
        patience: Duration,
        is_ready: impl Fn() -> bool,
    ) -> Result<Self> {
        tracing::debug!("starting {command}");
        let expression = command.expression().stdout_to_stderr().stderr_path(log);
        let expression = expression.before_spawn(|program| {
            // SAFETY: the closure only makes system calls.
            unsafe { program.pre_exec(set_apart) };
            Ok(())
        });
        let handle = expression
            .start()
            .map_err(|error| command.start_error(error))?;
        let mut server = Self {
            command,
            handle,
            log: log.to_owned(),
            ended: false,
        };
        lock_running().push(server.pid());
        server.wait_until_ready(patience, is_ready)?;
        Ok(server)
    }

    fn wait_until_ready(&mut self, patience: Duration, is_ready: impl Fn() -> bool) -> Result<()> {
        let doing = self.command.description().to_owned();
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        while !is_ready() {
            self.check()?;
            interrupt::check().with_context(|| doing.clone())?;
            if Instant::now() >= deadline {
                bail!(
                    "{doing}: no answer within {} s{}",
                    patience.as_secs(),
                    self.words()
                );
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(())
    }

    fn pid(&self) -> Pid {
        let pid = self.handle.pids().first().copied().unwrap_or_default();
        Pid::from_raw(pid as i32)
    }

    /// Fails, with its last words, if it has ended.
    pub fn check(&mut self) -> Result<()> {
        let output = self.handle.try_wait();
        match output.with_context(|| self.command.description().to_owned())? {
            None => Ok(()),
            Some(output) => {
                let status = output.status;
                self.ended = true;
                Err(self.failure(&status.to_string()))
            }
        }
    }

    /// Ends it gracefully. A status other than success is a failure.
    pub fn end(mut self) -> Result<()> {
        self.terminate()
    }

    fn terminate(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let doing = || self.command.description().to_owned();
        match kill(self.pid(), Signal::SIGTERM) {
            // It may be ending by itself.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(doing),
        }
        let output = self.handle.wait_timeout(GRACE).with_context(doing)?;
        match output.map(|output| output.status) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.failure(&status.to_string())),
            None => {
                self.handle.kill().with_context(doing)?;
                bail!(
                    "{}: it did not end within {} s and was killed{}",
                    doing(),
                    GRACE.as_secs(),
                    self.words()
                )
            }
        }
    }

    fn failure(&self, status: &str) -> Error {
        let doing = self.command.description();
        let program = self.command.program().to_string_lossy();
        Error::msg(format!(
            "{doing}: `{program}` ended with {status}{}",
            self.words()
        ))
    }

    /// What it has said, after a colon; empty if it is silent.
    fn words(&self) -> String {
        let said = std::fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        match said.trim() {
            "" => String::new(),
            said => format!(": {}", crate::command::last_words(said)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.pid();
        lock_running().retain(|running| *running != pid);
        if let Err(error) = self.terminate() {
            tracing::warn!("{error:#}");
        }
    }
}

/// The servers of this process.
pub(crate) fn running() -> Vec<Pid> {
    lock_running().clone()
}

fn lock_running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs in the server's process before its program.
fn set_apart() -> std::io::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
    // SAFETY: prctl with numbers only. A kernel before 5.6 does not know it.
    unsafe { libc::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Cmd {
        Cmd::new("sh", "serving the void").args(["-c", script])
    }

    #[test]
    fn it_is_ready_serves_and_ends() {
        p2v_testing::need_root!();
        let dir = tempfile::tempdir().unwrap();
        let (ready, log) = (dir.path().join("ready"), dir.path().join("log"));
        let script = format!(
            "trap 'exit 0' TERM; : > {}; while :; do sleep 0.01; done",
            ready.display()
        );
        let patience = Duration::from_secs(20);
        let mut server = Server::start(shell(&script), &log, patience, || ready.exists()).unwrap();
        server.check().unwrap();
        let pid = server.pid();
        server.end().unwrap();
        assert_eq!(kill(pid, None), Err(Errno::ESRCH));
    }

    #[test]
    fn one_that_fails_or_hangs_is_told_with_its_words() {
        p2v_testing::need_root!();
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let start =
            |script| Server::start(shell(script), &log, Duration::from_millis(300), || false);
        let text = format!("{:#}", start("echo no luck >&2; exit 3").unwrap_err());
        for word in ["serving the void", "`sh`", "exit status: 3", ": no luck"] {
            assert!(text.contains(word), "{text}");
        }
        let text = format!("{:#}", start("echo hm; exec sleep 60").unwrap_err());
        assert!(text.ends_with("no answer within 0 s: hm"), "{text}");
    }
}
