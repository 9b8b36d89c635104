//! Copies data through the filesystem, which works with every one.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::Copier;
use super::attributes::Extended;
use crate::init::parallel::{self, Load};
use crate::init::tree::{Entry, Segments};

/// How many files a thread takes at once: enough for the disk to be asked for
/// many at a time, and few enough for all threads to end together.
const AT_ONCE: usize = 32;

/// How much is read at once, in bytes.
const CHUNK: usize = 256 << 10;

/// Copies `files` with all that they have.
pub fn copy(copier: &Copier, files: &[&Entry]) -> Result<()> {
    let buffer = || vec![0; CHUNK];
    let work = |buffer: &mut Vec<u8>, run: &[&Entry]| {
        let mut sources = Vec::with_capacity(run.len());
        for entry in run {
            let source = copier.open(entry).with_context(|| copier.doing(entry))?;
            advise(&source, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
            sources.push(source);
        }
        for (entry, source) in run.iter().zip(sources) {
            file(copier, entry, &source, buffer).with_context(|| copier.doing(entry))?;
            // What was copied must not take RAM twice.
            advise(&source, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        Ok(())
    };
    parallel::each(Load::Processor, files, AT_ONCE, buffer, work).map(drop)
}

fn advise(file: &File, advice: PosixFadviseAdvice) {
    // It only makes things faster or smaller.
    let _ = posix_fadvise(file, 0, 0, advice);
}

fn file(copier: &Copier, entry: &Entry, source: &File, buffer: &mut [u8]) -> Result<()> {
    let target = copier.make(entry)?;
    let size = entry.size();
    if entry.is_sparse() {
        for (start, end) in Segments::of(source, size) {
            segment(source, &target, start, end, buffer)?;
        }
    } else {
        segment(source, &target, 0, size, buffer)?;
    }
    copier.finish(&target, entry, &Extended::of_open(source)?)
}

fn segment(source: &File, target: &File, start: u64, end: u64, buffer: &mut [u8]) -> Result<()> {
    let mut at = start;
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(usize::MAX);
        let chunk = &mut buffer[..most.min(CHUNK)];
        let count = source.read_at(chunk, at).context("reading")?;
        if count == 0 {
            bail!("reading: it ends at byte {at} of {end}");
        }
        target
            .write_all_at(&chunk[..count], at)
            .context("writing into RAM")?;
        at += count as u64;
    }
    Ok(())
}
