//! Mounts the root so that nothing is written to its disk, and looks whether
//! it is one to boot.
//!
//! A read-only mount is not enough for that: the kernel replays a dirty
//! journal, and tidies up deleted files, on a read-only mount too. So the
//! device itself is made read-only first. A filesystem that needs its journal
//! then refuses to be mounted, and is mounted again without: its last changes
//! may be missing or half done, which a warning says. We go on, since what is
//! booted is a tool to fill the disk with, and create leaves it clean.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sys::statfs::{EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, statfs};
use p2v_sys::{Mount, Root, block};

use super::block_device::BlockDevice;
use super::cmdline::CommandLine;
use super::console;
use super::drivers::Drivers;
use super::superblock;
use crate::{INCOMPLETE, INITS};

/// Where the disk's root is mounted in the initrd.
pub const DISK: &str = "/disk";

/// The mounted root of a disk, and its device, which is writable again after
/// [`DiskRoot::close`].
#[derive(Debug)]
pub struct DiskRoot {
    mount: Mount,
    device: BlockDevice,
    was_read_only: bool,
    second_device: bool,
}

impl DiskRoot {
    /// Mounts the filesystem of `device`.
    pub fn mount(device: &BlockDevice, line: &CommandLine, drivers: &mut Drivers) -> Result<Self> {
        std::fs::create_dir_all(DISK).with_context(|| format!("creating {DISK}"))?;
        let kinds = kinds(device, line)?;
        for kind in &kinds {
            drivers.load_filesystem(kind);
        }
        let file = device.open()?;
        let was_read_only = block::is_read_only(&file)?;
        block::set_read_only(&file, true)
            .with_context(|| format!("making {} read-only", device.path().display()))?;
        drop(file);
        let mount = mount_any(device, &kinds, &line.root_flags)?;
        Ok(Self {
            mount,
            device: device.clone(),
            was_read_only,
            second_device: line.root_flags.contains("rtdev="),
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.mount.target()
    }

    /// The device, if every file's data is on it at the place that the
    /// filesystem says: not with Btrfs, whose places are not a device's, nor
    /// with a second device for data (`rtdev`) under XFS.
    pub fn plain_device(&self) -> Option<PathBuf> {
        let kind = statfs(self.path()).ok()?.filesystem_type();
        // All of ext have the same number.
        let plain = kind == EXT4_SUPER_MAGIC || kind == XFS_SUPER_MAGIC;
        (plain && !self.second_device).then(|| self.device.path())
    }

    /// The program to hand over to, as a path inside the root. Fails if the
    /// root is incomplete, or has no such program.
    pub fn bootable(&self, wanted: Option<&Path>) -> Result<PathBuf> {
        let doing = || format!("examining the root on {}", self.device.path().display());
        if self
            .path()
            .join(&INCOMPLETE[1..])
            .symlink_metadata()
            .is_ok()
        {
            bail!(
                "{}: the installation was not finished ({INCOMPLETE} exists); \
                 reinstall the instance (gnt-instance reinstall)",
                doing()
            );
        }
        init_of(&Root::open(self.path())?, wanted).with_context(doing)
    }

    /// Unmounts, and makes the device as writable as it was.
    pub fn close(self) -> Result<()> {
        self.mount.close()?;
        let path = self.device.path();
        block::set_read_only(&self.device.open()?, self.was_read_only)
            .with_context(|| format!("making {} writable again", path.display()))
    }
}

/// The program of `root` to hand over to, as a path inside it.
pub fn init_of(root: &Root, wanted: Option<&Path>) -> Result<PathBuf> {
    let candidates: Vec<&Path> = match wanted {
        Some(path) => vec![path],
        None => INITS.iter().map(Path::new).collect(),
    };
    for path in &candidates {
        if is_executable(root, path) {
            return Ok(path.to_path_buf());
        }
    }
    let names: Vec<String> = candidates.iter().map(|p| p.display().to_string()).collect();
    bail!("no program at {}", names.join(", "))
}

fn is_executable(root: &Root, path: &Path) -> bool {
    let metadata = root.open_file(path).and_then(|file| Ok(file.metadata()?));
    metadata.is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
}

/// The types to try.
fn kinds(device: &BlockDevice, line: &CommandLine) -> Result<Vec<String>> {
    if !line.root_types.is_empty() && line.root_types != ["auto"] {
        return Ok(line.root_types.clone());
    }
    match superblock::probe(&device.open()?) {
        Some(found) => Ok(vec![found.kind.to_owned()]),
        None => bail!(
            "mounting the root: {} has no filesystem of a known type \
             (ext2, ext3, ext4, xfs, btrfs; another one needs rootfstype=)",
            device.path().display()
        ),
    }
}

fn mount_any(device: &BlockDevice, kinds: &[String], flags: &str) -> Result<Mount> {
    let mut last = None;
    for kind in kinds {
        match mount_clean_or_not(device, kind, flags) {
            Ok(mount) => return Ok(mount),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("mounting the root: no type to try")))
}

fn mount_clean_or_not(device: &BlockDevice, kind: &str, flags: &str) -> Result<Mount> {
    let error = match mount(device, kind, flags) {
        Ok(mount) => return Ok(mount),
        Err(error) => error,
    };
    let (Some(skip), Some(Errno::EROFS)) = (without_journal(kind), error.downcast_ref()) else {
        return Err(error);
    };
    let data = if flags.is_empty() {
        skip.to_owned()
    } else {
        format!("{flags},{skip}")
    };
    let mount = mount(device, kind, &data)?;
    console::warn(format!(
        "{} was not unmounted cleanly; its journal is left alone ({skip}), \
         so that nothing is written: the last changes may be missing",
        device.path().display()
    ));
    Ok(mount)
}

/// The option with which a filesystem does not look into its journal.
fn without_journal(kind: &str) -> Option<&'static str> {
    match kind {
        "ext3" | "ext4" => Some("noload"),
        "xfs" => Some("norecovery"),
        "btrfs" => Some("rescue=nologreplay"),
        _ => None,
    }
}

fn mount(device: &BlockDevice, kind: &str, flags: &str) -> Result<Mount> {
    let data = own_options(flags);
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOATIME | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    Mount::new(device.path(), Path::new(DISK), kind, flags, &data)
        .with_context(|| format!("mounting the root (type {kind}, options \"{data}\")"))
}

/// Without the options that are flags of mount(2) rather than of the
/// filesystem: none of them matters for a read-only mount that is only read.
fn own_options(flags: &str) -> String {
    const GENERIC: [&str; 16] = [
        "ro",
        "rw",
        "defaults",
        "atime",
        "noatime",
        "relatime",
        "strictatime",
        "nodiratime",
        "diratime",
        "sync",
        "async",
        "dirsync",
        "exec",
        "noexec",
        "suid",
        "nosuid",
    ];
    let own: Vec<&str> = flags
        .split(',')
        .filter(|option| {
            !option.is_empty()
                && !GENERIC.contains(option)
                && !matches!(*option, "dev" | "nodev" | "lazytime" | "nolazytime")
        })
        .collect();
    own.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_filesystems_own_options_are_passed() {
        assert_eq!(
            own_options("noatime,subvol=@,rw,,compress=zstd"),
            "subvol=@,compress=zstd"
        );
        assert_eq!(own_options(""), "");
    }
}
