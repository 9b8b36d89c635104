//! A virtual machine's serial console: read as it comes, waited on for text,
//! kept in a file.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What no boot recovers from: waiting on would only cost time.
const FATAL: &[&str] = &["Kernel panic - not syncing"];

/// How much of the console an error shows.
const TAIL_LINES: usize = 25;

/// A console that is being read.
#[derive(Debug, Clone)]
pub struct Console {
    shared: Arc<Shared>,
    started: Instant,
    log: PathBuf,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: Vec<u8>,
    /// The text's length at each time that something came.
    arrivals: Vec<(Duration, usize)>,
    /// Up to where [`Console::expect`] has looked.
    consumed: usize,
    ended: bool,
}

impl Console {
    /// Reads `stream` to its end in a thread of its own. `log` is where the
    /// machine keeps the same text, for messages.
    pub fn follow(stream: impl Read + Send + 'static, log: &Path) -> Self {
        let console = Self {
            shared: Arc::default(),
            started: Instant::now(),
            log: log.to_owned(),
        };
        let reader = console.clone();
        std::thread::spawn(move || reader.read_all(stream));
        console
    }

    /// Waits for `wanted` after what earlier calls have found, and returns the
    /// time since the start at which it came. Fails at once, with the
    /// console's end, when the kernel panics or the machine ends.
    pub fn expect(&self, wanted: &str, within: Duration) -> Result<Duration> {
        self.expect_any(&[wanted], within).map(|(_, when)| when)
    }

    /// Waits for whichever of `wanted` comes first; returns its index too.
    pub fn expect_any(&self, wanted: &[&str], within: Duration) -> Result<(usize, Duration)> {
        let deadline = Instant::now() + within;
        let mut state = self.state();
        loop {
            if let Some((index, end)) = first_of(&state.text[state.consumed..], wanted) {
                let end = state.consumed + end;
                state.consumed = end;
                return Ok((index, arrival(&state.arrivals, end)));
            }
            let problem = if state.ended {
                Some("the machine ended".to_owned())
            } else if first_of(&state.text, FATAL).is_some() {
                Some("the kernel panicked".to_owned())
            } else if Instant::now() >= deadline {
                Some(format!("{} s passed", within.as_secs()))
            } else {
                None
            };
            if let Some(problem) = problem {
                drop(state);
                bail!(
                    "waiting for {wanted:?} on the console: {problem}. {}",
                    self.tail()
                );
            }
            let pause = deadline.saturating_duration_since(Instant::now());
            state = self
                .shared
                .grown
                .wait_timeout(state, pause.min(Duration::from_secs(1)))
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }

    /// When `wanted` first came, since the start; wherever it stands.
    pub fn when(&self, wanted: &str) -> Option<Duration> {
        let state = self.state();
        let (_, end) = first_of(&state.text, &[wanted])?;
        Some(arrival(&state.arrivals, end))
    }

    /// All that came so far, without carriage returns and colours.
    pub fn text(&self) -> String {
        plain(&self.state().text)
    }

    /// The console's last lines, with a heading that names the log file.
    pub fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!(
            "The console's last lines (all of it: {}):\n{}",
            self.log.display(),
            tail.join("\n")
        )
    }

    fn read_all(&self, mut stream: impl Read) {
        let mut chunk = [0; 4096];
        loop {
            let count = stream.read(&mut chunk).unwrap_or(0);
            let mut state = self.state();
            state.text.extend_from_slice(&chunk[..count]);
            let length = state.text.len();
            state.arrivals.push((self.started.elapsed(), length));
            state.ended = count == 0;
            let ended = state.ended;
            drop(state);
            self.shared.grown.notify_all();
            if ended {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The text stays usable whatever happened to another reader.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The earliest of `wanted` in `text`: its index, and where it ends.
fn first_of(text: &[u8], wanted: &[&str]) -> Option<(usize, usize)> {
    wanted
        .iter()
        .enumerate()
        .filter_map(|(index, word)| {
            let start = text
                .windows(word.len())
                .position(|window| window == word.as_bytes())?;
            Some((start, index, start + word.len()))
        })
        .min()
        .map(|(_, index, end)| (index, end))
}

fn arrival(arrivals: &[(Duration, usize)], end: usize) -> Duration {
    let index = arrivals.partition_point(|(_, length)| *length < end);
    arrivals
        .get(index)
        .map_or(Duration::ZERO, |(time, _)| *time)
}

/// Takes out carriage returns and escape sequences (ECMA-48's CSI).
fn plain(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'\r' => {}
            0x1b => {
                if rest.next_if_eq(&b'[').is_some() {
                    // Parameters, up to the letter that ends the sequence.
                    while rest.next_if(|b| !(0x40..=0x7e).contains(b)).is_some() {}
                }
                rest.next();
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn console(text: &'static str) -> Console {
        Console::follow(text.as_bytes(), Path::new("/no/log"))
    }

    #[test]
    fn texts_are_found_in_order() {
        let console = console("one two one three");
        console.expect("one", SOON).unwrap();
        console.expect("one", SOON).unwrap();
        assert!(console.expect("two", SOON).is_err());
        let (index, _) = console.expect_any(&["four", "three"], SOON).unwrap();
        assert_eq!(index, 1);
    }

    #[test]
    fn an_end_and_a_panic_are_told_with_the_last_lines() {
        let ended = console("last words").expect("more", SOON).unwrap_err();
        let text = format!("{ended:#}");
        assert!(text.contains("the machine ended"), "{text}");
        assert!(text.contains("last words"), "{text}");
        let (reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let console = Console::follow(reader, Path::new("/no/log"));
        std::io::Write::write_all(&mut writer, b"Kernel panic - not syncing: VFS").unwrap();
        let panicked = console.expect("login:", SOON).unwrap_err();
        assert!(format!("{panicked:#}").contains("panicked"));
        drop(writer);
    }

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(plain(b"[\x1b[0;32m  OK  \x1b[0m] up\r\n"), "[  OK  ] up\n");
    }
}
