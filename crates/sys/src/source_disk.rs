//! A whole disk that is only read: a block device, or a regular file that
//! holds a disk's image. Nobody who keeps to locks writes to it meanwhile.

mod lock;

use std::fs::{File, Metadata, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Whence, lseek};

use crate::block;

/// Shorter holes count as data, in bytes: a guest can punch millions of them,
/// and each would take memory.
const LEAST_HOLE: u64 = 1 << 20;

/// A disk opened for reading alone.
#[derive(Debug)]
pub struct SourceDisk {
    path: PathBuf,
    file: File,
    size: u64,
    sector_size: u32,
    /// Of a regular file, its state when it was opened. A block device tells of
    /// no changes, nor of holes.
    image: Option<State>,
}

/// What changes with a file's contents, or when it becomes another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    place: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    fn of(file: &Metadata) -> Self {
        Self {
            place: (file.dev(), file.ino()),
            size: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

impl SourceDisk {
    /// Opens the disk at `path`. Fails if it is missing, neither block device
    /// nor regular file, or locked by a program that writes to it, such as a
    /// running virtual machine. It keeps such programs out for as long as it
    /// lives.
    pub fn open(path: &Path) -> Result<Self> {
        Self::try_open(path).with_context(|| format!("opening the disk {}", path.display()))
    }

    fn try_open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            // A FIFO must not have us wait for its writer.
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path)?;
        let metadata = file.metadata()?;
        let is_block = metadata.file_type().is_block_device();
        if !is_block && !metadata.is_file() {
            bail!("it is neither a block device nor a regular file");
        }
        lock::keep_writers_out(&file)?;
        // Behind the lock, or a last write before it would count.
        let metadata = file.metadata()?;
        let (size, sector_size) = if is_block {
            let size = block::size(&file).context("asking for its size")?;
            let sector = block::sector_size(&file).context("asking for its sector size")?;
            (size, sector)
        } else {
            (metadata.len(), 512)
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            sector_size,
            image: (!is_block).then(|| State::of(&metadata)),
        })
    }

    /// Where the disk is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open disk.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Logical sector size in bytes.
    pub fn sector_size(&self) -> u32 {
        self.sector_size
    }

    /// Fails if an image file was written to, or replaced, since it was opened:
    /// not everybody keeps to locks.
    pub fn check_unchanged(&self) -> Result<()> {
        let Some(then) = self.image else {
            return Ok(());
        };
        let path = self.path.display();
        let doing = || format!("examining {path}");
        let open = State::of(&self.file.metadata().with_context(doing)?);
        ensure!(
            open == then,
            "{path} was written to while it was read, so what was read may be damaged: stop what \
             writes to it, such as a virtual machine"
        );
        let named = std::fs::metadata(&self.path).with_context(doing)?;
        ensure!(
            State::of(&named).place == then.place,
            "{path} was replaced by another file while it was read"
        );
        Ok(())
    }

    /// The parts of `range` that may hold something else than zeros, in
    /// ascending order: all of it, or what an image file has no holes of a
    /// MiB or more for.
    pub fn data(&self, range: Range<u64>) -> Result<Vec<Range<u64>>> {
        if self.image.is_none() {
            return Ok(vec![range]);
        }
        let mut found: Vec<Range<u64>> = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let Some(start) = self.seek(at, Whence::SeekData)? else {
                break;
            };
            if start >= range.end {
                break;
            }
            let end = self.seek(start, Whence::SeekHole)?.unwrap_or(range.end);
            let end = end.min(range.end);
            match found.last_mut() {
                Some(last) if start - last.end < LEAST_HOLE => last.end = end,
                _ => found.push(start..end),
            }
            at = end;
        }
        Ok(found)
    }

    /// The next place of that kind; `None` after the last data.
    fn seek(&self, from: u64, whence: Whence) -> Result<Option<u64>> {
        match lseek(&self.file, i64::try_from(from)?, whence) {
            Ok(place) => Ok(Some(u64::try_from(place)?)),
            Err(Errno::ENXIO) => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("looking for holes in {}", self.path.display()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::disk::Disk;

    #[test]
    fn holes_are_left_out() {
        let image = tempfile::NamedTempFile::new().unwrap();
        let file = image.as_file();
        file.set_len(8 << 20).unwrap();
        let data = |range| SourceDisk::open(image.path()).unwrap().data(range).unwrap();
        assert_eq!(data(0..8 << 20), []);
        file.write_all_at(&[1; 4096], 1 << 20).unwrap();
        file.write_all_at(&[1; 4096], 6 << 20).unwrap();
        let (one, six) = (1 << 20, 6 << 20);
        assert_eq!(data(0..8 << 20), [one..one + 4096, six..six + 4096]);
        assert_eq!(
            data(one + 1024..six + 512),
            [one + 1024..one + 4096, six..six + 512]
        );
        for at in (0..64).map(|number| six + number * 16384) {
            file.write_all_at(&[1; 4096], at).unwrap();
        }
        let last = six + 63 * 16384 + 4096;
        assert_eq!(data(0..8 << 20), [one..one + 4096, six..last]);
    }

    #[test]
    fn a_disk_in_use_is_refused_and_a_strange_one_too() {
        let image = p2v_testing::image(8 << 20);
        let claimed = Disk::claim(image.path()).unwrap();
        let text = format!("{:#}", SourceDisk::open(image.path()).unwrap_err());
        assert!(text.contains("stop the instance"), "{text}");
        drop(claimed);
        assert_eq!(SourceDisk::open(image.path()).unwrap().size(), 8 << 20);
        for strange in ["/", "/dev/null", "/nonexistent"] {
            let text = format!("{:#}", SourceDisk::open(Path::new(strange)).unwrap_err());
            assert!(text.contains(strange), "{text}");
        }
    }

    #[test]
    fn an_image_that_changes_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        std::fs::write(&path, [0; 4096]).unwrap();
        let disk = SourceDisk::open(&path).unwrap();
        disk.check_unchanged().unwrap();
        // Until the clock by which files' times go has moved on.
        let before = disk.file().metadata().unwrap().modified().unwrap();
        while std::fs::metadata(&path).unwrap().modified().unwrap() == before {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(b"x", 100).unwrap();
        }
        let text = format!("{:#}", disk.check_unchanged().unwrap_err());
        assert!(text.contains("written to while it was read"), "{text}");
        let disk = SourceDisk::open(&path).unwrap();
        let other = directory.path().join("other");
        std::fs::write(&other, [0; 4096]).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(disk.check_unchanged().is_err());
    }
}
