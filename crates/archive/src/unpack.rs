//! Unpacking a tree, as fast as the filesystem takes it: one thread
//! decompresses while another writes.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, futimens, makedev, mkdirat,
    mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};
use p2v_sys::interrupt;
use tar::EntryType;

use super::{XATTR, is_kept, pax};

/// How much is decompressed at a time, and how much of that may wait.
const BLOCK: usize = 256 << 10;
const WAITING: usize = 16;

/// Unpacks an archive made by [`super::pack`] into the directory `target`,
/// usually the top of a fresh filesystem. Existing files are errors.
///
/// # Errors
/// The archive is damaged, cut off, or leads out of `target`; the filesystem is
/// full, or takes not all that a file has. What was unpacked so far stays.
pub fn unpack(archive: impl Read + Send, target: &Path) -> Result<()> {
    unpack_with(archive, target, Refused::Error).map(drop)
}

/// The same, but extended attributes that the target's filesystem does not
/// take are left out and counted: a tmpfs has none of users before Linux 6.6.
pub fn unpack_what_fits(archive: impl Read + Send, target: &Path) -> Result<usize> {
    unpack_with(archive, target, Refused::Counted)
}

/// What becomes of an attribute that the filesystem does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Error,
    Counted,
}

fn unpack_with(archive: impl Read + Send, target: &Path, refused: Refused) -> Result<usize> {
    let unpacking = || format!("unpacking into {}", target.display());
    let (sender, receiver) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        scope.spawn(move || decompress(archive, &sender));
        let blocks = Blocks {
            receiver,
            block: Vec::new(),
            at: 0,
        };
        Unpacker::new(target, refused)?.unpack(blocks)
    })
    .with_context(unpacking)
}

type Block = std::io::Result<Vec<u8>>;

/// Ends early when nobody receives any more.
fn decompress(archive: impl Read, blocks: &SyncSender<Block>) {
    let mut decoder = match zstd::Decoder::new(archive) {
        Ok(decoder) => decoder,
        Err(error) => {
            let _ = blocks.send(Err(error));
            return;
        }
    };
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        let result = decoder.by_ref().take(BLOCK as u64).read_to_end(&mut block);
        let last = !matches!(result, Ok(read) if read > 0);
        if blocks.send(result.map(|_| block)).is_err() || last {
            return;
        }
    }
}

/// The decompressed stream.
struct Blocks {
    receiver: Receiver<Block>,
    block: Vec<u8>,
    at: usize,
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.block.len() {
            // A sender that is gone has sent its empty last block before.
            self.block = self.receiver.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
            self.at = 0;
        }
        (&self.block[self.at..])
            .read(buffer)
            .inspect(|read| self.at += read)
    }
}

/// What is known of an entry.
#[derive(Default)]
struct Entry {
    path: PathBuf,
    link: PathBuf,
    mode: u32,
    uid: u32,
    gid: u32,
    time: (i64, i64),
    size: u64,
    device: (u32, u32),
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

struct Unpacker<'a> {
    target: &'a Path,
    top: OwnedFd,
    /// The directory that the last entry was in: most have the same.
    directory: (PathBuf, OwnedFd),
    /// Their times and default ACLs come last: what is made in them would
    /// change the times and inherit the ACLs.
    directories: Vec<Entry>,
    buffer: Vec<u8>,
    refused: Refused,
    /// Attributes that were left out.
    lost: Cell<usize>,
}

impl<'a> Unpacker<'a> {
    fn new(target: &'a Path, refused: Refused) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let top = openat(AT_FDCWD, target, flags, Mode::empty()).context("opening it")?;
        let here = openat(&top, ".", flags, Mode::empty()).context("opening it")?;
        Ok(Self {
            target,
            top,
            directory: (PathBuf::new(), here),
            directories: Vec::new(),
            buffer: vec![0; BLOCK],
            refused,
            lost: Cell::new(0),
        })
    }

    fn unpack(mut self, stream: impl Read) -> Result<usize> {
        let mut archive = tar::Archive::new(stream);
        let mut extra = Vec::new();
        let entries = archive.entries().context("reading the archive")?;
        for entry in entries.raw(true) {
            interrupt::check()?;
            let mut entry = entry.context("reading the archive")?;
            let kind = entry.header().entry_type();
            if kind == EntryType::XHeader {
                entry
                    .read_to_end(&mut extra)
                    .context("reading the archive")?;
                continue;
            }
            let known = describe(&entry, &extra)?;
            extra.clear();
            let path = known.path.clone();
            self.make(kind, known, &mut entry)
                .with_context(|| format!("making {}", path.display()))?;
        }
        for directory in std::mem::take(&mut self.directories).iter().rev() {
            self.finish_directory(directory)
                .with_context(|| format!("finishing {}", directory.path.display()))?;
        }
        Ok(self.lost.get())
    }

    fn make(&mut self, kind: EntryType, entry: Entry, content: &mut impl Read) -> Result<()> {
        if entry.path == Path::new(".") {
            self.directories.push(entry);
            return Ok(());
        }
        let name = entry.path.file_name().context("its path names no file")?;
        self.enter(entry.path.parent().unwrap_or(Path::new("")))?;
        let directory = &self.directory.1;
        match kind {
            EntryType::Regular => return self.make_file(name, &entry, content),
            EntryType::Directory => {
                match mkdirat(directory, name, Mode::S_IRWXU) {
                    // A fresh ext4 has a lost+found.
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                self.directories.push(entry);
                return Ok(());
            }
            EntryType::Link => {
                return Ok(linkat(
                    &self.top,
                    &entry.link,
                    directory,
                    name,
                    AtFlags::empty(),
                )?);
            }
            EntryType::Symlink => symlinkat(entry.link.as_path(), directory, name)?,
            EntryType::Fifo => mknodat(directory, name, SFlag::S_IFIFO, Mode::S_IRUSR, 0)?,
            EntryType::Block | EntryType::Char => {
                let (major, minor) = entry.device;
                let device = makedev(major.into(), minor.into());
                let kind = if kind == EntryType::Block {
                    SFlag::S_IFBLK
                } else {
                    SFlag::S_IFCHR
                };
                mknodat(directory, name, kind, Mode::S_IRUSR, device)?;
            }
            other => bail!("its type {other:?} is unknown"),
        }
        self.finish_special(name, kind, &entry)
    }

    /// Makes `path` the directory in which names are resolved.
    fn enter(&mut self, path: &Path) -> Result<()> {
        if self.directory.0 != path {
            let how = OpenHow::new()
                .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
                .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
            let shown = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            };
            let directory = openat2(&self.top, shown, how).context("opening its directory")?;
            self.directory = (path.to_owned(), directory);
        }
        Ok(())
    }

    fn make_file(&mut self, name: &OsStr, entry: &Entry, content: &mut impl Read) -> Result<()> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&self.directory.1, name, flags, Mode::S_IRUSR)?;
        let mut file = File::from(fd);
        let mut left = entry.size;
        while left > 0 {
            let most = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.buffer.len());
            let read = content
                .read(&mut self.buffer[..most])
                .context("reading the archive")?;
            if read == 0 {
                bail!("the archive ends within it");
            }
            file.write_all(&self.buffer[..read])?;
            left -= read as u64;
        }
        // The order matters: a change of owner takes the set-user-id bit and
        // the capabilities away, and every change moves the time.
        if (entry.uid, entry.gid) != (0, 0) {
            fchown(
                &file,
                Some(Uid::from_raw(entry.uid)),
                Some(Gid::from_raw(entry.gid)),
            )?;
        }
        fchmod(&file, Mode::from_bits_truncate(entry.mode))?;
        self.set_attributes(entry)?;
        let time = TimeSpec::new(entry.time.0, entry.time.1);
        Ok(futimens(&file, &time, &time)?)
    }

    fn finish_special(&self, name: &OsStr, kind: EntryType, entry: &Entry) -> Result<()> {
        let directory = self.directory.1.as_fd();
        finish(directory, name, kind == EntryType::Symlink, entry, || {
            self.set_attributes(entry)
        })
    }

    fn finish_directory(&self, entry: &Entry) -> Result<()> {
        finish(
            self.top.as_fd(),
            entry.path.as_os_str(),
            false,
            entry,
            || self.set_attributes(entry),
        )
    }

    fn set_attributes(&self, entry: &Entry) -> Result<()> {
        for (name, value) in &entry.attributes {
            let name = OsStr::from_bytes(name);
            // By path, because the call needs a descriptor open for reading
            // otherwise; the steps of the path have been made just now.
            let set = xattr::set(self.target.join(&entry.path), name, value);
            match set {
                Err(error) if self.refused == Refused::Counted && is_refusal(&error) => {
                    self.lost.set(self.lost.get() + 1);
                }
                set => set
                    .with_context(|| format!("setting the attribute {}", name.to_string_lossy()))?,
            }
        }
        Ok(())
    }
}

fn is_refusal(error: &std::io::Error) -> bool {
    [Errno::EOPNOTSUPP, Errno::EPERM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// Gives what is not a file its owner, mode, attributes and time.
fn finish(
    directory: std::os::fd::BorrowedFd<'_>,
    name: &OsStr,
    is_link: bool,
    entry: &Entry,
    set_attributes: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    fchownat(
        directory,
        name,
        Some(uid),
        Some(gid),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )?;
    if !is_link {
        // Never a link: it was made just now, or the kernel says so below.
        let mode = Mode::from_bits_truncate(entry.mode);
        fchmodat(directory, name, mode, FchmodatFlags::FollowSymlink)?;
    }
    set_attributes()?;
    let time = TimeSpec::new(entry.time.0, entry.time.1);
    Ok(utimensat(
        directory,
        name,
        &time,
        &time,
        UtimensatFlags::NoFollowSymlink,
    )?)
}

/// Reads an entry's header, and the pax header that came before it.
fn describe<R: Read>(entry: &tar::Entry<'_, R>, extra: &[u8]) -> Result<Entry> {
    let header = entry.header();
    let number =
        |value: u64| u32::try_from(value).context("reading a header: a number is too large");
    let mut known = Entry {
        path: PathBuf::from(OsStr::from_bytes(&header.path_bytes())),
        mode: header.mode()? & 0o7777,
        uid: number(header.uid()?)?,
        gid: number(header.gid()?)?,
        time: (i64::try_from(header.mtime()?)?, 0),
        size: header.entry_size()?,
        ..Entry::default()
    };
    if let Some(link) = header.link_name_bytes() {
        known.link = PathBuf::from(OsStr::from_bytes(&link));
    }
    if matches!(header.entry_type(), EntryType::Block | EntryType::Char) {
        let (major, minor) = (header.device_major()?, header.device_minor()?);
        known.device = major
            .zip(minor)
            .context("reading a header: it names no device")?;
    }
    for (key, value) in pax::records(extra)? {
        match key {
            b"path" => known.path = PathBuf::from(OsStr::from_bytes(value)),
            b"linkpath" => known.link = PathBuf::from(OsStr::from_bytes(value)),
            b"mtime" => {
                known.time = time(value).context("reading a header: its time is malformed")?
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR.as_bytes()) {
                    if is_kept(name) {
                        known.attributes.push((name.to_owned(), value.to_owned()));
                    }
                }
            }
        }
    }
    Ok(known)
}

/// Seconds and nanoseconds, as in `1700000000.000000042`.
fn time(text: &[u8]) -> Option<(i64, i64)> {
    let (seconds, fraction) = std::str::from_utf8(text).ok()?.split_once('.')?;
    if fraction.len() != 9 {
        return None;
    }
    Some((seconds.parse().ok()?, fraction.parse().ok()?))
}
