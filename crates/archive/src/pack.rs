//! Packing a tree.

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, Metadata};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sys::stat::{major, minor};
use p2v_sys::interrupt;
use tar::{EntryType, Header};

use super::{XATTR, is_kept};

/// Measured on the base root of 180 MB: level 3 packs in 0.5 s to 63 MB, level
/// 9 in 1.9 s to 57 MB, level 15 in 13 s to 56 MB; all unpack in 0.22 s.
const LEVEL: i32 = 3;

/// What a filesystem's smallest allocation is taken for, in bytes.
const BLOCK: u64 = 4096;

/// What of a tree is packed.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Paths relative to the root that are left out. A directory stays, empty.
    pub exclude: BTreeSet<PathBuf>,
    /// Whether what is mounted below the root is left out.
    pub one_filesystem: bool,
}

/// What became of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Length of the archive in bytes.
    pub archive_bytes: u64,
    /// BLAKE3 of the archive, in hex.
    pub archive_blake3: String,
    /// Room that the tree takes on a filesystem with blocks of 4 KiB, in
    /// bytes.
    pub unpacked_bytes: u64,
    /// Files, directories, links and so on, hard links counted once.
    pub inodes: u64,
}

/// Packs the tree `root` into `output`, whose name for messages is `name`.
///
/// # Errors
/// A file cannot be read or has changed meanwhile, `output` takes no more, or
/// the run was interrupted (see [`interrupt`]).
pub fn pack(root: &Path, output: impl Write, name: &Path, scope: &Scope) -> Result<Packed> {
    let writing = || format!("writing {}", name.display());
    let hashed = Hashed {
        output,
        hasher: blake3::Hasher::new(),
        length: 0,
    };
    let mut encoder = zstd::Encoder::new(hashed, LEVEL).with_context(writing)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    encoder
        .multithread(u32::try_from(threads).unwrap_or(1))
        .with_context(writing)?;
    // A reader then tells a damaged archive from a good one.
    encoder.include_checksum(true).with_context(writing)?;
    let device = std::fs::metadata(root)
        .with_context(|| format!("packing {}", root.display()))?
        .dev();
    let mut packer = Packer {
        builder: tar::Builder::new(encoder),
        root,
        scope,
        device,
        links: HashMap::new(),
        bytes: 0,
        inodes: 0,
    };
    packer.append_tree(Path::new("")).with_context(writing)?;
    let (bytes, inodes) = (packer.bytes, packer.inodes);
    let encoder = packer.builder.into_inner().with_context(writing)?;
    let hashed = encoder.finish().with_context(writing)?;
    Ok(Packed {
        archive_bytes: hashed.length,
        archive_blake3: hashed.hasher.finalize().to_hex().to_string(),
        unpacked_bytes: bytes,
        inodes,
    })
}

/// Hashes what passes on its way to the file.
struct Hashed<W: Write> {
    output: W,
    hasher: blake3::Hasher,
    length: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.output.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.flush()
    }
}

struct Packer<'a, W: Write> {
    builder: tar::Builder<W>,
    root: &'a Path,
    scope: &'a Scope,
    /// That the root is on.
    device: u64,
    /// Where the files with several names have been packed.
    links: HashMap<(u64, u64), PathBuf>,
    bytes: u64,
    inodes: u64,
}

impl<W: Write> Packer<'_, W> {
    /// Packs `path`, relative to the root, and all below it.
    fn append_tree(&mut self, path: &Path) -> Result<()> {
        interrupt::check()?;
        let full = self.root.join(path);
        let packing = || format!("packing {}", full.display());
        let metadata = std::fs::symlink_metadata(&full).with_context(packing)?;
        let excluded = self.scope.exclude.contains(path);
        if metadata.file_type().is_socket() || (excluded && !metadata.is_dir()) {
            return Ok(());
        }
        self.append(path, &full, &metadata).with_context(packing)?;
        let elsewhere = self.scope.one_filesystem && metadata.dev() != self.device;
        if metadata.is_dir() && !excluded && !elsewhere {
            let mut names = std::fs::read_dir(&full)
                .and_then(|entries| {
                    entries
                        .map(|e| Ok(e?.file_name()))
                        .collect::<Result<Vec<_>, _>>()
                })
                .with_context(packing)?;
            names.sort();
            for name in names {
                self.append_tree(&path.join(name))?;
            }
        }
        Ok(())
    }

    fn append(&mut self, path: &Path, full: &Path, metadata: &Metadata) -> Result<()> {
        let mut header = Header::new_ustar();
        let mut extra: Vec<(String, Vec<u8>)> = Vec::new();
        header.set_mode(metadata.mode() & 0o7777);
        header.set_uid(metadata.uid().into());
        header.set_gid(metadata.gid().into());
        header.set_size(0);
        set_time(&mut header, &mut extra, metadata);
        set_path(&mut header, &mut extra, path)?;
        let inode = (metadata.dev(), metadata.ino());
        if metadata.nlink() > 1 && !metadata.is_dir() {
            if let Some(first) = self.links.get(&inode) {
                header.set_entry_type(EntryType::Link);
                set_link(&mut header, &mut extra, first)?;
                return self.write(header, &extra, std::io::empty());
            }
            self.links.insert(inode, path.to_owned());
        }
        self.inodes += 1;
        // A link's target, too, may need a block; so does a device in tmpfs.
        self.bytes += metadata.len().div_ceil(BLOCK).max(1) * BLOCK;
        add_attributes(&mut extra, full)?;
        let kind = metadata.file_type();
        if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(metadata.len());
            let file = File::open(full)?;
            return self.write(header, &extra, file);
        }
        header.set_entry_type(if kind.is_dir() {
            EntryType::Directory
        } else if kind.is_symlink() {
            EntryType::Symlink
        } else if kind.is_fifo() {
            EntryType::Fifo
        } else if kind.is_block_device() {
            EntryType::Block
        } else {
            EntryType::Char
        });
        if kind.is_symlink() {
            set_link(&mut header, &mut extra, &std::fs::read_link(full)?)?;
        } else if kind.is_block_device() || kind.is_char_device() {
            header.set_device_major(u32::try_from(major(metadata.rdev()))?)?;
            header.set_device_minor(u32::try_from(minor(metadata.rdev()))?)?;
        }
        self.write(header, &extra, std::io::empty())
    }

    fn write(
        &mut self,
        mut header: Header,
        extra: &[(String, Vec<u8>)],
        content: impl std::io::Read,
    ) -> Result<()> {
        let records = extra.iter().map(|(key, value)| (key.as_str(), &value[..]));
        self.builder.append_pax_extensions(records)?;
        header.set_cksum();
        // A file that grows or shrinks meanwhile would ruin the archive.
        let mut content = content.take(header.entry_size()?);
        self.builder
            .append(&header, &mut content)
            .context("writing the entry")?;
        if content.limit() > 0 {
            bail!("it has become shorter");
        }
        Ok(())
    }
}

fn set_path(header: &mut Header, extra: &mut Vec<(String, Vec<u8>)>, path: &Path) -> Result<()> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    if header.set_path(path).is_err() {
        extra.push(("path".to_owned(), path.as_os_str().as_bytes().to_owned()));
        header.set_path("long")?;
    }
    Ok(())
}

fn set_link(header: &mut Header, extra: &mut Vec<(String, Vec<u8>)>, target: &Path) -> Result<()> {
    // Literally: the crate's `set_link_name` would tidy the target up.
    if header
        .set_link_name_literal(target.as_os_str().as_bytes())
        .is_err()
    {
        let target = target.as_os_str().as_bytes().to_owned();
        extra.push(("linkpath".to_owned(), target));
    }
    Ok(())
}

fn set_time(header: &mut Header, extra: &mut Vec<(String, Vec<u8>)>, metadata: &Metadata) {
    let (seconds, fraction) = (metadata.mtime(), metadata.mtime_nsec());
    header.set_mtime(u64::try_from(seconds).unwrap_or(0));
    // Times before 1970 are not worth a sign that few readers know.
    if fraction != 0 && seconds >= 0 {
        let time = format!("{seconds}.{fraction:09}");
        extra.push(("mtime".to_owned(), time.into_bytes()));
    }
}

fn add_attributes(extra: &mut Vec<(String, Vec<u8>)>, path: &Path) -> Result<()> {
    let names = match xattr::list(path) {
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOTSUP) => return Ok(()),
        Err(error) => return Err(error).context("listing its attributes"),
    };
    for name in names.filter(|name| is_kept(name.as_bytes())) {
        let key = name.to_str().context("reading the name of an attribute")?;
        if let Some(value) = xattr::get(path, &name).context("reading an attribute")? {
            extra.push((format!("{XATTR}{key}"), value));
        }
    }
    Ok(())
}
