//! Ganeti's `export`: one disk as a stream on standard output.
//!
//! Ganeti runs it once for each disk, and may compress what comes. The disk is
//! only read.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use p2v_backup::export;
use p2v_sys::source_disk::SourceDisk;

use crate::attached::AttachedDisk;
use crate::environment::Environment;

/// Streams the disk that the environment names.
///
/// # Errors
/// The environment is wrong, the disk is in use or cannot be read, or nobody
/// takes the stream. What was written of it by then has no end.
pub fn run(environment: &Environment) -> Result<()> {
    let job = environment.export_job()?;
    let size_descriptor = environment.size_descriptor()?;
    let doing = || format!("exporting disk {} of {}", job.index, job.job.instance);
    let mut attached =
        AttachedDisk::open_to_read(&job.disk, &environment.paths()?).with_context(doing)?;
    let disk = SourceDisk::open(attached.path()).with_context(doing)?;
    // Unbuffered: pieces are large.
    let out = File::from(
        io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .with_context(doing)?,
    );
    let exported = export::export(&disk, out, |length| tell(size_descriptor, length));
    let exported = exported
        .map_err(|error| attached.explain(error))
        .with_context(doing)?;
    drop(disk);
    attached.close()?;
    tracing::info!(
        "exported disk {} of {}: {} MiB of data",
        job.index,
        job.job.instance,
        exported.data >> 20
    );
    Ok(())
}

/// Tells Ganeti how long the stream will be: decimal bytes, and a newline.
fn tell(descriptor: Option<i32>, length: u64) -> Result<()> {
    let Some(descriptor) = descriptor else {
        return Ok(());
    };
    // Opened anew, so that it is ours to close.
    let path = format!("/proc/self/fd/{descriptor}");
    OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut pipe| pipe.write_all(format!("{length}\n").as_bytes()))
        .with_context(|| {
            format!("telling the stream's size to descriptor {descriptor} (EXP_SIZE_FD)")
        })
}
