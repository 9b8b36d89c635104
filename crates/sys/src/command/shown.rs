//! A program's output shown as it comes, its end remembered for the error.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::{GRACE, STDERR_TAIL};

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
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                // Nobody may be listening: the program must not stop for it.
                let _ = std::io::stderr().write_all(&buffer[..length]);
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
