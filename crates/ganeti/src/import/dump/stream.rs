//! The dump format, as far as it must be followed to know that a stream is
//! whole: records of 1 KiB, each a header with a checksum or data that a header
//! announced. Data has no checksum of its own: what was damaged there, nobody
//! can tell.
//!
//! See <https://sourceforge.net/projects/dump/> (protocols/dumprestore.h) and
//! dump(5) of the BSDs.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};

use anyhow::{Context, Result, bail};
use p2v_sys::interrupt;

/// The length of a record in bytes; enough to recognise a dump by.
pub const HEADER: usize = 1024;

/// The magic of what dump writes since 4.4BSD, and of two others.
const MAGIC: u32 = 60012;
const MAGIC_OLD: u32 = 60011;
const MAGIC_UFS2: u32 = 0x1954_0119;

/// What the words of every header sum up to.
const CHECKSUM: u32 = 84446;

/// Of `c_flags`: blocks are compressed behind the first.
const COMPRESSED: u32 = 0x80;

/// Where fields are in a header, in bytes.
mod field {
    pub const TYPE: usize = 0;
    pub const VOLUME: usize = 12;
    pub const INODE: usize = 20;
    pub const MAGIC: usize = 24;
    pub const COUNT: usize = 160;
    pub const PRESENT: usize = 164;
    pub const LABEL: std::ops::Range<usize> = 676..692;
    pub const LEVEL: usize = 692;
    pub const FLAGS: usize = 888;
}

/// How many records of a file a header announces at most.
const MOST_RECORDS: usize = 512;

/// The longest map that is believed, in records: half a billion files.
const MOST_MAP: u32 = 1 << 16;

/// How much is read at once.
const PIECE: usize = 256 << 10;

/// Whether these first bytes are a dump's, of any kind.
pub fn is_dump(head: &[u8]) -> bool {
    Order::of(head).is_some()
}

/// The byte order of the machine that wrote a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn of(head: &[u8]) -> Option<Self> {
        let magics = [MAGIC, MAGIC_OLD, MAGIC_UFS2];
        let known = |order: &Self| magics.contains(&order.word(head, field::MAGIC));
        (head.len() >= HEADER)
            .then(|| [Self::Little, Self::Big].into_iter().find(known))
            .flatten()
    }

    /// The 32-bit word at a byte of a record.
    fn word(self, record: &[u8], at: usize) -> u32 {
        let bytes = record
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.unwrap_or_default();
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    fn checksum(self, record: &[u8]) -> u32 {
        let words = (0..HEADER).step_by(4).map(|at| self.word(record, at));
        words.fold(0, u32::wrapping_add)
    }
}

/// A header's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tape,
    Inode,
    Dumped,
    Continued,
    End,
    Unused,
}

impl Kind {
    fn of(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Tape,
            2 => Self::Inode,
            3 => Self::Dumped,
            4 => Self::Continued,
            5 => Self::End,
            6 => Self::Unused,
            _ => return None,
        })
    }
}

/// A dump whose maps have been read, and nothing of its files.
pub struct Beginning {
    bytes: Vec<u8>,
    input: File,
    label: Option<String>,
    follower: Option<Follower>,
}

impl Beginning {
    /// Reads from the first header up to the files.
    pub fn read(head: Vec<u8>, input: File) -> Result<Self> {
        let order = Order::of(&head).context("reading the stream: it is not a dump")?;
        check_first(order, &head)?;
        let compressed = order.word(&head, field::FLAGS) & COMPRESSED != 0;
        let mut beginning = Self {
            label: label(&head),
            bytes: head,
            input,
            follower: (!compressed).then(|| Follower::new(order)),
        };
        beginning.read_maps()?;
        Ok(beginning)
    }

    fn read_maps(&mut self) -> Result<()> {
        let Some(follower) = &mut self.follower else {
            return Ok(());
        };
        follower.follow(&self.bytes)?;
        let mut record = [0; HEADER];
        while !follower.has_maps() {
            let read = self.input.read_exact(&mut record);
            read.map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => anyhow::anyhow!("{TRUNCATED}"),
                _ => anyhow::Error::new(error).context("reading the dump"),
            })?;
            follower.follow(&record)?;
            self.bytes.extend_from_slice(&record);
        }
        Ok(())
    }

    /// How many files and directories it holds; `None` if that is compressed.
    pub fn files(&self) -> Option<u64> {
        Some(self.follower.as_ref()?.wanted.count())
    }

    /// The label of the filesystem that was dumped.
    pub fn label(&self) -> Option<String> {
        self.label.clone()
    }

    /// Writes all of the stream to `output` and follows it. Fails if it ends
    /// early or has been damaged; what comes behind its end is dropped.
    pub fn feed(self, mut output: File) -> Result<()> {
        let Self {
            bytes,
            mut input,
            mut follower,
            ..
        } = self;
        output.write_all(&bytes).context("restoring the dump")?;
        let mut records = Records::default();
        let mut piece = vec![0; PIECE];
        loop {
            interrupt::check().context("importing")?;
            let length = match input.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("reading the dump"),
            };
            let ended = follower.as_ref().is_some_and(Follower::has_ended);
            if let Some(follower) = &mut follower {
                records.pass(&piece[..length], |record| follower.follow(record))?;
            }
            match output.write_all(&piece[..length]) {
                // It need not read the padding.
                Err(error) if ended && error.kind() == ErrorKind::BrokenPipe => {}
                result => result.context("restoring the dump")?,
            }
        }
        follower.map_or(Ok(()), |follower| follower.finish())
    }
}

const TRUNCATED: &str = "reading the dump: it ends before its end; it was cut off, export it again";

/// Refuses what cannot be restored, before anything is written.
fn check_first(order: Order, head: &[u8]) -> Result<()> {
    let word = |at| order.word(head, at);
    if word(field::MAGIC) != MAGIC {
        bail!("reading the dump: it is of another system's format than dump's for ext writes");
    }
    if order.checksum(head) != CHECKSUM || Kind::of(word(field::TYPE)) != Some(Kind::Tape) {
        bail!("reading the dump: its first header is damaged");
    }
    if word(field::LEVEL) != 0 {
        bail!(
            "reading the dump: it is an incremental one, of level {}; import needs level 0",
            word(field::LEVEL)
        );
    }
    if word(field::VOLUME) != 1 {
        bail!(
            "reading the dump: it is volume {} of several; import needs it in one",
            word(field::VOLUME)
        );
    }
    Ok(())
}

/// dump writes "none" where there is none.
fn label(head: &[u8]) -> Option<String> {
    let field = &head[field::LABEL];
    let text = field.split(|byte| *byte == 0).next()?;
    let text = std::str::from_utf8(text).ok()?;
    super::system::valid_label(text)
        .filter(|label| *label != "none")
        .map(str::to_owned)
}

/// Cuts what comes in pieces of any length into records.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn pass(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if !self.0.is_empty() {
            let missing = (HEADER - self.0.len()).min(bytes.len());
            self.0.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.0.len() < HEADER {
                return Ok(());
            }
            take(&self.0)?;
            self.0.clear();
        }
        let whole = bytes.chunks_exact(HEADER);
        self.0.extend_from_slice(whole.remainder());
        whole.into_iter().try_for_each(take)
    }
}

/// A set of inodes; number 1 is the first bit.
#[derive(Default)]
struct Inodes(Vec<u8>);

impl Inodes {
    fn count(&self) -> u64 {
        self.0.iter().map(|byte| u64::from(byte.count_ones())).sum()
    }

    fn remove(&mut self, inode: u32) {
        let bit = inode.wrapping_sub(1) as usize;
        if let Some(byte) = self.0.get_mut(bit / 8) {
            *byte &= !(1 << (bit % 8));
        }
    }
}

/// Where in a dump its reader is.
struct Follower {
    order: Order,
    place: u64,
    /// Records of data until the next header.
    data: u64,
    /// Records of all maps so far: there are two, and they are kept.
    maps_length: u64,
    /// Those are the map of what was dumped.
    in_map: bool,
    maps: bool,
    ended: bool,
    wanted: Inodes,
    missing: Inodes,
}

impl Follower {
    fn new(order: Order) -> Self {
        Self {
            order,
            place: 0,
            data: 0,
            maps_length: 0,
            in_map: false,
            maps: false,
            ended: false,
            wanted: Inodes::default(),
            missing: Inodes::default(),
        }
    }

    /// Whether all before the files has been passed.
    fn has_maps(&self) -> bool {
        self.maps && self.data == 0
    }

    fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes note of the next record.
    fn follow(&mut self, record: &[u8]) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        if self.data > 0 {
            self.data -= 1;
            if self.in_map {
                self.wanted.0.extend_from_slice(record);
            }
            if self.data == 0 && self.in_map {
                self.in_map = false;
                self.missing = Inodes(self.wanted.0.clone());
            }
        } else {
            self.header(record)
                .with_context(|| format!("reading the dump at {} KiB", self.place))?;
        }
        self.place += 1;
        Ok(())
    }

    fn header(&mut self, record: &[u8]) -> Result<()> {
        let word = |at| self.order.word(record, at);
        let kind = Kind::of(word(field::TYPE));
        let right = word(field::MAGIC) == MAGIC && self.order.checksum(record) == CHECKSUM;
        let (true, Some(kind)) = (right, kind) else {
            bail!("there is no header where one must be; the stream was damaged");
        };
        let count = word(field::COUNT);
        match kind {
            Kind::Tape => {}
            Kind::Unused | Kind::Dumped => {
                self.maps_length += u64::from(count);
                if self.maps_length > 2 * u64::from(MOST_MAP) {
                    bail!("its maps are larger than any; the stream was damaged");
                }
                self.data = u64::from(count);
                self.in_map = kind == Kind::Dumped && count > 0;
                self.maps |= kind == Kind::Dumped;
            }
            Kind::Inode | Kind::Continued => {
                if !self.maps {
                    bail!("a file before the map of the files; the stream was damaged");
                }
                let count = (count as usize).min(MOST_RECORDS);
                let present = &record[field::PRESENT..field::PRESENT + count];
                self.data = present.iter().filter(|byte| **byte != 0).count() as u64;
                self.missing.remove(word(field::INODE));
            }
            Kind::End => self.ended = true,
        }
        Ok(())
    }

    /// Fails unless all has come.
    fn finish(&self) -> Result<()> {
        if !self.ended {
            bail!("{TRUNCATED}");
        }
        match self.missing.count() {
            0 => Ok(()),
            files => bail!(
                "reading the dump: {files} of its {} files did not come; the stream was damaged",
                self.wanted.count()
            ),
        }
    }
}

#[cfg(test)]
mod tests;
