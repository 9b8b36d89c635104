//! The stream's format.
//!
//! ```text
//! "p2v-target disk\n"   16 bytes
//! version               4
//! manifest's length     4
//! manifest              JSON, see [`manifest::Manifest`]
//! hash                  32, BLAKE3 of all before
//! record, record, ...   of an area's data, or of zeros
//! end                   a record that counts the others
//! ```
//!
//! A record has a header of 24 bytes (kind, area, offset in the area, length),
//! the data if it has any, and the first 16 bytes of their BLAKE3, keyed with
//! the manifest's hash and counting the records: one that is damaged, missing,
//! doubled, out of its order or from another stream does not pass. Numbers are
//! little-endian. The stream is not compressed: Ganeti may do that on its way.

pub mod manifest;
mod reader;
mod record;
mod writer;

pub use manifest::{Area, AreaRole, Manifest};
pub use reader::{Record, StreamReader};
pub use writer::{StreamWriter, length};

/// What a stream begins with.
pub const MAGIC: &[u8; 16] = b"p2v-target disk\n";

/// The version that is written, and the newest that is read.
pub const VERSION: u32 = 1;

/// The most data in one record, in bytes.
pub const MOST_DATA: usize = 1 << 20;

/// A manifest has a few hundred bytes for each partition.
const MOST_MANIFEST: usize = 1 << 20;

#[cfg(test)]
mod tests;
