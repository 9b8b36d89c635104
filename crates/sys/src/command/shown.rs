//! A program's output shown as it comes, its end remembered for the error.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::{GRACE, STDERR_TAIL};

/// The longest line that is waited for, in bytes.
const LONGEST_LINE: usize = 16 << 10;

/// Who gets the lines, if not our standard error.
static LISTENER: OnceLock<fn(&str)> = OnceLock::new();

/// From now on, what programs show goes to `listener`, line by line, instead of
/// to our standard error as it comes. Only the first call counts.
pub fn pass_output_to(listener: fn(&str)) {
    // A log is started once.
    let _ = LISTENER.set(listener);
}

/// A program's output on its way to our standard error, its end remembered.
pub(super) struct Shown {
    words: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Shown {
    /// Starts the copying; the program is to write to the returned end.
    pub(super) fn start() -> Result<(Self, OwnedFd)> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).context("making a pipe")?;
        let words = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = sync_channel(0);
        let remembered = Arc::clone(&words);
        std::thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                copy_output(File::from(reader), &remembered);
                drop(end);
            })
            .context("starting a thread")?;
        Ok((Self { words, ended }, writer))
    }

    /// What the program wrote last. A daemon that it left behind may keep the
    /// pipe open: what comes within the grace is waited for, no more.
    pub(super) fn last_words(self) -> Vec<u8> {
        let _ = self.ended.recv_timeout(GRACE);
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *words)
    }
}

fn copy_output(mut reader: File, words: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    let mut lines = Lines(Vec::new());
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                match LISTENER.get() {
                    Some(listener) => lines.take(&buffer[..length], listener),
                    // Nobody may be listening: the program must not stop for it.
                    None => drop(std::io::stderr().write_all(&buffer[..length])),
                }
                let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
                words.extend_from_slice(&buffer[..length]);
                let surplus = words.len().saturating_sub(STDERR_TAIL);
                words.drain(..surplus);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// What has come of a line that has no end yet; passed on when dropped.
struct Lines(Vec<u8>);

impl Lines {
    fn take(&mut self, bytes: &[u8], listener: &fn(&str)) {
        for &byte in bytes {
            let ends = byte == b'\n' || byte == b'\r';
            if !ends {
                self.0.push(byte);
            }
            if ends || self.0.len() >= LONGEST_LINE {
                self.pass(listener);
            }
        }
    }

    /// An empty line tells nothing.
    fn pass(&mut self, listener: &fn(&str)) {
        let line = std::mem::take(&mut self.0);
        if !line.is_empty() {
            listener(&String::from_utf8_lossy(&line));
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(listener) = LISTENER.get() {
            self.pass(listener);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

    #[test]
    fn lines_are_whole_however_they_come_and_bounded() {
        let listener: fn(&str) = |line| HEARD.lock().unwrap().push(line.to_owned());
        let mut lines = Lines(Vec::new());
        for piece in [&b"on"[..], b"e\n\ntw", b"o\xff\r", b"thr", b"ee"] {
            lines.take(piece, &listener);
        }
        lines.pass(&listener);
        lines.take(&[b'x'; LONGEST_LINE + 1], &listener);
        lines.pass(&listener);
        let heard = HEARD.lock().unwrap();
        assert_eq!(heard[..3], ["one", "two\u{fffd}", "three"]);
        assert_eq!(
            heard[3..].iter().map(String::len).collect::<Vec<_>>(),
            [LONGEST_LINE, 1]
        );
    }
}
