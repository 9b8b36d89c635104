//! A part of a disk, read and never written, its bytes counted from its start.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use p2v_sys::loopdev::Extent;

/// A part of a disk or disk image. Reads past its end fail, whatever lies
/// there: a partition's filesystem has no say about its neighbours.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    file: &'a File,
    extent: Extent,
}

impl<'a> Window<'a> {
    /// The bytes `extent` of `file`; its length must be given.
    pub fn new(file: &'a File, extent: Extent) -> Self {
        Self { file, extent }
    }

    /// Length in bytes.
    pub fn length(&self) -> u64 {
        self.extent.length
    }

    /// Reads exactly `bytes.len()` bytes at byte `offset` of the window.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where that goes past the window's end,
    /// and what the disk itself says.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.extent.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(bytes, self.extent.offset + offset)
    }

    /// Reads `length` bytes at byte `offset` of the window.
    pub fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        // Before the memory is asked for: the length may come from the disk.
        if length as u64 > self.extent.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; length];
        self.read_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}
