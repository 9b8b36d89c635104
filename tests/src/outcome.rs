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

    /// Fails unless the program ended by itself, unsuccessfully, with an error
    /// message at the log's end, where an admin sees it, that has every one of
    /// `words`, in any case.
    #[track_caller]
    pub fn assert_refused(&self, words: &[&str]) -> &Self {
        assert!(
            self.status.code().is_some_and(|code| code != 0),
            "it should have failed with an exit status, but ended with {} and said:\n{}",
            self.status,
            self.log
        );
        let message = self.error_message().to_lowercase();
        for word in words {
            assert!(
                message.contains(&word.to_lowercase()),
                "the error does not say {word:?}. The log:\n{}",
                self.log
            );
        }
        for trace in ["panicked at", "internal error"] {
            assert!(!self.log.contains(trace), "a defect shows:\n{}", self.log);
        }
        self
    }

    /// The log from the last error message on; "" if there is none.
    pub fn error_message(&self) -> &str {
        match self.log.rfind("p2v: error: ") {
            Some(start) => &self.log[start..],
            None => "",
        }
    }

    /// Whether a signal ended the program, and which.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
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
