//! Frames, the units of what crosses the link: a header of 16 bytes, then a
//! payload.
//!
//! | Bytes | What |
//! |---|---|
//! | 4 | "p2vC", little-endian like all numbers |
//! | 1 | what kind it is |
//! | 1 | 1 if the payload is packed by zstd, its first 8 bytes excepted |
//! | 2 | the frame's number, from 0, wrapping |
//! | 4 | the payload's length |
//! | 4 | its length unpacked |
//!
//! The link itself (SSH over TCP) protects the bytes; the mark and the number
//! show a side that has lost its place, or a stranger's output in between.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};

use crate::rooms::Rooms;

/// Begins each frame.
const MARK: [u8; 4] = *b"p2vC";
/// Raised when either side could misunderstand the other.
pub const VERSION: u32 = 1;
/// No payload is longer, in bytes.
pub const LONGEST: usize = 16 << 20;
/// About how much contents go into one.
pub const USUAL: usize = 256 << 10;

/// So many bytes of a payload are never packed: they say whose it is.
pub const PLAIN: usize = 8;

const HEADER: usize = 16;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The sender's first: version, what it wants, what is left out.
    Hello = 1,
    /// The receiver's first.
    Welcome = 2,
    /// A directory's entries.
    Entries = 3,
    /// Contents.
    Data = 4,
    /// No more entries or contents.
    End = 5,
    /// The receiver's answer to entries: which contents it wants.
    Wanted = 6,
    /// All is done; in a comparison, what differs.
    Done = 7,
    /// The other side has failed; its message.
    Failed = 8,
    /// BLAKE3 of contents.
    Digests = 9,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Hello,
            2 => Self::Welcome,
            3 => Self::Entries,
            4 => Self::Data,
            5 => Self::End,
            6 => Self::Wanted,
            7 => Self::Done,
            8 => Self::Failed,
            9 => Self::Digests,
            _ => return None,
        })
    }
}

/// One frame, unpacked unless `packed_from` says otherwise.
#[derive(Debug)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// What it holds.
    pub payload: Vec<u8>,
    /// If the payload is packed: its length unpacked.
    pub packed_from: Option<usize>,
}

impl Frame {
    /// A frame that is not packed.
    pub fn new(kind: Kind, payload: Vec<u8>) -> Self {
        Self {
            kind,
            payload,
            packed_from: None,
        }
    }

    /// The message of a side that fails.
    pub fn failed(message: &str) -> Self {
        let end = message.floor_char_boundary_at(4096);
        Self::new(Kind::Failed, message.as_bytes()[..end].to_vec())
    }

    /// The payload, unpacked.
    pub fn unpacked(self) -> Result<Vec<u8>> {
        match self.packed_from {
            None => Ok(self.payload),
            Some(_) => Unpacker::new(&Rooms::default())?.unpacked(self),
        }
    }

    /// Bytes on the link.
    pub fn wire(&self) -> u64 {
        (HEADER + self.payload.len()) as u64
    }
}

/// Unpacks frames, one after the other.
pub struct Unpacker<'a> {
    zstd: zstd::bulk::Decompressor<'static>,
    rooms: &'a Rooms,
}

impl<'a> Unpacker<'a> {
    /// With rooms that what is unpacked goes to, and packed payloads come from.
    pub fn new(rooms: &'a Rooms) -> Result<Self> {
        let zstd = zstd::bulk::Decompressor::new().context("preparing to unpack")?;
        Ok(Self { zstd, rooms })
    }

    /// A frame's payload, unpacked.
    ///
    /// # Errors
    /// It is not what it says it is.
    pub fn unpacked(&mut self, frame: Frame) -> Result<Vec<u8>> {
        let Some(length) = frame.packed_from else {
            return Ok(frame.payload);
        };
        let (plain, packed) = frame
            .payload
            .split_at_checked(PLAIN)
            .context("receiving: a packed frame is too short")?;
        let mut raw = self.rooms.take();
        raw.resize(length.max(PLAIN), 0);
        raw[..PLAIN].copy_from_slice(plain);
        let unpacked = self
            .zstd
            .decompress_to_buffer(packed, &mut raw[PLAIN..])
            .context("receiving: unpacking a frame")?;
        if unpacked + PLAIN != length {
            bail!("receiving: a packed frame has another length than it says");
        }
        self.rooms.give(frame.payload);
        Ok(raw)
    }
}

/// The longest start of a text that has at most so many bytes and ends
/// between two characters.
trait Boundary {
    fn floor_char_boundary_at(&self, most: usize) -> usize;
}

impl Boundary for str {
    fn floor_char_boundary_at(&self, most: usize) -> usize {
        let mut end = self.len().min(most);
        while !self.is_char_boundary(end) {
            end -= 1;
        }
        end
    }
}

/// Writes frames.
pub struct FrameWriter<W> {
    to: W,
    number: u16,
}

impl<W: Write> FrameWriter<W> {
    /// Begins to write.
    pub fn new(to: W) -> Self {
        Self { to, number: 0 }
    }

    /// Writes one. Nothing is kept back but what `to` itself keeps.
    pub fn write(&mut self, frame: &Frame) -> Result<()> {
        let length = frame.payload.len();
        let raw = frame.packed_from.unwrap_or(length);
        if length.max(raw) > LONGEST {
            bail!("sending: a frame of {raw} bytes is too long");
        }
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MARK);
        header[4] = frame.kind as u8;
        header[5] = u8::from(frame.packed_from.is_some());
        header[6..8].copy_from_slice(&self.number.to_le_bytes());
        header[8..12].copy_from_slice(&(length as u32).to_le_bytes());
        header[12..].copy_from_slice(&(raw as u32).to_le_bytes());
        self.number = self.number.wrapping_add(1);
        self.to
            .write_all(&header)
            .context("sending: the link ended")?;
        self.to
            .write_all(&frame.payload)
            .context("sending: the link ended")
    }

    /// Sends what `to` has kept back.
    pub fn flush(&mut self) -> Result<()> {
        self.to.flush().context("sending: the link ended")
    }
}

/// Reads frames.
pub struct FrameReader<R> {
    from: R,
    number: u16,
}

impl<R: Read> FrameReader<R> {
    /// Begins to read.
    pub fn new(from: R) -> Self {
        Self { from, number: 0 }
    }

    /// Reads the next into `room`, in place of what that holds.
    ///
    /// # Errors
    /// The link ended, or what came is no frame.
    pub fn read(&mut self, mut room: Vec<u8>) -> Result<Frame> {
        let mut header = [0; HEADER];
        self.from
            .read_exact(&mut header)
            .context("receiving: the link ended")?;
        let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| header[at + i])) as usize;
        let (length, raw) = (number(8), number(12));
        let counted = u16::from_le_bytes([header[6], header[7]]);
        let kind = Kind::from_number(header[4]);
        let is_sound = header[..4] == MARK
            && counted == self.number
            && header[5] <= 1
            && length.max(raw) <= LONGEST
            && (header[5] == 1 || length == raw);
        let (Some(kind), true) = (kind, is_sound) else {
            bail!(
                "receiving: the other side sent something else than a frame: {}",
                header.escape_ascii()
            );
        };
        self.number = self.number.wrapping_add(1);
        // What is unusually long gets its room as it comes: a length alone costs
        // no memory. What the room held is overwritten, not zeroed first.
        room.resize(length.min(2 * USUAL), 0);
        self.from
            .read_exact(&mut room)
            .context("receiving: the link ended in the middle of a frame")?;
        let rest = (length - room.len()) as u64;
        let read = (&mut self.from)
            .take(rest)
            .read_to_end(&mut room)
            .context("receiving: the link ended")?;
        if read as u64 != rest {
            bail!("receiving: the link ended in the middle of a frame");
        }
        Ok(Frame {
            kind,
            payload: room,
            packed_from: (header[5] == 1).then_some(raw),
        })
    }
}

/// Takes numbers and byte strings from a payload.
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((bytes, rest)) = self.0.split_at_checked(count) else {
            bail!("receiving: a frame ends too early");
        };
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes(N)?;
        bytes
            .try_into()
            .context("receiving: a frame ends too early")
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A length of two bytes and so many bytes.
    pub fn short(&mut self) -> Result<&'a [u8]> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    /// A length of four bytes and so many bytes.
    pub fn long(&mut self) -> Result<&'a [u8]> {
        let length = self.u32()?;
        self.bytes(length as usize)
    }

    /// Whether all is taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends what [`Cursor`] takes.
pub trait Append {
    /// See [`Cursor::u8`].
    fn put_u8(&mut self, value: u8);
    /// See [`Cursor::u16`].
    fn put_u16(&mut self, value: u16);
    /// See [`Cursor::u32`].
    fn put_u32(&mut self, value: u32);
    /// See [`Cursor::u64`].
    fn put_u64(&mut self, value: u64);
    /// See [`Cursor::short`].
    fn put_short(&mut self, bytes: &[u8]) -> Result<()>;
    /// See [`Cursor::long`].
    fn put_long(&mut self, bytes: &[u8]) -> Result<()>;
}

impl Append for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_short(&mut self, bytes: &[u8]) -> Result<()> {
        let length = u16::try_from(bytes.len()).context("sending: a name is too long")?;
        self.put_u16(length);
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn put_long(&mut self, bytes: &[u8]) -> Result<()> {
        let length = u32::try_from(bytes.len()).context("sending: a value is too long")?;
        self.put_u32(length);
        self.extend_from_slice(bytes);
        Ok(())
    }
}
