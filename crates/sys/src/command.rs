//! Other programs, run in one way: no shell, `LC_ALL=C`, no standard input,
//! a process group of their own, a deadline, and the end of their standard
//! error in the message when they fail.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::{interrupt, without_credentials};

mod fed;
mod not_found;
mod shown;

use shown::Shown;

pub use not_found::{not_found, package};
pub use shown::pass_output_to;

/// Longer than any tool that works on a disk needs; hooks and the bootstrap
/// set their own.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// How many bytes of standard error an error message carries.
const STDERR_TAIL: usize = 2000;

/// How long a process group has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// A program with its arguments, and a description that names what it does
/// and to what: "creating ext4 on /dev/loop3".
#[derive(Debug, Clone)]
pub struct Cmd {
    description: String,
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    clear_env: bool,
    dir: Option<std::path::PathBuf>,
    stdin: Option<Vec<u8>>,
    timeout: Duration,
}

impl Cmd {
    /// A command that will run `program`, found through PATH.
    pub fn new(program: impl AsRef<OsStr>, description: impl Into<String>) -> Self {
        Self {
            description: description.into(),
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            clear_env: false,
            dir: None,
            stdin: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets a variable in the program's environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts the program with only the variables given by [`Cmd::env`], so
    /// that nothing inherited reaches it.
    #[must_use]
    pub fn clear_env(mut self) -> Self {
        self.clear_env = true;
        self
    }

    /// Runs the program in this directory.
    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Gives the program this standard input instead of none.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Sets the deadline; the program's process group is killed at it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs to a successful end; what it prints appears only if it fails.
    pub fn run(&self) -> Result<()> {
        let expression = self.expression().stdout_to_stderr().stderr_capture();
        self.finish(&expression).map(drop)
    }

    /// Runs to a successful end and returns its standard output, without the
    /// trailing white space. Output that is not UTF-8 is an error.
    pub fn read(&self) -> Result<String> {
        let expression = self.expression().stdout_capture().stderr_capture();
        let output = self.finish(&expression)?;
        let text = String::from_utf8(output.stdout)
            .with_context(|| format!("{}: reading the output as UTF-8", self.description))?;
        Ok(text.trim_end().to_owned())
    }

    /// Like [`Cmd::read`], for a program whose exit status is an answer: those
    /// in `answers` are no failures. Returns the status too.
    pub fn read_answer(&self, answers: &[i32]) -> Result<(i32, String)> {
        let expression = self.expression().stdout_capture().stderr_capture();
        let output = self.execute(&expression)?;
        match output.status.code() {
            Some(code) if code == 0 || answers.contains(&code) => {
                let text = String::from_utf8_lossy(&output.stdout);
                Ok((code, text.trim_end().to_owned()))
            }
            _ => Err(self.failure(&output)),
        }
    }

    /// Runs to a successful end, with its output shown as it comes, on our
    /// standard error: our standard output belongs to data alone. An error
    /// carries the end of that output too.
    pub fn run_shown(&self) -> Result<()> {
        let (shown, writer) = Shown::start().with_context(|| self.description.clone())?;
        let expression = self.expression().stdout_to_stderr().stderr_file(writer);
        let result = self.execute(&expression);
        // Our own copy of the pipe's writing end goes, so that the pipe ends.
        drop(expression);
        let mut output = result?;
        output.stderr = shown.last_words();
        self.judge(output).map(drop)
    }

    /// What it does, and to what.
    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    pub(crate) fn program(&self) -> &OsStr {
        &self.program
    }

    pub(crate) fn expression(&self) -> duct::Expression {
        let expression = self.prepared();
        guarded(match &self.stdin {
            Some(bytes) => expression.stdin_bytes(bytes.clone()),
            None => expression.stdin_null(),
        })
    }

    /// With environment and directory, but neither input nor output.
    fn prepared(&self) -> duct::Expression {
        let mut expression = duct::cmd(&self.program, &self.args);
        // In duct what is said first has the last word: `full_env` after `env`
        // would be overruled, before it would clear it.
        let own = self.env.iter().cloned();
        let always = (OsString::from("LC_ALL"), OsString::from("C"));
        if self.clear_env {
            expression = expression.full_env(own.chain([always]));
        } else {
            for (name, value) in own.chain([always]) {
                expression = expression.env(name, value);
            }
        }
        if let Some(dir) = &self.dir {
            expression = expression.dir(dir);
        }
        expression
    }

    fn finish(&self, expression: &duct::Expression) -> Result<std::process::Output> {
        self.execute(expression)
            .and_then(|output| self.judge(output))
    }

    fn execute(&self, expression: &duct::Expression) -> Result<std::process::Output> {
        self.execute_watched(expression, &mut || Ok(()))
    }

    /// Ends the program as soon as `watch` fails.
    fn execute_watched(
        &self,
        expression: &duct::Expression,
        watch: &mut dyn FnMut() -> Result<()>,
    ) -> Result<std::process::Output> {
        tracing::debug!("running {self}");
        let handle = expression
            .start()
            .map_err(|error| self.start_error(error))?;
        let output = match self.wait(&handle, watch) {
            Ok(()) => handle.into_output(),
            Err(error) => {
                end_group(&handle);
                return Err(error);
            }
        };
        output.with_context(|| self.description.clone())
    }

    fn judge(&self, output: std::process::Output) -> Result<std::process::Output> {
        if output.status.success() {
            return Ok(output);
        }
        Err(self.failure(&output))
    }

    fn wait(&self, handle: &duct::Handle, watch: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + self.timeout;
        let mut pause = Duration::from_millis(1);
        loop {
            let ended = handle
                .wait_timeout(pause)
                .with_context(|| self.description.clone())?;
            if ended.is_some() {
                return Ok(());
            }
            interrupt::check().with_context(|| self.description.clone())?;
            watch().with_context(|| self.description.clone())?;
            if Instant::now() >= deadline {
                bail!(
                    "{}: `{}` did not end within {} s and was killed",
                    self.description,
                    self.program.to_string_lossy(),
                    self.timeout.as_secs()
                );
            }
            // A longer pause would delay the answer to a signal.
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    pub(crate) fn start_error(&self, error: std::io::Error) -> anyhow::Error {
        let program = self.program.to_string_lossy();
        let is_missing = error.kind() == std::io::ErrorKind::NotFound && self.dir.is_none();
        if is_missing && !program.contains('/') {
            return anyhow!("{}: {}", self.description, not_found(&program));
        }
        anyhow::Error::new(error)
            .context(format!("starting `{program}`"))
            .context(self.description.clone())
    }

    fn failure(&self, output: &std::process::Output) -> anyhow::Error {
        use std::os::unix::process::ExitStatusExt;
        let how = match (output.status.code(), output.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "an unknown status".to_owned(),
        };
        let tail = last_words(&String::from_utf8_lossy(&output.stderr));
        let colon = if tail.is_empty() { "" } else { ": " };
        anyhow!(
            "{}: `{}` ended with {how}{colon}{tail}",
            self.description,
            self.program.to_string_lossy()
        )
    }
}

/// In a process group of its own, ended with us however we end, and with its
/// status left to us.
fn guarded(expression: duct::Expression) -> duct::Expression {
    expression
        .before_spawn(|command| {
            use std::os::unix::process::CommandExt;
            command.process_group(0);
            let parent = Pid::this();
            // SAFETY: the closure only makes system calls.
            unsafe { command.pre_exec(move || tie_to(parent)) };
            Ok(())
        })
        .unchecked()
}

/// A program would hold on to the disk that its killed caller gave it. It goes
/// with the thread that started it, which waits for it.
fn tie_to(parent: Pid) -> std::io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // One that is outside of our PID namespace has no number here.
    match Pid::parent() {
        found if found == parent || found.as_raw() == 0 => Ok(()),
        // It ended before this.
        _ => Err(nix::errno::Errno::ESRCH.into()),
    }
}

/// The command line for the log, without the passwords and keys of URLs.
impl std::fmt::Display for Cmd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.program.to_string_lossy())?;
        for arg in &self.args {
            write!(f, " {}", without_credentials(&arg.to_string_lossy()))?;
        }
        Ok(())
    }
}

/// Whether PATH has this program.
pub fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .any(|dir| nix::unistd::access(&dir.join(program), nix::unistd::AccessFlags::X_OK).is_ok())
}

/// Ends the whole group: a tool's own children must not outlive it, or they
/// would keep the target mounted.
fn end_group(handle: &duct::Handle) {
    let groups: Vec<Pid> = handle
        .pids()
        .into_iter()
        .map(|pid| Pid::from_raw(pid as i32))
        .collect();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        for group in &groups {
            // An error means that it has ended already.
            let _ = killpg(*group, signal);
        }
        if signal == Signal::SIGTERM {
            let _ = handle.wait_timeout(GRACE);
        }
    }
    if let Err(error) = handle.kill() {
        tracing::warn!("killing a command: {error}");
    }
}

/// The end of what a program said, without the passwords and keys of URLs.
pub(crate) fn last_words(said: &str) -> String {
    tail(without_credentials(said).trim_end(), STDERR_TAIL).to_owned()
}

fn tail(text: &str, most: usize) -> &str {
    let mut start = text.len().saturating_sub(most);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests;
