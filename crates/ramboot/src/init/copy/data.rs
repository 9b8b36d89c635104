//! The content of regular files.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::progress::Progress;
use crate::init::tree::{Entry, Segments};

const BUFFER: usize = 256 << 10;

/// A thread's own memory for the data on its way.
pub struct Buffer(Vec<u8>);

impl Buffer {
    pub fn new() -> Self {
        Self(vec![0; BUFFER])
    }
}

/// Lets the kernel begin to read a file that is copied soon.
pub fn announce(file: &File) {
    // Only advice: without it, reading is slower.
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
}

/// Copies the data of `source` into the empty `target`, keeping holes.
pub fn copy(
    source: &File,
    target: &File,
    entry: &Entry,
    buffer: &mut Buffer,
    progress: &Progress,
) -> Result<()> {
    let size = entry.size();
    if !entry.is_sparse() {
        segment(source, target, 0, size, buffer, progress)?;
    } else {
        target.set_len(size).context("setting the size")?;
        for (start, end) in Segments::of(source, size) {
            segment(source, target, start, end, buffer, progress)?;
        }
    }
    let _ = posix_fadvise(source, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    Ok(())
}

fn segment(
    source: &File,
    target: &File,
    start: u64,
    end: u64,
    buffer: &mut Buffer,
    progress: &Progress,
) -> Result<()> {
    let mut at = start;
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(usize::MAX);
        let chunk = &mut buffer.0[..most.min(BUFFER)];
        let count = source.read_at(chunk, at).context("reading")?;
        if count == 0 {
            bail!("reading: it ends at byte {at} of {end}");
        }
        target
            .write_all_at(&chunk[..count], at)
            .context("writing into RAM")?;
        at += count as u64;
        progress.add(count as u64);
    }
    Ok(())
}
