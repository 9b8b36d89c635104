//! A whole disk that is ours for the time: a block device, or a regular file
//! that holds a disk's image.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, fallocate, fcntl};
use nix::libc;
use nix::sys::statvfs::fstatvfs;

use crate::loopdev::{self, Extent, LoopDevice};
use crate::{block, interrupt};

/// How much of the start and end of a disk or partition is wiped: 1 MiB. There
/// lie the signatures that probers know: partition tables and their backups,
/// boot code, superblocks, LVM's label, md's superblocks of every version,
/// ZFS's four labels.
const EDGE: u64 = 1 << 20;

/// Where LUKS2 keeps its second header if the first is a large one, in bytes:
/// the only signature that lies deeper, and a filesystem need not write there.
/// See <https://gitlab.com/cryptsetup/LUKS2-docs>.
const DEEPER: [u64; 3] = [1 << 20, 2 << 20, 4 << 20];

/// Long enough for a signature, and a whole sector of any disk.
const DEEPER_LENGTH: u64 = 4096;

/// How long a claim waits for a disk in use.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a disk may be free in a moment.
#[derive(Debug)]
struct InUse(String);

impl std::fmt::Display for InUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it is in use: {}", self.0)
    }
}

impl std::error::Error for InUse {}

/// What a disk is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A block device.
    Block,
    /// A regular file.
    File,
}

/// A disk claimed for exclusive use. Nothing is written by claiming it.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    kind: Kind,
    size: u64,
    sector_size: u32,
    /// Holds the claim.
    file: File,
}

impl Disk {
    /// Claims the disk at `path`: fails if it is missing, neither block device
    /// nor regular file, or in use (mounted, attached elsewhere, or open in a
    /// running virtual machine) for two seconds: what a killed create held is
    /// free a moment after it.
    pub fn claim(path: &Path) -> Result<Self> {
        Self::claim_within(path, PATIENCE)
    }

    /// The same with so long a wait. The kernel lets a killed program's disk go
    /// once all is written out, and a loop device once nobody looks at it.
    pub fn claim_within(path: &Path, patience: Duration) -> Result<Self> {
        let doing = || format!("claiming the disk {}", path.display());
        let deadline = Instant::now() + patience;
        loop {
            match Self::try_claim(path) {
                Err(error) if error.is::<InUse>() && Instant::now() < deadline => {
                    interrupt::check().with_context(doing)?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                result => return result.with_context(doing),
            }
        }
    }

    fn try_claim(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path)?;
        let file_type = metadata.file_type();
        let kind = if file_type.is_block_device() {
            Kind::Block
        } else if file_type.is_file() {
            Kind::File
        } else {
            bail!("it is neither a block device nor a regular file");
        };
        // On a block device O_EXCL claims it from mounts, device-mapper and md.
        let exclusive = if kind == Kind::Block { libc::O_EXCL } else { 0 };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(exclusive | libc::O_CLOEXEC)
            .open(path);
        let file = match file {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                return Err(InUse("mounted, or held by another device".to_owned()).into());
            }
            other => other?,
        };
        lock(&file)?;
        if let Some(user) = loopdev::users_of(path)?.first() {
            return Err(InUse(format!("attached to {}", user.display())).into());
        }
        let (size, sector_size) = match kind {
            Kind::File => (metadata.len(), 512),
            Kind::Block => (
                block::size(&file).context("asking for its size")?,
                block::sector_size(&file).context("asking for its sector size")?,
            ),
        };
        Ok(Self {
            path: path.to_owned(),
            kind,
            size,
            sector_size,
            file,
        })
    }

    /// Where the disk is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Block device or regular file.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Logical sector size in bytes, the unit of its partition table.
    pub fn sector_size(&self) -> u32 {
        self.sector_size
    }

    /// How many bytes can be written to the disk before what holds it is full:
    /// for a sparse file what it has and what its filesystem has left.
    pub fn room(&self) -> Result<u64> {
        if self.kind == Kind::Block {
            return Ok(self.size);
        }
        let doing = || format!("asking for the space that {} has", self.path.display());
        let held = self.file.metadata().with_context(doing)?.blocks() * 512;
        let around = fstatvfs(&self.file).with_context(doing)?;
        let free = around.blocks_available() * around.fragment_size();
        Ok(self.size.min(held.saturating_add(free)))
    }

    /// Shows a part of the disk as a block device.
    pub fn part(&self, extent: Extent) -> Result<LoopDevice> {
        LoopDevice::attach(&self.path, extent, false)
    }

    /// Reads exactly `bytes.len()` bytes at byte `offset`.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.file
            .read_exact_at(bytes, offset)
            .with_context(|| format!("reading {} at byte {offset}", self.path.display()))
    }

    /// Writes bytes at byte `offset`.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file
            .write_all_at(bytes, offset)
            .with_context(|| format!("writing {} at byte {offset}", self.path.display()))
    }

    /// Makes `length` bytes at byte `offset` read as zeros: a hole in a file,
    /// and whatever a device does for it.
    pub fn zero(&self, offset: u64, length: u64) -> Result<()> {
        let doing = || format!("zeroing {} at byte {offset}", self.path.display());
        let quick = match self.kind {
            Kind::File => fallocate(
                &self.file,
                FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE,
                i64::try_from(offset)?,
                i64::try_from(length)?,
            ),
            Kind::Block => block::zero_out(&self.file, offset, length),
        };
        match quick {
            Ok(()) => Ok(()),
            // Parts of sectors, or a filesystem without holes.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOTTY) => {
                self.write_zeros(offset, length)
            }
            Err(error) => Err(error).with_context(doing),
        }
    }

    fn write_zeros(&self, mut offset: u64, length: u64) -> Result<()> {
        let end = offset + length;
        let zeros = vec![0; usize::try_from(EDGE.min(length))?];
        while offset < end {
            let now = (end - offset).min(EDGE);
            self.write_at(&zeros[..now as usize], offset)?;
            offset += now;
        }
        Ok(())
    }

    /// Flushes what was written to the medium.
    pub fn sync(&self) -> Result<()> {
        self.file
            .sync_all()
            .with_context(|| format!("flushing {}", self.path.display()))
    }

    /// Has the kernel read the partition table anew, once those who look at the
    /// old partitions have let go. Whether it did: it has no partitions of
    /// files, nor of some devices.
    pub fn reread_partitions(&self) -> Result<bool> {
        let doing = || format!("reading the partitions of {} anew", self.path.display());
        let deadline = Instant::now() + PATIENCE * 3;
        loop {
            match block::reread_partitions(&self.file) {
                Ok(()) => return Ok(true),
                Err(Errno::EINVAL | Errno::ENOTTY) => return Ok(false),
                Err(Errno::EBUSY) if Instant::now() < deadline => {
                    interrupt::check().with_context(doing)?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) => return Err(error).with_context(doing),
            }
        }
    }

    /// Makes the disk unbootable, and empty to every prober.
    ///
    /// # Errors
    /// Writing failed: the disk may still start.
    pub fn wipe_edges(&self) -> Result<()> {
        self.wipe(0, self.size)?;
        self.sync()
    }

    /// Makes a part of the disk empty to every prober: zeroes its first and
    /// last MiB and what signatures may lie between. Not flushed.
    pub fn wipe(&self, offset: u64, length: u64) -> Result<()> {
        let edge = EDGE.min(length);
        let zeros = vec![0; usize::try_from(edge)?];
        self.write_at(&zeros, offset)?;
        for deeper in DEEPER {
            if deeper + DEEPER_LENGTH <= length {
                self.write_at(&[0; DEEPER_LENGTH as usize], offset + deeper)?;
            }
        }
        self.write_at(&zeros, offset + length - edge)
    }
}

/// Locks all of the disk, as QEMU does with parts of its images: it fails if a
/// virtual machine runs on the disk or another create works on it, and neither
/// can start while we do. The lock goes when `disk` is closed.
fn lock(disk: &File) -> Result<()> {
    let all = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(disk, FcntlArg::F_OFD_SETLK(&all)) {
        Ok(_) => Ok(()),
        Err(Errno::EAGAIN | Errno::EACCES) => {
            let who = "another program, such as a running virtual machine or another create, \
                       has locked it";
            Err(InUse(who.to_owned()).into())
        }
        Err(error) => Err(error).context("locking it"),
    }
}

#[cfg(test)]
mod tests;
