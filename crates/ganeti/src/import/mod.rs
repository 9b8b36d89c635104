//! Ganeti's `import`: a stream from standard input onto a disk.
//!
//! What kind of stream it is, its first bytes tell. Ganeti only warns when an
//! import fails, and starts the instance all the same: so a disk whose import
//! failed does not boot.

pub(crate) mod dump;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;

use anyhow::{Context, Error, Result, bail};
use p2v_backup::restore::{self, Places, Untouched};
use p2v_backup::stream::{MAGIC, StreamReader};
use p2v_sys::disk::Disk;

use crate::attached::AttachedDisk;
use crate::environment::Environment;
use crate::job::{Access, DiskJob};

/// Enough of the stream to tell what it is.
const HEAD: usize = dump::HEADER;

/// Said of a stream that is neither kind.
const FOREIGN_HINT: &str = "import what an export with this OS or with instance-debootstrap wrote, \
    without Ganeti's compression";

/// Restores the disk that the environment names.
///
/// # Errors
/// The environment is wrong, the stream is of no known kind, or its disk does
/// not fit: nothing was written then. Whatever fails later leaves the disk
/// unbootable, and says so.
pub fn run(environment: &Environment) -> Result<()> {
    let job = environment.import_job()?;
    let doing = || format!("importing disk {} of {}", job.index, job.job.instance);
    let mut attached = AttachedDisk::open(&job.disk, &environment.paths()?).with_context(doing)?;
    if job.disk.access == Access::ReadOnly {
        bail!("{}: the instance may only read it", doing());
    }
    let disk = Disk::claim(attached.path()).with_context(doing)?;
    let input = File::from(
        io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .with_context(doing)?,
    );
    let places = make_places(environment).with_context(doing)?;
    restore(environment, &disk, &job, input, &places.borrowed()).map_err(|error| {
        if error.is::<Untouched>() {
            return error.context(doing());
        }
        leave_unbootable(&disk, &job, attached.explain(error))
    })?;
    drop(disk);
    attached.close().with_context(doing)?;
    tracing::info!("imported disk {} of {}", job.index, job.job.instance);
    Ok(())
}

/// Where on the node an import works: nobody else sees what it mounts, and it
/// leaves no file.
struct OwnPlaces {
    mount_point: PathBuf,
    spill: PathBuf,
}

impl OwnPlaces {
    fn borrowed(&self) -> Places<'_> {
        Places {
            mount_point: &self.mount_point,
            spill: &self.spill,
        }
    }
}

fn make_places(environment: &Environment) -> Result<OwnPlaces> {
    let paths = environment.paths()?;
    let places = OwnPlaces {
        mount_point: paths.target_dir(),
        spill: paths.cache_dir,
    };
    for directory in [&places.mount_point, &places.spill] {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("making {}", directory.display()))?;
    }
    Ok(places)
}

fn restore(
    environment: &Environment,
    disk: &Disk,
    job: &DiskJob,
    mut input: File,
    places: &Places,
) -> Result<()> {
    let mut head = Vec::with_capacity(HEAD);
    input
        .by_ref()
        .take(HEAD as u64)
        .read_to_end(&mut head)
        .context("reading the stream")?;
    if dump::is_dump(&head) {
        return dump::restore(disk, job, &environment.paths()?, head, input);
    }
    if !head.starts_with(MAGIC) {
        let what = match head.is_empty() {
            true => "empty",
            false => "neither an export of this program nor a dump",
        };
        bail!("reading the stream: it is {what}; {FOREIGN_HINT}");
    }
    let mut stream = StreamReader::start(head.as_slice().chain(input))?;
    restore::restore(&mut stream, disk, places)
}

/// Makes sure that a disk whose import failed does not boot, and says so.
fn leave_unbootable(disk: &Disk, job: &DiskJob, error: Error) -> Error {
    let doing = format!("importing disk {} of {}", job.index, job.job.instance);
    let path = disk.path().display();
    match disk.wipe_edges() {
        Ok(()) => error.context(format!("{doing} ({path} is left unbootable on purpose)")),
        Err(wiping) => error.context(format!(
            "{doing} (and wiping {path} failed too: {wiping:#})"
        )),
    }
}
