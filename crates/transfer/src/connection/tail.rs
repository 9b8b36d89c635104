//! The end of what a program says on its standard error, however much it says.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

/// Bytes that are kept.
const KEPT: usize = 2000;

/// What was said last; read on a thread of its own, so that nobody waits.
#[derive(Debug)]
pub(super) struct Tail {
    kept: Arc<Mutex<VecDeque<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Tail {
    /// Reads until the end.
    pub fn of(mut from: impl Read + Send + 'static) -> Result<Self> {
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let into = Arc::clone(&kept);
        let read = move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&buffer[..count]);
                let excess = kept.len().saturating_sub(KEPT);
                kept.drain(..excess);
            }
        };
        let reader = std::thread::Builder::new()
            .name("stderr".to_owned())
            .spawn(read)
            .context("starting a thread")?;
        Ok(Self {
            kept,
            reader: Some(reader),
        })
    }

    /// All of the tail, once the program has ended.
    pub fn at_end(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        printable(&String::from_utf8_lossy(&bytes))
    }
}

/// A stranger's text, fit for a console: one line, no control characters.
pub(crate) fn printable(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.trim().replace(char::is_control, "?"))
        .filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_fit_for_a_console() {
        let mut said = "x".repeat(100_000).into_bytes();
        said.extend(b"\n\x1b]0;owned\x07\r\n\n  last \xff words\n");
        let mut tail = Tail::of(std::io::Cursor::new(said)).unwrap();
        let text = tail.at_end();
        assert!(text.len() < KEPT + 10, "{}", text.len());
        assert!(
            text.ends_with("x; ?]0;owned?; last \u{fffd} words"),
            "{text}"
        );
        assert!(!text.contains(char::is_control));
    }
}
