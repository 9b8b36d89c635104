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
    let holders = holders(Path::new(SYS), path)?;
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
            Err(_) if !holders.is_empty() => {
                findings.obstacle(standing_on(path, &holders));
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

/// Where the kernel shows its block devices.
const SYS: &str = "/sys/class/block";

/// A device that stands on the disk or a partition of it: its kernel name, and
/// how people know it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    kernel: String,
    name: Option<String>,
}

fn holders(sys: &Path, path: &Path) -> Result<Vec<Holder>> {
    let metadata = std::fs::metadata(path)?;
    let disk = running::kernel_name(metadata.rdev())?;
    Ok(holders_of(sys, &disk))
}

fn holders_of(sys: &Path, disk: &str) -> Vec<Holder> {
    let directory = sys.join(disk);
    let mut parts = running::names_in(&directory);
    parts.retain(|part| directory.join(part).join("partition").exists());
    parts.push(disk.to_owned());
    let mut found: Vec<Holder> = Vec::new();
    for part in parts {
        for kernel in running::names_in(sys.join(part).join("holders")) {
            let name = std::fs::read_to_string(sys.join(&kernel).join("dm/name"));
            let name = name.ok().map(|name| name.trim().to_owned());
            let holder = Holder { kernel, name };
            if !found.contains(&holder) {
                found.push(holder);
            }
        }
    }
    found
}

/// A disk's flag does not keep from it what comes through a device above it,
/// and what is not mounted now may be in a moment.
fn standing_on(path: &Path, holders: &[Holder]) -> String {
    let names: Vec<_> = holders
        .iter()
        .map(|holder| match &holder.name {
            Some(name) => format!("{} ({name})", holder.kernel),
            None => holder.kernel.clone(),
        })
        .collect();
    let is_array = |holder: &Holder| holder.kernel.starts_with("md");
    let mut advice = Vec::new();
    if holders.iter().any(|holder| !is_array(holder)) {
        advice.push("vgchange --activate n for logical volumes, cryptsetup close or dmsetup remove for others");
    }
    if holders.iter().any(is_array) {
        advice.push("mdadm --stop for arrays");
    }
    format!(
        "{} has active devices on it, through which it could be written to while it is copied: {}; \
         stop them first ({})",
        path.display(),
        names.join(", "),
        advice.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_on_a_disk_is_named_with_how_to_stop_it() {
        let sys = tempfile::tempdir().unwrap();
        let make = |path: &str| std::fs::create_dir_all(sys.path().join(path)).unwrap();
        let write = |path: &str, text: &str| std::fs::write(sys.path().join(path), text).unwrap();
        for path in ["sda/holders", "sda/sda1", "sda/queue", "sda1/holders/dm-0"] {
            make(path);
        }
        write("sda/sda1/partition", "1\n");
        make("dm-0/dm");
        write("dm-0/dm/name", "vg-data\n");
        let dm = Holder {
            kernel: "dm-0".to_owned(),
            name: Some("vg-data".to_owned()),
        };
        assert_eq!(holders_of(sys.path(), "sda"), std::slice::from_ref(&dm));
        assert_eq!(holders_of(sys.path(), "sdb"), []);
        make("sda/holders/md127");
        let all = holders_of(sys.path(), "sda");
        assert_eq!(all.len(), 2);
        let text = standing_on(Path::new("/dev/sda"), &all);
        for part in [
            "/dev/sda",
            "dm-0 (vg-data)",
            "vgchange --activate n",
            "md127",
            "mdadm --stop",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!standing_on(Path::new("/dev/sda"), &[dm]).contains("mdadm"));
    }
}
