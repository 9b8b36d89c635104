//! The disk while it is filled: what firmware and kernels look at first is
//! kept back until all else is there.

use std::ops::Range;

use anyhow::{Context, Error, Result, bail};
use nix::errno::Errno;
use p2v_sys::disk::Disk;

use super::fit::Fit;
use crate::stream::{AreaRole, Manifest, Record};

/// Of a disk without partitions the first bytes are written last: superblocks
/// and boot sectors lie there.
const HELD: u64 = 1 << 20;

/// More than is ever kept back: it is memory.
const MOST_HELD: u64 = 64 << 20;

/// A disk that receives a stream's areas.
#[derive(Debug)]
pub struct Target<'a> {
    disk: &'a Disk,
    /// For each area its place, and how much of its beginning is kept back.
    areas: Vec<(Range<u64>, u64)>,
    held: Vec<(u64, Vec<u8>)>,
    held_bytes: u64,
}

impl<'a> Target<'a> {
    /// Wipes the disk, and makes it ready for the areas.
    pub fn start(disk: &'a Disk, manifest: &Manifest, fit: &Fit) -> Result<Self> {
        disk.wipe_edges()?;
        let mut areas = Vec::new();
        for (area, place) in manifest.areas.iter().zip(&fit.places) {
            let held = match area.role {
                AreaRole::BootArea => u64::MAX,
                AreaRole::WholeDisk => HELD,
                AreaRole::Partition(_) => 0,
            };
            // Before any data: where partitions lie in each other, wiping
            // one's end would hit the other's content.
            if area.role != AreaRole::BootArea {
                disk.wipe(place.start, place.end - place.start)?;
            }
            areas.push((place.clone(), held));
        }
        Ok(Self {
            disk,
            areas,
            held: Vec::new(),
            held_bytes: 0,
        })
    }

    /// Writes a record's content, or keeps it.
    pub fn put(&mut self, record: &Record) -> Result<()> {
        match *record {
            Record::Data(area, offset, data) => self.data(area as usize, offset, data),
            Record::Zeros(area, offset, length) => self.zeros(area as usize, offset, length),
        }
        .map_err(|error| explain(self.disk, error))
    }

    fn data(&mut self, area: usize, offset: u64, data: &[u8]) -> Result<()> {
        let (start, held) = self.place(area, offset, data.len() as u64)?;
        let below = held.saturating_sub(offset).min(data.len() as u64);
        let (keep, rest) = data.split_at(below as usize);
        if !keep.is_empty() {
            self.hold(start, keep)?;
        }
        match rest {
            [] => Ok(()),
            rest => self.disk.write_at(rest, start + below),
        }
    }

    fn hold(&mut self, place: u64, data: &[u8]) -> Result<()> {
        self.held_bytes += data.len() as u64;
        if self.held_bytes > MOST_HELD {
            bail!("the stream has the same bytes of a boot area again and again");
        }
        self.held.push((place, data.to_vec()));
        Ok(())
    }

    /// Nothing boots from zeros: these need not wait.
    fn zeros(&mut self, area: usize, offset: u64, length: u64) -> Result<()> {
        let (start, _) = self.place(area, offset, length)?;
        self.disk.zero(start, length)
    }

    /// The byte on the disk, and how much of the area is kept back.
    fn place(&self, area: usize, offset: u64, length: u64) -> Result<(u64, u64)> {
        let Some((place, held)) = self.areas.get(area) else {
            bail!("the stream has no area {area}");
        };
        if offset.saturating_add(length) > place.end - place.start {
            bail!("the stream's area {area} has no byte {}", offset + length);
        }
        Ok((place.start + offset, *held))
    }

    /// Writes out all that is not kept back, and returns what is.
    pub fn finish(self) -> Result<Held<'a>> {
        let flushed = self.disk.sync();
        flushed.map_err(|error| explain(self.disk, error))?;
        Ok(Held {
            disk: self.disk,
            pieces: self.held,
        })
    }
}

/// What makes a disk boot, not yet written.
#[derive(Debug)]
pub struct Held<'a> {
    disk: &'a Disk,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Held<'_> {
    /// Writes it. The disk is complete then.
    pub fn write(&self) -> Result<()> {
        let mut pieces = self.pieces.iter();
        pieces
            .try_for_each(|(place, data)| self.disk.write_at(data, *place))
            .and_then(|()| self.disk.sync())
            .map_err(|error| explain(self.disk, error))
    }
}

/// A full disk below a sparse file shows as a write that fails.
pub fn explain(disk: &Disk, error: Error) -> Error {
    let full = [Errno::ENOSPC, Errno::EDQUOT, Errno::EIO];
    let errno = error.chain().find_map(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        let errno = io
            .and_then(std::io::Error::raw_os_error)
            .map(Errno::from_raw);
        errno.or_else(|| cause.downcast_ref::<Errno>().copied())
    });
    match errno {
        Some(errno) if full.contains(&errno) => error.context(format!(
            "is the filesystem or the pool that holds {} full? (`df` shows it)",
            disk.path().display()
        )),
        _ => error,
    }
}

/// Fails if the filesystem below a disk's file has not `needed` bytes for it.
pub fn check_room(disk: &Disk, needed: u64) -> Result<()> {
    let room = disk.room().context("before the first write")?;
    if room < needed.min(disk.size()) {
        bail!(
            "the filesystem that holds {} has room for {} MiB of it, and the stream's data needs \
             {} MiB; make room there",
            disk.path().display(),
            room >> 20,
            needed.div_ceil(1 << 20)
        );
    }
    Ok(())
}
