//! A program whose standard input comes as it is made: a stream.

use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::{Cmd, GRACE, guarded};
use crate::interrupt;

impl Cmd {
    /// Runs to a successful end while `feed`, on a thread of its own, writes the
    /// program's standard input; returns what the program said. A feed that
    /// fails is the error, whatever the program made of its early end.
    pub fn run_fed(
        &self,
        feed: impl FnOnce(File) -> Result<()> + Send + 'static,
    ) -> Result<String> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).with_context(|| self.description.clone())?;
        let (tell, fed) = sync_channel(1);
        std::thread::Builder::new()
            .name("feed".to_owned())
            .spawn(move || {
                // Nobody waits for it any more when we have failed already.
                let _ = tell.send(feed(File::from(writer)));
            })
            .with_context(|| self.description.clone())?;
        let expression = guarded(self.prepared().stdin_file(reader))
            .stdout_to_stderr()
            .stderr_capture();
        // A program that waits for the rest of its input may wait for ever.
        let mut result = None;
        let output = self.execute_watched(&expression, &mut || {
            match fed.try_recv() {
                Ok(Err(error)) if !is_broken_pipe(&error) => return Err(error),
                Ok(told) => result = Some(told),
                Err(_) => {}
            }
            Ok(())
        });
        // Our own copy of the pipe's reading end goes, so that the feed ends.
        drop(expression);
        let output = output?;
        let patient = output.status.success();
        let result = result.map_or_else(|| self.await_feed(&fed, patient), Ok)?;
        match result {
            // The program's own failure has closed the pipe.
            Err(error) if patient || !is_broken_pipe(&error) => {
                Err(error.context(self.description.clone()))
            }
            _ => {
                let output = self.judge(output)?;
                Ok(String::from_utf8_lossy(&output.stderr).into_owned())
            }
        }
    }

    /// How the feed went, after the end of the program. One that still waits
    /// for something after the program has failed is not waited for.
    fn await_feed(&self, fed: &Receiver<Result<()>>, patient: bool) -> Result<Result<()>> {
        let doing = || self.description.clone();
        let deadline = Instant::now() + GRACE;
        loop {
            match fed.recv_timeout(Duration::from_millis(50)) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => interrupt::check().with_context(doing)?,
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{}: what feeds the program ended early", doing())
                }
            }
            if !patient && Instant::now() >= deadline {
                return Ok(Ok(()));
            }
        }
    }
}

/// Whether the reader of a pipe has gone.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn shell(script: &str) -> Cmd {
        Cmd::new("sh", "trying").args(["-c", script])
    }

    #[test]
    fn a_feed_reaches_the_program_whole() {
        let lines = "x\n".repeat(100_000);
        let feed = move |mut input: File| Ok(input.write_all(lines.as_bytes())?);
        let said = shell("wc -l >&2").run_fed(feed).unwrap();
        assert_eq!(said.trim(), "100000");
    }

    #[test]
    fn a_feed_that_fails_ends_the_program_and_is_the_error() {
        let start = Instant::now();
        for script in ["cat; exit 3", "exec sleep 60"] {
            let error = shell(script).run_fed(|_| bail!("damaged")).unwrap_err();
            assert_eq!(format!("{error:#}"), "trying: damaged");
        }
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_program_that_fails_is_the_error_though_its_feed_waits() {
        let hung = |mut input: File| {
            let _ = input.write_all(&[0; 1 << 20]);
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        };
        let start = Instant::now();
        let error = shell("echo full >&2; exit 1").run_fed(hung).unwrap_err();
        assert!(format!("{error:#}").ends_with("exit status 1: full"));
        let broken = |mut input: File| Ok(input.write_all(&[0; 1 << 20])?);
        let error = shell("echo full >&2; exit 1").run_fed(broken).unwrap_err();
        assert!(format!("{error:#}").ends_with("exit status 1: full"));
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
