//! How a program that a test ran has ended, with everything it said.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// An ended program.
#[derive(Debug)]
pub struct Outcome {
    /// Its status.
    pub status: ExitStatus,
    /// Standard output and standard error together, in order, as Ganeti logs
    /// them.
    pub log: String,
    /// How long it ran.
    pub took: Duration,
}

impl Outcome {
    /// Fails with the whole log unless the program succeeded.
    #[track_caller]
    pub fn assert_success(&self) -> &Self {
        assert!(
            self.status.success(),
            "it should have succeeded, but ended with {} and said:\n{}",
            self.status,
            self.log
        );
        self
    }

    /// Fails unless the program ended by itself, unsuccessfully, and its last
    /// line has every one of `words`: the last line is what an admin sees.
    #[track_caller]
    pub fn assert_refused(&self, words: &[&str]) -> &Self {
        assert!(
            self.status.code().is_some_and(|code| code != 0),
            "it should have failed with an exit status, but ended with {} and said:\n{}",
            self.status,
            self.log
        );
        let last = self.last_line();
        for word in words {
            assert!(
                last.to_lowercase().contains(&word.to_lowercase()),
                "the last line does not say {word:?}. The log:\n{}",
                self.log
            );
        }
        assert!(
            !self.log.contains("panicked at"),
            "it panicked:\n{}",
            self.log
        );
        self
    }

    /// Whether a signal ended the program, and which.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// The last line of the log.
    pub fn last_line(&self) -> &str {
        self.log.trim_end().lines().last().unwrap_or_default()
    }
}

/// Waits for a child until `within` has passed.
pub fn wait(child: &mut Child, within: Duration) -> Result<ExitStatus> {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().context("waiting for a program")? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            bail!("process {} did not end within {within:?}", child.id());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
