//! What a long command shows of itself: on a terminal, the step that runs and
//! its seconds; elsewhere one line a finished step.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Runs `work` as the step `name`; says how long it took.
pub fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let ticker = Ticker::start(name);
    let result = work();
    drop(ticker);
    let seconds = start.elapsed().as_secs_f64();
    match &result {
        Ok(_) => println!("  {name:<52} {seconds:6.1} s"),
        Err(_) => println!("  {name:<52} failed after {seconds:.1} s"),
    }
    result
}

/// A line that counts the seconds, wiped when dropped.
struct Ticker(Option<(Sender<()>, JoinHandle<()>)>);

impl Ticker {
    fn start(name: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let (stop, stopped) = mpsc::channel();
        let name = name.to_owned();
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            let mut errors = std::io::stderr();
            while stopped.recv_timeout(Duration::from_millis(500)) == Err(RecvTimeoutError::Timeout)
            {
                let seconds = start.elapsed().as_secs();
                // A terminal that went away is no reason to stop the work.
                let _ = write!(errors, "\r  {name:<52} {seconds:4} s ...");
                let _ = errors.flush();
            }
            let _ = write!(errors, "\r\x1b[K");
        });
        Self(Some((stop, thread)))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}
