//! Mounted filesystems as guards.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};

/// A mounted filesystem. [`Mount::close`] unmounts it and reports; dropping it
/// unmounts too, and warns where that fails.
#[derive(Debug)]
pub struct Mount {
    target: PathBuf,
    mounted: bool,
}

impl Mount {
    /// Mounts `source` of type `kind` on the existing directory `target`, with
    /// `data` as the filesystem's own options ("" for none).
    ///
    /// # Errors
    /// The kernel refuses: the message has its reason, the source and the
    /// target. Needs root.
    pub fn new(
        source: impl AsRef<OsStr>,
        target: &Path,
        kind: &str,
        flags: MsFlags,
        data: &str,
    ) -> Result<Self> {
        let source = source.as_ref();
        nix::mount::mount(
            Some(source),
            target,
            (!kind.is_empty()).then_some(kind),
            flags,
            (!data.is_empty()).then_some(data),
        )
        .with_context(|| {
            format!(
                "mounting {} on {}",
                source.to_string_lossy(),
                target.display()
            )
        })?;
        Ok(Self {
            target: target.to_owned(),
            mounted: true,
        })
    }

    /// Makes the directory `source` visible at `target` too.
    pub fn bind(source: &Path, target: &Path) -> Result<Self> {
        Self::new(source, target, "", MsFlags::MS_BIND, "")
    }

    /// The same for reading only; no program there gets another user's rights.
    /// `source` may also be a file, and `target` is one then.
    pub fn bind_read_only(source: &Path, target: &Path) -> Result<Self> {
        let mount = Self::bind(source, target)?;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount.remount(flags | MsFlags::MS_NOSUID)?;
        Ok(mount)
    }

    /// Allows no more writing to this filesystem by way of this mount.
    pub fn make_read_only(&self) -> Result<()> {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        self.remount(flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC)
    }

    fn remount(&self, flags: MsFlags) -> Result<()> {
        let none: Option<&str> = None;
        nix::mount::mount(none, &self.target, none, flags, none)
            .with_context(|| format!("making {} read-only", self.target.display()))
    }

    /// Has this filesystem, and what is mounted on it later, seen alike in the
    /// mount namespaces of programs that are started now.
    pub fn share(&self) -> Result<()> {
        let none: Option<&str> = None;
        nix::mount::mount(none, &self.target, none, MsFlags::MS_SHARED, none)
            .with_context(|| format!("sharing the mount {}", self.target.display()))
    }

    /// Takes charge of a filesystem that a program has mounted on `target`.
    pub fn of_program(target: &Path) -> Self {
        Self {
            target: target.to_owned(),
            mounted: true,
        }
    }

    /// The directory this filesystem is mounted on.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Begins to watch for writes that fail. They do not fail where they are
    /// made, but later and unseen: a full filesystem below a loop device, say.
    pub fn watch_writes(&self) -> Result<WriteWatch> {
        let directory = File::open(&self.target)
            .with_context(|| format!("opening {}", self.target.display()))?;
        Ok(WriteWatch {
            directory,
            target: self.target.clone(),
        })
    }

    /// Unmounts whatever others mounted below this filesystem's top, the last
    /// one first, and returns where that was.
    pub fn unmount_beneath(&self) -> Result<Vec<PathBuf>> {
        let target = real_path(&self.target)?;
        let mut points = points_below(&target)?;
        // The first is ours; another one of that name hides it.
        let ours = points.iter().position(|point| *point == target);
        points.drain(..ours.map_or(0, |index| index + 1));
        points.reverse();
        for point in &points {
            umount2(point, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)
                .with_context(|| format!("unmounting {}", point.display()))?;
        }
        Ok(points)
    }

    /// Unmounts, trying again for up to five seconds while it is busy.
    ///
    /// # Errors
    /// It is busy after that time: the mount stays, and dropping this tries no
    /// more.
    pub fn close(mut self) -> Result<()> {
        self.unmount()
    }

    fn unmount(&mut self) -> Result<()> {
        if !self.mounted {
            return Ok(());
        }
        self.mounted = false;
        let mut last = Ok(());
        for _ in 0..50 {
            // Never follow a link that may have taken the mount point's place.
            last = umount2(&self.target, MntFlags::UMOUNT_NOFOLLOW);
            match last {
                Err(Errno::EBUSY) => std::thread::sleep(Duration::from_millis(100)),
                _ => break,
            }
        }
        last.with_context(|| format!("unmounting {}", self.target.display()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            tracing::warn!("{error:#}");
        }
    }
}

/// Made by [`Mount::watch_writes`]. It keeps the filesystem busy.
#[derive(Debug)]
pub struct WriteWatch {
    directory: File,
    target: PathBuf,
}

impl WriteWatch {
    /// Writes out all that the filesystem still holds back, and fails if
    /// anything since the watch began could not be written (Linux 5.8 and
    /// later tell).
    pub fn finish(self) -> Result<()> {
        nix::unistd::syncfs(&self.directory)
            .with_context(|| format!("writing out the filesystem on {}", self.target.display()))
    }
}

/// The mount points at and below `path`, in the order in which they were
/// mounted.
pub fn points_below(path: &Path) -> Result<Vec<PathBuf>> {
    let path = real_path(path)?;
    let text = mountinfo()?;
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(mount_point)
        .filter(|point| point.starts_with(&path))
        .collect())
}

/// What is mounted and where, in the order in which it was: devices by their
/// path, since btrfs has device numbers of its own.
pub fn sources() -> Result<Vec<(PathBuf, PathBuf)>> {
    let text = mountinfo()?;
    let lines = text.split(|byte| *byte == b'\n');
    Ok(lines
        .filter_map(|line| Some((source(line)?, mount_point(line)?)))
        .collect())
}

/// The mounts that this thread sees: it may have a namespace of its own.
fn mountinfo() -> Result<Vec<u8>> {
    const FILE: &str = "/proc/thread-self/mountinfo";
    std::fs::read(FILE).with_context(|| format!("reading {FILE}"))
}

/// The second word behind the lone hyphen of a line of mountinfo.
fn source(line: &[u8]) -> Option<PathBuf> {
    let mut words = line.split(|byte| *byte == b' ');
    words.find(|word| *word == b"-")?;
    words.nth(1).map(unescaped)
}

/// As the kernel lists it: without symbolic links.
fn real_path(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("resolving {}", path.display()))
}

/// The mount point in a line of mountinfo: its fifth word, in which blanks and
/// the like are `\` and three octal digits.
/// See <https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    line.split(|byte| *byte == b' ').nth(4).map(unescaped)
}

fn unescaped(mut rest: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| byte == b'\\').and_then(octal);
        path.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsString::from_vec(path))
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = OsStr::from_bytes(digits).to_str()?;
    u8::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::{Filesystem, new_uuid};
    use crate::loopdev::{Extent, LoopDevice};

    fn tmpfs(target: &Path, data: &str) -> Mount {
        Mount::new("tmpfs", target, "tmpfs", MsFlags::empty(), data).unwrap()
    }

    #[test]
    fn mount_points_are_unescaped() {
        let line = br"36 35 98:0 / /mnt\040a\134b rw - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/mnt a\b")));
        assert_eq!(source(line), Some(PathBuf::from("/dev/root")));
        assert_eq!((mount_point(b""), source(b"")), (None, None));
        let line = br"36 35 98:0 / /a\777\04 rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/a\777\04")));
    }

    #[test]
    fn what_others_mounted_below_is_unmounted_and_nothing_else() {
        p2v_testing::need_root!();
        let dir = tempfile::tempdir().unwrap();
        let (ours, beside) = (dir.path().join("root"), dir.path().join("root2"));
        std::fs::create_dir(&ours).unwrap();
        std::fs::create_dir(&beside).unwrap();
        let beside = tmpfs(&beside, "");
        let ours = tmpfs(&ours, "");
        let below = [ours.target().join("a b"), ours.target().join("a b/c")];
        let held: Vec<Mount> = below
            .iter()
            .map(|point| {
                std::fs::create_dir(point).unwrap();
                tmpfs(point, "")
            })
            .collect();
        std::mem::forget(held);
        std::mem::forget(tmpfs(ours.target(), ""));
        let unmounted = ours.unmount_beneath().unwrap();
        assert_eq!(unmounted, [ours.target(), &below[1], &below[0]]);
        assert_eq!(ours.unmount_beneath().unwrap(), [""; 0].map(PathBuf::from));
        ours.close().unwrap();
        beside.close().unwrap();
    }

    #[test]
    fn writes_that_the_place_below_cannot_hold_are_told() {
        p2v_testing::need_root!();
        let dir = tempfile::tempdir().unwrap();
        let (small, top) = (dir.path().join("small"), dir.path().join("top"));
        std::fs::create_dir(&small).unwrap();
        std::fs::create_dir(&top).unwrap();
        let small = tmpfs(&small, "size=8m");
        let image = small.target().join("image");
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let device = LoopDevice::attach(&image, Extent::default(), false).unwrap();
        let uuid = new_uuid().unwrap();
        Filesystem::Ext4.create(device.path(), &uuid).unwrap();
        let flags = MsFlags::empty();
        let mount = Mount::new(device.path(), &top, "ext4", flags, "").unwrap();
        let watch = mount.watch_writes().unwrap();
        std::fs::write(top.join("file"), vec![1; 16 << 20]).unwrap();
        watch.finish().unwrap_err();
        mount.close().unwrap();
        // Flushing it may fail or not; here it only has to go.
        let _ = device.close();
        small.close().unwrap();
    }
}
