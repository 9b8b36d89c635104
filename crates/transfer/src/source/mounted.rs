//! A filesystem of the source, mounted so that nothing is written: by a
//! read-only loop device, without its journal.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::mount::MsFlags;
use p2v_backup::window::Window;
use p2v_sys::loopdev::Extent;
use p2v_sys::source_disk::SourceDisk;
use p2v_sys::{LoopDevice, Mount};

use super::clean;
use super::scratch::Scratch;

/// A filesystem of the source, mounted read-only until this is dropped.
#[derive(Debug)]
pub struct MountedSource {
    // In this order they go: first the mount, then what it stands on.
    mount: Mount,
    directory: Scratch,
    device: LoopDevice,
    kind: String,
}

impl MountedSource {
    /// Mounts the filesystem of that kind; `place` is its name in messages.
    pub(super) fn new(disk: &SourceDisk, extent: Extent, kind: &str, place: &str) -> Result<Self> {
        clean::check(kind, &Window::new(disk.file(), extent), place)?;
        let device = LoopDevice::attach(disk.path(), extent, true)?;
        let directory = Scratch::new()?;
        let mount = mount(&device, directory.path(), kind, "subvolid=5")
            .with_context(|| format!("mounting the {kind} on {place}"))?;
        Ok(Self {
            mount,
            directory,
            device,
            kind: kind.to_owned(),
        })
    }

    /// Its top.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Unmounts it.
    pub fn close(self) -> Result<()> {
        self.mount.close()?;
        drop(self.directory);
        self.device.close()
    }

    pub(super) fn is_btrfs(&self) -> bool {
        self.kind == "btrfs"
    }

    /// The path, without slashes around it, of a btrfs's subvolume of this
    /// number, or of its default one; `None` for its top.
    pub(super) fn subvolume(&self, number: Option<u64>) -> Result<Option<String>> {
        let option = number.map_or_else(String::new, |number| format!("subvolid={number}"));
        let directory = Scratch::new()?;
        let mount = mount(&self.device, directory.path(), &self.kind, &option)?;
        let root = root_of(directory.path())?;
        mount.close()?;
        let root = root.trim_matches('/');
        Ok((!root.is_empty()).then(|| root.to_owned()))
    }
}

fn mount(device: &LoopDevice, target: &Path, kind: &str, subvolume: &str) -> Result<Mount> {
    let flags = MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV
        | MsFlags::MS_NOEXEC
        | MsFlags::MS_NOATIME;
    let mut last = anyhow!("this kind is not known");
    for option in without_journal(kind) {
        let options: Vec<&str> = match kind {
            "btrfs" => vec![option, subvolume],
            _ => vec![option],
        };
        let options: Vec<&str> = options.into_iter().filter(|o| !o.is_empty()).collect();
        match Mount::new(device.path(), target, kind, flags, &options.join(",")) {
            Ok(mount) => return Ok(mount),
            Err(error) if error.downcast_ref() == Some(&Errno::EINVAL) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// The options that keep a kind from its journal, the newest kernels' first.
fn without_journal(kind: &str) -> &'static [&'static str] {
    match kind {
        "ext3" | "ext4" => &["noload"],
        // A clone of it may be mounted elsewhere.
        "xfs" => &["norecovery,nouuid"],
        "btrfs" => &["rescue=nologreplay", "nologreplay", "norecovery"],
        _ => &[""],
    }
}

/// What of its filesystem is mounted on `target`, as mountinfo has it.
fn root_of(target: &Path) -> Result<String> {
    let target = target.canonicalize().context("finding a mount point")?;
    let text = std::fs::read("/proc/thread-self/mountinfo")
        .context("reading /proc/thread-self/mountinfo")?;
    let text = String::from_utf8_lossy(&text);
    let root = |line: &str| {
        let mut fields = line.split(' ').skip(3);
        let root = p2v_fixes::machine::octal_decoded(fields.next()?);
        let point = p2v_fixes::machine::octal_decoded(fields.next()?);
        (Path::new(&point) == target).then_some(root)
    };
    text.lines()
        .filter_map(root)
        .next_back()
        .context("looking for a mount in /proc/thread-self/mountinfo")
}
