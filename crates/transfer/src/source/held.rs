//! A disk of the source, held so that nothing writes to it: the kernel refuses
//! writes to it and its partitions, and nobody else can mount them.
//!
//! A regular file has no such flag: it is locked as QEMU locks its images, and
//! whether it stayed as it was is looked at again. After a SIGKILL the flag
//! stays until `blockdev --setrw` or a restart takes it away.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::libc;
use p2v_sys::source_disk::SourceDisk;
use p2v_sys::{block, interrupt};

use super::findings::Findings;
use super::running;

/// How long a device may be busy: udev and others look at disks briefly.
const PATIENCE: Duration = Duration::from_secs(2);

/// A disk or image, open until this is closed or dropped.
#[derive(Debug)]
pub struct HeldDisk {
    /// The disk.
    pub disk: SourceDisk,
    /// Its kernel name, of a block device.
    pub kernel_name: Option<String>,
    /// Open alone: no mount, RAID array or volume group can take it.
    exclusive: Option<File>,
    /// What was made read-only here, and could be written to before.
    protected: Vec<PathBuf>,
}

impl HeldDisk {
    /// Opens the disk and protects it.
    ///
    /// # Errors
    /// It is missing, or in use.
    pub fn open(path: &Path, findings: &mut Findings) -> Result<Self> {
        // Before it is opened: this says more than an error would.
        check_unused(path)?;
        let disk = SourceDisk::open(path)?;
        let metadata = disk.file().metadata();
        let metadata = metadata.with_context(|| format!("examining {}", path.display()))?;
        let is_block = metadata.file_type().is_block_device();
        let kernel_name = match is_block {
            true => Some(running::kernel_name(metadata.rdev())?),
            false => None,
        };
        if let Some(name) = &kernel_name {
            check_whole(path, name)?;
        }
        let exclusive = match is_block {
            true => open_alone(path, findings)?,
            false => None,
        };
        let mut held = Self {
            disk,
            kernel_name,
            exclusive,
            protected: Vec::new(),
        };
        held.protect()?;
        // Between the first look and the claim somebody may have mounted it.
        check_unused(path)?;
        Ok(held)
    }

    fn protect(&mut self) -> Result<()> {
        let Some(name) = &self.kernel_name else {
            return Ok(());
        };
        let mut devices = vec![self.disk.path().to_owned()];
        let partitions = running::partitions(name).into_iter();
        devices.extend(partitions.map(|partition| Path::new("/dev").join(partition)));
        for device in devices.into_iter().filter(|device| device.exists()) {
            let doing = || format!("making {} read-only", device.display());
            let file = File::open(&device).with_context(doing)?;
            if !block::is_read_only(&file).with_context(doing)? {
                block::set_read_only(&file, true).with_context(doing)?;
                self.protected.push(device);
            }
        }
        Ok(())
    }

    /// Lets it go; it may be written to again, if it could be before.
    pub fn close(mut self) -> Result<()> {
        self.release()
    }

    fn release(&mut self) -> Result<()> {
        let mut result = Ok(());
        // A partition can only be writable when its disk is.
        for device in std::mem::take(&mut self.protected) {
            let doing = || format!("making {} writable again", device.display());
            let released = File::open(&device)
                .with_context(doing)
                .and_then(|file| block::set_read_only(&file, false).with_context(doing));
            result = result.and(released);
        }
        self.exclusive = None;
        result
    }
}

impl Drop for HeldDisk {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::warn!("{error:#}");
        }
    }
}

fn check_whole(path: &Path, name: &str) -> Result<()> {
    let directory = PathBuf::from("/sys/class/block").join(name);
    if !directory.join("partition").exists() {
        return Ok(());
    }
    let parent = std::fs::canonicalize(&directory).unwrap_or_default();
    let parent = parent.parent().and_then(Path::file_name);
    let parent = parent.unwrap_or_default().to_string_lossy();
    bail!(
        "{} is a partition: name the whole disk, /dev/{parent}",
        path.display()
    );
}

fn check_unused(path: &Path) -> Result<()> {
    let uses = running::uses(path)?;
    if uses.is_empty() {
        return Ok(());
    }
    let uses: Vec<String> = uses.iter().map(ToString::to_string).collect();
    bail!(
        "{} is in use by the running system ({}): start the machine from a live medium, or \
         unmount it; what is read while it is written would be damaged",
        path.display(),
        uses.join(", ")
    );
}

fn open_alone(path: &Path, findings: &mut Findings) -> Result<Option<File>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let result = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_EXCL | libc::O_CLOEXEC)
            .open(path);
        match result {
            Ok(file) => return Ok(Some(file)),
            Err(error) if error.raw_os_error() != Some(libc::EBUSY) => {
                return Err(error).with_context(|| format!("opening {}", path.display()));
            }
            Err(_) if has_idle_holder(path)? => {
                findings.remark(format!(
                    "{} has active logical volumes or the like on it, which are not mounted; \
                     do not mount them meanwhile",
                    path.display()
                ));
                return Ok(None);
            }
            Err(_) if Instant::now() >= deadline => bail!(
                "{} is in use by another program, such as a ZFS pool or another inspection: \
                 stop that first",
                path.display()
            ),
            Err(_) => {
                interrupt::check()?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Whether a device stands on it; that it is not used, was looked at before.
fn has_idle_holder(path: &Path) -> Result<bool> {
    let metadata = std::fs::metadata(path)?;
    let name = running::kernel_name(metadata.rdev())?;
    let holders =
        |name: &String| !running::names_in(format!("/sys/class/block/{name}/holders")).is_empty();
    let partitions = running::partitions(&name);
    Ok(holders(&name) || partitions.iter().any(holders))
}
