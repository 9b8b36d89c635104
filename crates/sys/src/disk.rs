//! A whole disk that is ours for the time: a block device, or a regular file
//! that holds a disk's image.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::libc;

use crate::lock::FileLock;
use crate::loopdev::{self, Extent, LoopDevice};

/// The requests of linux/fs.h.
mod ioctl {
    #![allow(missing_docs)]
    nix::ioctl_read!(blkgetsize64, 0x12, 114, u64);
    nix::ioctl_read_bad!(blksszget, 0x1268, nix::libc::c_int);
}

/// How much of the start and end of a disk or partition is wiped: 1 MiB. Every
/// signature that probers know lies there: partition tables and their backups,
/// boot code, superblocks, LVM's label, md's superblocks of every version,
/// ZFS's four labels.
const EDGE: u64 = 1 << 20;

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
    file: File,
    _lock: Option<FileLock>,
}

impl Disk {
    /// Claims the disk at `path`: fails if it is missing, neither block device
    /// nor regular file, or in use (mounted, attached elsewhere, or open in a
    /// running virtual machine).
    pub fn claim(path: &Path) -> Result<Self> {
        let doing = || format!("claiming the disk {}", path.display());
        let metadata = std::fs::metadata(path).with_context(doing)?;
        let file_type = metadata.file_type();
        let kind = if file_type.is_block_device() {
            Kind::Block
        } else if file_type.is_file() {
            Kind::File
        } else {
            bail!(
                "{}: it is neither a block device nor a regular file",
                doing()
            );
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
                bail!(
                    "{}: it is in use (mounted, or held by another device)",
                    doing()
                )
            }
            other => other.with_context(doing)?,
        };
        let mut lock = None;
        if kind == Kind::File {
            lock = Some(claim_file(&file, path).with_context(doing)?);
        }
        let (size, sector_size) = match kind {
            Kind::File => (metadata.len(), 512),
            Kind::Block => block_geometry(&file).with_context(doing)?,
        };
        Ok(Self {
            path: path.to_owned(),
            kind,
            size,
            sector_size,
            file,
            _lock: lock,
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

    /// Flushes what was written to the medium.
    pub fn sync(&self) -> Result<()> {
        self.file
            .sync_all()
            .with_context(|| format!("flushing {}", self.path.display()))
    }

    /// Makes the disk unbootable, and empty to every prober.
    pub fn wipe_edges(&self) -> Result<()> {
        self.wipe(0, self.size)?;
        self.sync()
    }

    /// Makes a part of the disk empty to every prober: zeroes its first and
    /// last MiB. Not flushed.
    pub fn wipe(&self, offset: u64, length: u64) -> Result<()> {
        let edge = EDGE.min(length);
        let zeros = vec![0; usize::try_from(edge)?];
        self.write_at(&zeros, offset)?;
        self.write_at(&zeros, offset + length - edge)
    }
}

/// A file has no kernel-side claim: look at loop devices, at the byte-range
/// locks that QEMU takes on its images, and take a lock against our own kind.
fn claim_file(file: &File, path: &Path) -> Result<FileLock> {
    let users = loopdev::users_of(path)?;
    if let Some(user) = users.first() {
        bail!("it is in use: attached to {}", user.display());
    }
    let mut range = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_OFD_GETLK(&mut range))
        .context("looking for locks")?;
    if i32::from(range.l_type) != libc::F_UNLCK {
        bail!("it is in use: another program, such as a running virtual machine, has locked it");
    }
    let handle = file.try_clone().context("locking it")?;
    match FileLock::try_lock_file(handle, path)? {
        Some(lock) => Ok(lock),
        None => bail!("it is in use: another run works on it"),
    }
}

fn block_geometry(file: &File) -> Result<(u64, u32)> {
    let mut size = 0_u64;
    let mut sector = 0;
    // SAFETY: the descriptor is an open block device and the pointers are to
    // variables of the types that these calls write.
    unsafe {
        ioctl::blkgetsize64(file.as_raw_fd(), &mut size).context("asking for its size")?;
        ioctl::blksszget(file.as_raw_fd(), &mut sector).context("asking for its sector size")?;
    }
    Ok((size, u32::try_from(sector)?))
}
