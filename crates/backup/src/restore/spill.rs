//! A disk that is smaller than the stream's: the stream is restored to a sparse
//! file, its last filesystem shrunk there, and the rest copied. So the disk is
//! not touched before it is certain that all fits.
//!
//! The file has no name: however this ends, it is gone.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::fstatvfs;
use p2v_sys::disk::Disk;
use p2v_sys::interrupt;
use p2v_sys::loopdev::Extent;
use p2v_sys::source_disk::SourceDisk;

use super::fit::{Fit, Resize};
use super::target::Target;
use super::{Places, resize, target};
use crate::allocation;
use crate::ranges::Ranges;
use crate::stream::{Area, AreaRole, MOST_DATA, Manifest, Record, StreamReader};
use crate::survey;
use crate::window::Window;

/// The old disk as a file without a name.
#[derive(Debug)]
pub struct Spill {
    file: File,
}

impl Spill {
    /// Makes an empty one, if the place for it has room for the stream's data.
    pub fn make(manifest: &Manifest, places: &Places) -> Result<Self> {
        let directory = places.spill.display();
        let doing = || format!("making room in {directory} to shrink a filesystem");
        let file = tempfile::tempfile_in(places.spill).with_context(doing)?;
        file.set_len(manifest.disk_size).with_context(doing)?;
        let around = fstatvfs(&file).with_context(doing)?;
        let free = around.blocks_available() * around.fragment_size();
        let needed = super::known_data(manifest);
        if free < needed {
            bail!(
                "{}: it has {} MiB free and needs {}",
                doing(),
                free >> 20,
                needed.div_ceil(1 << 20)
            );
        }
        Ok(Self { file })
    }

    /// A name by which this process can open it.
    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// Reads all of the stream into it.
    pub fn fill(&self, stream: &mut StreamReader<impl Read>, places: &Places) -> Result<()> {
        let doing = || format!("restoring to a file in {} first", places.spill.display());
        self.try_fill(stream).with_context(doing)
    }

    fn try_fill(&self, stream: &mut StreamReader<impl Read>) -> Result<()> {
        let disk = Disk::claim(&self.path())?;
        let manifest = stream.manifest().clone();
        let everything = Fit::unchanged(&manifest);
        let mut target = Target::start(&disk, &manifest, &everything)?;
        super::receive(stream, &mut target)?;
        target.finish()?.write()
    }

    /// Shrinks the filesystem that is to become smaller.
    pub fn shrink(
        &self,
        manifest: &Manifest,
        fit: &Fit,
        how: Resize,
        places: &Places,
    ) -> Result<()> {
        let (area, place) = (&manifest.areas[how.area], &fit.places[how.area]);
        let length = place.end - place.start;
        let (name, old) = (area.name(), area.length >> 20);
        tracing::info!("shrinking {name} from {old} to {} MiB", length >> 20);
        let disk = Disk::claim(&self.path())?;
        let device = disk.part(extent(area))?;
        let kind = area.content.as_deref().unwrap_or_default();
        let shrunk = resize::shrink(kind, &device, length, places.mount_point);
        device.close()?;
        shrunk.with_context(|| format!("shrinking {name} (take a larger disk)"))?;
        disk.sync().map_err(|error| target::explain(&disk, error))
    }

    /// Copies what is in use.
    pub fn copy(&self, manifest: &Manifest, fit: &Fit, target: &mut Target) -> Result<()> {
        let source = SourceDisk::open(&self.path())?;
        for (number, (area, place)) in manifest.areas.iter().zip(&fit.places).enumerate() {
            let length = place.end - place.start;
            let window = Extent {
                offset: area.offset,
                length,
            };
            let used = used(&source, manifest, area, window);
            let number = u32::try_from(number)?;
            copy_area(&source, (number, area), &used, target)?;
        }
        Ok(())
    }
}

fn extent(area: &Area) -> Extent {
    Extent {
        offset: area.offset,
        length: area.length,
    }
}

/// What of an area is in use, as far as that can be told.
fn used(source: &SourceDisk, manifest: &Manifest, area: &Area, window: Extent) -> Ranges {
    let all = || Ranges::all(window.length);
    match (area.role, &manifest.table, area.content.as_deref()) {
        (AreaRole::BootArea, Some(table), _) => survey::boot_area(table, window.length),
        (_, _, Some(kind)) if area.whole_because.is_none() => {
            let window = Window::new(source.file(), window);
            let used = allocation::used(kind, &window);
            used.map_or_else(|_| all(), |used| used.with_rest(window.length()))
        }
        _ => all(),
    }
}

/// Of what is in use, holes are zeros.
fn copy_area(
    source: &SourceDisk,
    (number, area): (u32, &Area),
    used: &Ranges,
    target: &mut Target,
) -> Result<()> {
    let mut buffer = vec![0; MOST_DATA];
    for range in used.iter() {
        let mut at = range.start;
        for data in source.data(area.offset + range.start..area.offset + range.end)? {
            let data = data.start - area.offset..data.end - area.offset;
            zeros(target, number, at..data.start)?;
            at = data.start;
            while at < data.end {
                interrupt::check().context("importing")?;
                let piece = &mut buffer[..(data.end - at).min(MOST_DATA as u64) as usize];
                Window::new(source.file(), extent(area)).read_at(piece, at)?;
                target.put(&Record::Data(number, at, piece))?;
                at += piece.len() as u64;
            }
        }
        zeros(target, number, at..range.end)?;
    }
    Ok(())
}

fn zeros(target: &mut Target, number: u32, range: std::ops::Range<u64>) -> Result<()> {
    match range.is_empty() {
        true => Ok(()),
        false => target.put(&Record::Zeros(number, range.start, range.end - range.start)),
    }
}
