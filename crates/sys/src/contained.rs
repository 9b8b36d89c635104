//! Paths inside a root that is not ours: no symbolic link, `..` or mount
//! inside it leads out of it.
//!
//! Every path is resolved by the kernel with `openat2(RESOLVE_IN_ROOT)`, so
//! there is no moment between a check and its use. Writes make a new file
//! beside the old one and rename it over: a final symbolic link is replaced,
//! never followed.
//!
//! See <https://man7.org/linux/man-pages/man2/openat2.2.html>.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, symlinkat, unlinkat};
use xattr::FileExt;

/// A file that a guest may have written is read up to this size, so that it
/// cannot fill the node's memory.
const MOST_READ: u64 = 16 << 20;

/// A directory that paths are resolved within, as if it were `/`.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens the directory `path` as a root.
    pub fn open(path: &Path) -> Result<Self> {
        let dir = nix::fcntl::open(
            path,
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .with_context(|| format!("opening the root {}", path.display()))?;
        Ok(Self {
            dir,
            path: path.to_owned(),
        })
    }

    /// Where this root is on the machine that works on it. Only for messages
    /// and for programs that do their own containment.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a file of at most 16 MiB; `None` if there is none.
    ///
    /// # Errors
    /// It is no regular file, such as a device or a FIFO, it is larger than
    /// that, or its path leads through what is no directory.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
        let path = path.as_ref();
        // Without O_NONBLOCK a FIFO in the file's place would hang us.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
        let fd = match self.resolve(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(error) => return Err(error).with_context(|| self.doing("opening", path)),
        };
        let file = File::from(fd);
        let metadata = file
            .metadata()
            .with_context(|| self.doing("examining", path))?;
        if !metadata.is_file() {
            bail!("{}: not a regular file", self.doing("reading", path));
        }
        let mut bytes = Vec::new();
        file.take(MOST_READ + 1)
            .read_to_end(&mut bytes)
            .with_context(|| self.doing("reading", path))?;
        if bytes.len() as u64 > MOST_READ {
            bail!("{}: larger than 16 MiB", self.doing("reading", path));
        }
        Ok(Some(bytes))
    }

    /// Reads a file as text, invalid UTF-8 replaced; `None` if there is none.
    pub fn read_text(&self, path: impl AsRef<Path>) -> Result<Option<String>> {
        let bytes = self.read(path)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Replaces `path` by a regular file of root's with these bytes and this
    /// mode (as in 0o644). Its directory is made if need be; a symbolic link
    /// of that name is replaced.
    ///
    /// # Errors
    /// Its directory cannot be made or written to; what is there is a
    /// directory. The file of that name is as it was then.
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let path = path.as_ref();
        let (parent, name) = self.parent(path)?;
        let temporary = temporary_name(&name);
        self.write_at(&parent, &temporary, bytes.as_ref(), mode)
            .and_then(|_| {
                renameat(
                    parent.as_fd(),
                    temporary.as_os_str(),
                    parent.as_fd(),
                    name.as_os_str(),
                )
                .context("renaming it into place")
            })
            .inspect_err(|_| {
                let _ = unlinkat(
                    parent.as_fd(),
                    temporary.as_os_str(),
                    UnlinkatFlags::NoRemoveDir,
                );
            })
            .with_context(|| self.doing("writing", path))
    }

    /// Gives an existing regular file these bytes and keeps its owner, mode and
    /// extended attributes (an SELinux label is one). A symbolic link is
    /// followed, inside the root, and stays. Whole or not at all, and on the
    /// medium when it returns.
    ///
    /// # Errors
    /// There is no such file, or it is no regular one; writing failed. The file
    /// is as it was then.
    pub fn rewrite(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
        let doing = || self.doing("writing", path.as_ref());
        let old = self.open_file(path.as_ref())?;
        if !old.metadata().with_context(doing)?.is_file() {
            bail!("{}: not a regular file", doing());
        }
        let place = self.place_of(&old).with_context(doing)?;
        self.replace(&place, bytes.as_ref(), |file| keep_attributes(&old, file))
            .with_context(doing)
    }

    /// The path inside the root, without links, of an open file.
    fn place_of(&self, file: &File) -> Result<PathBuf> {
        let absolute = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}"));
        let place = absolute(file.as_raw_fd())?;
        let inside = place.strip_prefix(absolute(self.dir.as_raw_fd())?)?;
        Ok(inside.to_owned())
    }

    /// Puts a new file in a file's place, after `prepare` has given it its
    /// attributes.
    fn replace(
        &self,
        place: &Path,
        bytes: &[u8],
        prepare: impl FnOnce(&File) -> Result<()>,
    ) -> Result<()> {
        let (parent, name) = self.parent(place)?;
        let temporary = temporary_name(&name);
        let remove = || {
            let flag = UnlinkatFlags::NoRemoveDir;
            let _ = unlinkat(parent.as_fd(), temporary.as_os_str(), flag);
        };
        // One that a killed run left behind, of the same process id.
        remove();
        self.write_at(&parent, &temporary, bytes, 0o600)
            .and_then(|file| {
                prepare(&file)?;
                file.sync_all()?;
                let (from, to) = (temporary.as_os_str(), name.as_os_str());
                renameat(parent.as_fd(), from, parent.as_fd(), to).context("renaming it into place")
            })
            .inspect_err(|_| remove())
    }

    fn write_at(&self, parent: &OwnedFd, name: &OsStr, bytes: &[u8], mode: u32) -> Result<File> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::openat(parent.as_fd(), name, flags, Mode::from_bits_truncate(0o600))?;
        let mut file = File::from(fd);
        file.write_all(bytes)?;
        // After the creation: the umask must not decide, nor may a setgid
        // directory give its group.
        fchown(&file, Some(Uid::from_raw(0)), Some(Gid::from_raw(0)))?;
        fchmod(&file, Mode::from_bits_truncate(mode))?;
        Ok(file)
    }

    /// Makes a directory and its parents, those that are missing with mode
    /// 0755.
    pub fn create_dir_all(&self, path: impl AsRef<Path>) -> Result<()> {
        self.directory(path.as_ref()).map(drop)
    }

    /// Makes a directory of root's with this mode, or gives an existing one
    /// this owner and mode.
    pub fn create_dir(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        let path = path.as_ref();
        self.directory(path)?;
        // Not the O_PATH descriptor: fchmod refuses those.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let doing = || self.doing("making", path);
        let dir = self
            .resolve(path, flags, Mode::empty())
            .with_context(doing)?;
        fchown(&dir, Some(Uid::from_raw(0)), Some(Gid::from_raw(0))).with_context(doing)?;
        fchmod(&dir, Mode::from_bits_truncate(mode)).with_context(doing)
    }

    /// Replaces `path` by a symbolic link to `target`.
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.remove_file(path)?;
        let (parent, name) = self.parent(path)?;
        symlinkat(target.as_ref(), parent.as_fd(), name.as_os_str())
            .with_context(|| self.doing("linking", path))
    }

    /// Removes a file or a symbolic link itself; none is no error.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (parent, name) = self.parent(path)?;
        match unlinkat(parent.as_fd(), name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error).with_context(|| self.doing("removing", path)),
        }
    }

    /// Whether `path` leads to something inside the root.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.resolve(path.as_ref(), OFlag::O_PATH, Mode::empty())
            .is_ok()
    }

    /// The names in a directory, sorted; none if there is no such directory.
    pub fn list(&self, path: impl AsRef<Path>) -> Result<Vec<OsString>> {
        use std::os::unix::ffi::OsStrExt;
        let path = path.as_ref();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let fd = match self.resolve(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| self.doing("opening", path)),
        };
        let mut dir = nix::dir::Dir::from_fd(fd).with_context(|| self.doing("reading", path))?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry.with_context(|| self.doing("reading", path))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The path, without links, of the file or directory that `path` leads to
    /// inside the root; `None` if there is none.
    pub fn real_path(&self, path: impl AsRef<Path>) -> Result<Option<PathBuf>> {
        let path = path.as_ref();
        let fd = match self.resolve(path, OFlag::O_PATH, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(error) => return Err(error).with_context(|| self.doing("opening", path)),
        };
        let place = self.place_of(&File::from(fd));
        place.map(Some).with_context(|| self.doing("finding", path))
    }

    /// What the symbolic link `path` itself says; `None` if there is no such
    /// link.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<Option<PathBuf>> {
        let path = path.as_ref();
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let fd = match self.resolve(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(error) => return Err(error).with_context(|| self.doing("opening", path)),
        };
        // An empty name means the descriptor itself, which may be no link.
        Ok(nix::fcntl::readlinkat(fd, "").ok().map(PathBuf::from))
    }

    /// An open file inside the root, for reading.
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        self.resolve(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty())
            .map(File::from)
            .with_context(|| self.doing("opening", path))
    }

    fn doing(&self, verb: &str, path: &Path) -> String {
        let inside = path.strip_prefix("/").unwrap_or(path);
        format!("{verb} {}", self.path.join(inside).display())
    }

    fn resolve(&self, path: &Path, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .mode(mode)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(self.dir.as_fd(), path, how)
    }

    fn parent(&self, path: &Path) -> Result<(OwnedFd, OsString)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            bail!("{}: the path names no file", path.display());
        };
        Ok((self.directory(parent)?, name.to_owned()))
    }

    /// Opens a directory, making what is missing step by step, so that each
    /// step is resolved inside the root.
    fn directory(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match self.resolve(path, flags, Mode::empty()) {
            Ok(fd) => return Ok(fd),
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error).with_context(|| self.doing("opening", path)),
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            bail!("{}: not a directory", self.doing("opening", path));
        };
        let parent = self.directory(parent)?;
        match mkdirat(parent.as_fd(), name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).with_context(|| self.doing("making", path)),
        }
        self.resolve(path, flags, Mode::empty())
            .with_context(|| self.doing("opening", path))
    }
}

/// Gives the file `new` the owner, mode and extended attributes of `old`. In
/// this order: a new owner takes set-id bits and capabilities away.
fn keep_attributes(old: &File, new: &File) -> Result<()> {
    let metadata = old.metadata()?;
    let (owner, group) = (metadata.uid(), metadata.gid());
    fchown(new, Some(Uid::from_raw(owner)), Some(Gid::from_raw(group)))?;
    fchmod(new, Mode::from_bits_truncate(metadata.mode() & 0o7777))?;
    for name in old.list_xattr().context("listing extended attributes")? {
        let keep = || -> std::io::Result<()> {
            match old.get_xattr(&name)? {
                Some(value) => new.set_xattr(&name, &value),
                None => Ok(()),
            }
        };
        keep().with_context(|| format!("keeping the attribute {}", name.to_string_lossy()))?;
    }
    Ok(())
}

fn temporary_name(name: &OsStr) -> OsString {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".p2v-{}", std::process::id()));
    temporary
}

#[cfg(test)]
mod tests;
