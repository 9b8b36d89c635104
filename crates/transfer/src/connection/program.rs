//! A running ssh: it ends with its guard, at an interrupt, and when nothing has
//! come or gone for too long.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use p2v_sys::command::not_found;
use p2v_sys::interrupt;
use tempfile::TempDir;

use super::Address;
use super::tail::Tail;
use super::verdict::{self, Cause};

/// How often the watch looks.
const PACE: Duration = Duration::from_millis(100);

/// How long an ssh that was asked to end may take.
const GRACE: Duration = Duration::from_millis(500);

/// Bytes of a pipe to and from ssh: fewer switches between the two.
const PIPE: i32 = 1 << 20;

/// What the guard, its streams and its watch share.
#[derive(Debug)]
struct Shared {
    process: Mutex<Process>,
    /// Bytes that came and went.
    moved: AtomicU64,
    /// Milliseconds without any of them that are too long; 0 for none.
    patience: AtomicU64,
    /// The guard is gone, or has seen the end.
    over: AtomicBool,
}

#[derive(Debug)]
struct Process {
    child: Child,
    status: Option<ExitStatus>,
    cause: Option<Cause>,
}

/// An ssh and all that it started.
#[derive(Debug)]
pub(super) struct Program {
    address: Address,
    shared: Arc<Shared>,
    tail: Tail,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    /// ssh reads the good host keys there.
    _keys: Arc<TempDir>,
}

/// A stream to or from ssh.
#[derive(Debug)]
pub(super) struct Counted<T> {
    inner: T,
    shared: Arc<Shared>,
}

impl Program {
    /// Starts ssh in a process group of its own: Ctrl-C is ours to handle.
    pub fn start(address: &Address, arguments: &[String], keys: Arc<TempDir>) -> Result<Self> {
        let doing = || format!("connecting to {address}");
        let mut child = Command::new("ssh")
            .args(arguments)
            .env("LC_ALL", "C")
            // Nobody is asked anything, on whatever screen.
            .env_remove("SSH_ASKPASS")
            .env_remove("DISPLAY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => anyhow!(not_found("ssh")),
                _ => anyhow!(error).context("starting `ssh`"),
            })
            .with_context(doing)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let errors = child.stderr.take();
        let shared = Arc::new(Shared {
            process: Mutex::new(Process {
                child,
                status: None,
                cause: None,
            }),
            moved: AtomicU64::new(0),
            patience: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        // From here on the guard's end is the child's.
        let mut program = Self {
            address: address.clone(),
            tail: Tail::of(std::io::empty()).with_context(doing)?,
            shared,
            input,
            output,
            _keys: keys,
        };
        program.tail = Tail::of(errors.context("taking ssh's errors")?).with_context(doing)?;
        program.enlarge_pipes();
        program.watch().with_context(doing)?;
        Ok(program)
    }

    /// What is written to the other side; taken once.
    pub fn input(&mut self) -> Result<Counted<ChildStdin>> {
        let inner = self.input.take().context("taking ssh's input")?;
        Ok(self.counted(inner))
    }

    /// What comes from the other side; taken once.
    pub fn output(&mut self) -> Result<Counted<ChildStdout>> {
        let inner = self.output.take().context("taking ssh's output")?;
        Ok(self.counted(inner))
    }

    /// Ends ssh once nothing has come or gone for so long, as a lost connection.
    pub fn be_patient(&self, patience: Option<Duration>) {
        let milliseconds = patience.map_or(0, |patience| patience.as_millis().max(1) as u64);
        self.shared.moved.fetch_add(1, Ordering::Relaxed);
        self.shared.patience.store(milliseconds, Ordering::Relaxed);
    }

    /// The status, if it ends within `most`.
    pub fn wait(&self, most: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + most;
        let mut pause = Duration::from_millis(1);
        loop {
            let status = self.shared.process().look().context("waiting for ssh")?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Closes its input, waits for its end and judges that.
    pub fn finish(mut self, most: Duration) -> Result<()> {
        self.input = None;
        match self.wait(most)? {
            Some(status) => self.judge(status, false),
            None => {
                interrupt::check()?;
                let text = format!("connecting to {}: ssh does not end", self.address);
                Err(verdict::Lost(text).into())
            }
        }
    }

    /// What that end means. `up` tells whether the other side had spoken.
    pub fn judge(&mut self, status: ExitStatus, up: bool) -> Result<()> {
        let cause = self.shared.process().cause;
        let tail = self.tail.at_end();
        verdict::judge(&self.address, status, cause, &tail, up)
    }

    /// For messages.
    pub fn address(&self) -> &Address {
        &self.address
    }

    fn counted<T>(&self, inner: T) -> Counted<T> {
        Counted {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }

    fn enlarge_pipes(&self) {
        // Not allowed beyond a user's limit; then they stay as they are.
        if let Some(input) = &self.input {
            let _ = fcntl(input, FcntlArg::F_SETPIPE_SZ(PIPE));
        }
        if let Some(output) = &self.output {
            let _ = fcntl(output, FcntlArg::F_SETPIPE_SZ(PIPE));
        }
    }

    fn watch(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        std::thread::Builder::new()
            .name("ssh".to_owned())
            .spawn(move || shared.watch())
            .context("starting a thread")?;
        Ok(())
    }
}

impl Shared {
    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the guard is gone. Whoever waits for ssh's streams then sees their
    /// end.
    fn watch(&self) {
        let mut seen = (self.moved.load(Ordering::Relaxed), Instant::now());
        while !self.over.load(Ordering::Relaxed) {
            std::thread::sleep(PACE);
            let moved = self.moved.load(Ordering::Relaxed);
            if moved != seen.0 {
                seen = (moved, Instant::now());
            }
            let patience = self.patience.load(Ordering::Relaxed);
            let silent = seen.1.elapsed();
            let cause = if interrupt::received().is_some() {
                Cause::Interrupt
            } else if patience > 0 && silent >= Duration::from_millis(patience) {
                Cause::Silence(silent.as_secs())
            } else {
                continue;
            };
            let mut process = self.process();
            if process.status.is_none() {
                process.cause = Some(cause);
                process.signal(Signal::SIGKILL);
            }
            return;
        }
    }
}

impl Process {
    fn look(&mut self) -> std::io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Sends a signal to the group. As long as nobody has waited for the child,
    /// the number is nobody else's.
    fn signal(&mut self, signal: Signal) {
        if self.status.is_none() {
            // An error means that it has ended already.
            let _ = killpg(Pid::from_raw(self.child.id() as i32), signal);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.input = None;
        self.output = None;
        self.shared.over.store(true, Ordering::Relaxed);
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            self.shared.process().signal(signal);
            match self.wait(GRACE) {
                Ok(Some(_)) => return,
                Ok(None) => {}
                Err(error) => tracing::warn!("ending ssh: {error:#}"),
            }
        }
        tracing::warn!("ending ssh: it does not end");
    }
}

impl<T: Read> Read for Counted<T> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.shared.moved.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl<T: Write> Write for Counted<T> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.shared.moved.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
