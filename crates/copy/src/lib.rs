//! A tree of files, or the blocks of a disk's part, from one machine to another
//! over any two-way stream.
//!
//! Both sides run this crate. The sender reads alone; the receiver makes its
//! tree equal to the sender's, and asks only for what differs, so that an
//! interrupted copy that is run again sends what is missing.
//!
//! Nothing here knows SSH, disks' layouts or a transfer's plan.

mod batch;
mod blocks;
mod compare;
mod compress;
mod dirs;
mod entry;
mod exclude;
mod failure;
mod flags;
mod frame;
mod queue;
mod receive;
mod rooms;
mod send;
mod walk;

/// What the programs in fuzz/ call beside the public functions.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::blocks::read_ranges;
    pub use crate::entry::Entry;
    pub use crate::exclude::Exclude;
    pub use crate::frame::{Cursor, Frame, FrameReader, FrameWriter, LONGEST};
    pub use crate::receive::read_hello;
    pub use crate::send::Wish;
}

use std::io::{Read, Write};
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// How the sender packs what it sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Never.
    Never,
    /// When the link is slower than the packing; measured as it goes.
    #[default]
    Adaptive,
    /// Always.
    Always,
}

/// What a sender may be told.
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    /// How it packs.
    pub compression: Compression,
    /// Paths from the top that are not sent, and stay on the receiver's side
    /// if they are there: each names one file or a directory with all in it.
    pub exclude: Vec<String>,
}

/// How far a copy is. Bytes are those of files' contents, holes left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Files, directories and all others that were looked at.
    pub entries: u64,
    /// Bytes of contents that are right on the receiver's side: sent, or there before.
    pub bytes_done: u64,
    /// Bytes of contents that were sent.
    pub bytes_sent: u64,
    /// Bytes that went over the link.
    pub bytes_wire: u64,
}

/// Is told how far a copy is, a few times a second.
pub type Watch<'a> = &'a (dyn Fn(Progress) + Sync);

/// Sends the tree at `top` to a [`receive`] at the stream's other end. It is
/// done when the receiver has said that everything is on its disk.
///
/// # Errors
/// The link ended, the receiver failed (its message is in the error), a file
/// could not be read.
pub fn send(
    top: &Path,
    from_receiver: impl Read + Send,
    to_receiver: impl Write + Send,
    options: &SendOptions,
    watch: Watch,
) -> Result<Progress> {
    send::send(top, from_receiver, to_receiver, options, watch)
}

/// Makes the tree at `top` equal to the one that a [`send`] reads.
///
/// # Errors
/// The link ended, the stream is damaged, the disk is full; the other end does
/// not want to [`send`].
pub fn receive(
    top: &Path,
    from_sender: impl Read + Send,
    to_sender: impl Write + Send,
) -> Result<Progress> {
    receive::receive(top, None, from_sender, to_sender)
}

/// The same, and files that were last changed in this time (nanoseconds of the
/// receiver's clock) get their contents anew, whatever size and time they have:
/// power that is cut before contents are on the medium may leave zeros in their
/// place.
///
/// # Errors
/// As [`receive`].
pub fn receive_doubting(
    top: &Path,
    doubt: Option<std::ops::Range<i64>>,
    from_sender: impl Read + Send,
    to_sender: impl Write + Send,
) -> Result<Progress> {
    receive::receive(top, doubt, from_sender, to_sender)
}

/// A difference between two trees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Path from the top, bytes that are no UTF-8 escaped.
    pub path: String,
    /// What differs, in words: `content`, `owner 0:0, not 1000:1000`, `missing`.
    pub what: String,
}

/// Compares the sender's tree with that of an [`answer`] at the other end, file
/// by file, contents by BLAKE3, each side reading its own disk. Nothing is
/// changed. A thousand differences are listed, the others counted in the last.
///
/// # Errors
/// As [`send`].
pub fn compare(
    top: &Path,
    from_receiver: impl Read + Send,
    to_receiver: impl Write + Send,
    options: &SendOptions,
    watch: Watch,
) -> Result<Vec<Difference>> {
    compare::compare(top, from_receiver, to_receiver, options, watch)
}

/// Answers a [`compare`] with the tree at `top`. Nothing is written.
///
/// # Errors
/// The link ended, the stream is damaged, a file could not be read; the other
/// end does not want to [`compare`].
pub fn answer(
    top: &Path,
    from_sender: impl Read + Send,
    to_sender: impl Write + Send,
) -> Result<()> {
    compare::answer(top, from_sender, to_sender)
}

/// Sends the bytes `used` (ranges from `start`) of `disk` to a
/// [`receive_blocks`]; those that the receiver has already are left out.
///
/// # Errors
/// As [`send`].
pub fn send_blocks(
    disk: &std::fs::File,
    start: u64,
    used: &[std::ops::Range<u64>],
    from_receiver: impl Read + Send,
    to_receiver: impl Write + Send,
    watch: Watch,
) -> Result<Progress> {
    blocks::send((disk, start), used, from_receiver, to_receiver, watch)
}

/// Compares the bytes `used` of `disk`, as [`send_blocks`] has them, with those of
/// an [`answer_blocks`] at the other end. Nothing is changed.
///
/// # Errors
/// As [`send`].
pub fn compare_blocks(
    disk: &std::fs::File,
    start: u64,
    used: &[std::ops::Range<u64>],
    from_receiver: impl Read + Send,
    to_receiver: impl Write + Send,
    watch: Watch,
) -> Result<Vec<Difference>> {
    blocks::compare((disk, start), used, from_receiver, to_receiver, watch)
}

/// Writes what a [`send_blocks`] reads to the device or file, which has `size`
/// bytes. Bytes that are not used at the sender's are left as they are.
///
/// # Errors
/// As [`receive`].
pub fn receive_blocks(
    device: &std::fs::File,
    size: u64,
    from_sender: impl Read + Send,
    to_sender: impl Write + Send,
) -> Result<Progress> {
    blocks::receive(device, size, from_sender, to_sender)
}

/// Answers a [`compare_blocks`] with the device or file, which is only read.
///
/// # Errors
/// As [`answer`].
pub fn answer_blocks(
    device: &std::fs::File,
    size: u64,
    from_sender: impl Read + Send,
    to_sender: impl Write + Send,
) -> Result<()> {
    blocks::answer(device, size, from_sender, to_sender)
}
