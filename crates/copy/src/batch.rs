//! Entries of one directory, packed to be sent together.

use anyhow::Result;

use crate::entry::{Entry, Names, What};
use crate::frame::Append;

/// It is the top's own entry.
pub const TOP: u8 = 1;
/// No more of this directory come.
pub const LAST: u8 = 2;

/// A regular file with contents.
#[derive(Debug, Clone)]
pub struct FileRef {
    /// Its directory's number.
    pub directory: u32,
    /// Its name there.
    pub name: Vec<u8>,
    /// Its number: that of the batch and its place in it.
    pub id: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes stored.
    pub stored: u64,
}

impl FileRef {
    /// Bytes of contents without holes, about.
    pub fn data(&self) -> u64 {
        self.size.min(self.stored)
    }
}

/// Entries of one directory, ready to be sent.
pub struct Batch {
    /// Its number.
    pub number: u32,
    /// The frame's payload.
    pub payload: Vec<u8>,
    /// How many entries it has.
    pub count: u32,
    /// The regular files in it, in order.
    pub files: Vec<FileRef>,
}

/// The number of a file in a batch.
pub fn id(batch: u32, place: u32) -> u64 {
    u64::from(batch) << 32 | u64::from(place)
}

/// A batch that is being filled.
pub struct Filling {
    number: u32,
    directory: u32,
    /// What it takes so far.
    pub payload: Vec<u8>,
    count: u32,
    files: Vec<FileRef>,
}

/// Number, directory, flags, count.
const BATCH_HEADER: usize = 13;

impl Filling {
    /// An empty one of that number, for that directory's entries.
    pub fn new(number: u32, directory: u32) -> Self {
        Self {
            number,
            directory,
            payload: vec![0; BATCH_HEADER],
            count: 0,
            files: Vec::new(),
        }
    }

    /// The number that the next entry's file gets.
    pub fn next_id(&self) -> u64 {
        id(self.number, self.count)
    }

    /// One entry more.
    pub fn add(&mut self, entry: &Entry) -> Result<()> {
        if let (What::File { size, stored }, false) =
            (&entry.what, matches!(entry.names, Names::Same(_)))
        {
            self.files.push(FileRef {
                directory: self.directory,
                name: entry.name.clone(),
                id: self.next_id(),
                size: *size,
                stored: *stored,
            });
        }
        entry.encode(&mut self.payload)?;
        self.count += 1;
        Ok(())
    }

    /// Ready to be sent, with [`TOP`] or [`LAST`] in `flags`.
    pub fn close(self, flags: u8) -> Batch {
        let mut header = Vec::with_capacity(BATCH_HEADER);
        header.put_u32(self.number);
        header.put_u32(self.directory);
        header.put_u8(flags);
        header.put_u32(self.count);
        let mut payload = self.payload;
        payload[..BATCH_HEADER].copy_from_slice(&header);
        Batch {
            number: self.number,
            payload,
            count: self.count,
            files: self.files,
        }
    }
}
