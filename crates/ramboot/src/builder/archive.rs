//! A newc cpio archive, as the kernel unpacks it into its first root.
//!
//! Entries come out sorted by path, which puts a directory before what is in
//! it, with modification time 0, owner root and inode numbers by their order:
//! the same entries give the same bytes. No hard links, no symbolic links.
//!
//! See <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;

/// An archive being put together.
#[derive(Debug, Default)]
pub(super) struct Archive {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Type and permissions, as in stat's st_mode.
    mode: u32,
    device: (u32, u32),
    bytes: Vec<u8>,
}

impl Archive {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a directory with permissions as in 0o755.
    pub(super) fn directory(&mut self, path: impl AsRef<Path>, permissions: u32) {
        self.add(path.as_ref(), DIRECTORY | permissions, (0, 0), Vec::new());
    }

    /// Adds a regular file.
    pub(super) fn file(&mut self, path: impl AsRef<Path>, permissions: u32, bytes: Vec<u8>) {
        self.add(path.as_ref(), REGULAR | permissions, (0, 0), bytes);
    }

    /// Adds a character device by its major and minor number.
    pub(super) fn character_device(
        &mut self,
        path: impl AsRef<Path>,
        permissions: u32,
        device: (u32, u32),
    ) {
        let mode = CHARACTER_DEVICE | permissions;
        self.add(path.as_ref(), mode, device, Vec::new());
    }

    /// Adds the entry, and the directories above it that are not there yet.
    fn add(&mut self, path: &Path, mode: u32, device: (u32, u32), bytes: Vec<u8>) {
        let path = path.strip_prefix("/").unwrap_or(path);
        for parent in path.ancestors().skip(1) {
            if parent.as_os_str().is_empty() {
                break;
            }
            self.entries.entry(parent.to_owned()).or_insert(Entry {
                mode: DIRECTORY | 0o755,
                device: (0, 0),
                bytes: Vec::new(),
            });
        }
        let entry = Entry {
            mode,
            device,
            bytes,
        };
        self.entries.insert(path.to_owned(), entry);
    }

    /// The archive. A file of 4 GiB or more is an error: the format has no
    /// room for its size.
    pub(super) fn into_bytes(self) -> Result<Vec<u8>> {
        let size: usize = self.entries.values().map(|e| e.bytes.len() + 256).sum();
        let mut out = Vec::with_capacity(size);
        for (inode, (path, entry)) in (1..).zip(self.entries) {
            write_entry(&mut out, inode, path.as_os_str().as_bytes(), &entry)
                .with_context(|| format!("archiving {}", path.display()))?;
        }
        let trailer = Entry {
            mode: 0,
            device: (0, 0),
            bytes: Vec::new(),
        };
        write_entry(&mut out, 0, b"TRAILER!!!", &trailer)?;
        Ok(out)
    }
}

fn write_entry(out: &mut Vec<u8>, inode: u32, name: &[u8], entry: &Entry) -> Result<()> {
    let size = u32::try_from(entry.bytes.len()).context("the file is too large")?;
    let links = if entry.mode & DIRECTORY != 0 { 2 } else { 1 };
    let fields = [
        inode,
        entry.mode,
        0, // owner
        0, // group
        links,
        0, // modification time
        size,
        0, // the file system's device
        0,
        entry.device.0,
        entry.device.1,
        u32::try_from(name.len() + 1)?,
        0, // a checksum, not in this variant
    ];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(name);
    out.push(0);
    pad(out);
    out.extend_from_slice(&entry.bytes);
    pad(out);
    Ok(())
}

/// Names and contents end on a multiple of four bytes.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_laid_out_as_the_kernel_reads_it() {
        let mut archive = Archive::new();
        archive.file("/d/f", 0o640, b"hello".to_vec());
        archive.directory("d", 0o700);
        let bytes = archive.into_bytes().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let expected = [
            "07070100000001000041c0000000000000000000000002000000000000000000000000000000000000000000000000",
            "0000000200000000d\0",
            "07070100000002000081a0000000000000000000000001000000000000000500000000000000000000000000000000",
            "0000000400000000d/f\0\0\0hello\0\0\0",
            "07070100000000000000000000000000000000000000010000000000000000000000000000000000000000",
            "000000000000000b00000000TRAILER!!!\0\0\0\0",
        ];
        assert_eq!(text, expected.concat());
    }

    #[test]
    fn the_order_of_adding_does_not_matter() {
        let mut one = Archive::new();
        one.file("lib/modules/x.ko", 0o644, vec![1; 3]);
        one.directory("lib", 0o755);
        one.file("lib-x", 0o644, vec![]);
        let mut other = Archive::new();
        other.file("lib-x", 0o644, vec![]);
        other.directory("lib", 0o755);
        other.file("lib/modules/x.ko", 0o644, vec![1; 3]);
        assert_eq!(one.into_bytes().unwrap(), other.into_bytes().unwrap());
    }
}
