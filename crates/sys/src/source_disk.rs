//! A whole disk that is only read: a block device, or a regular file that
//! holds a disk's image.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::unistd::{Whence, lseek};

use crate::{block, interrupt};

/// How long a lock is waited for: what a killed program held, or a child that
/// is just being started, is free a moment later.
const PATIENCE: Duration = Duration::from_secs(2);

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
    /// It is a regular file; a block device does not tell of its holes.
    may_have_holes: bool,
}

impl SourceDisk {
    /// Opens the disk at `path`. Fails if it is missing, neither block device
    /// nor regular file, or locked by a program that writes to it, such as a
    /// running virtual machine.
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
        check_lock(&file)?;
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
            may_have_holes: !is_block,
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

    /// The parts of `range` that may hold something else than zeros, in
    /// ascending order: all of it, or what an image file has no holes of a
    /// MiB or more for.
    pub fn data(&self, range: Range<u64>) -> Result<Vec<Range<u64>>> {
        if !self.may_have_holes {
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

/// Fails if a program holds a lock that forbids others to read a consistent
/// disk, and does not let go soon: QEMU locks parts of its images while a
/// machine runs.
fn check_lock(file: &File) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while is_locked(file).context("asking for its locks")? {
        interrupt::check()?;
        if Instant::now() >= deadline {
            bail!(
                "another program, such as a running virtual machine, has locked it; what is read \
                 while it is written would be damaged: stop the instance first"
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn is_locked(file: &File) -> nix::Result<bool> {
    let mut all = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut all))?;
    Ok(all.l_type != libc::F_UNLCK as libc::c_short)
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
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(8 << 20).unwrap();
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
}
