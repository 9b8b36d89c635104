//! Reads a stream, and checks every byte of it.

use std::io::{ErrorKind, Read};

use anyhow::{Context, Error, Result, bail};

use super::record::{self, Header, Kind};
use super::{Area, MAGIC, MOST_DATA, MOST_MANIFEST, Manifest, VERSION};

/// A checked record.
#[derive(Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Data at a byte offset of the area of this number.
    Data(u32, u64, &'a [u8]),
    /// So many zeros at a byte offset of the area.
    Zeros(u32, u64, u64),
}

/// Reads a stream; all it returns has been checked against its hash, and lies
/// inside its area.
#[derive(Debug)]
pub struct StreamReader<R> {
    input: R,
    manifest: Manifest,
    key: [u8; 32],
    records: u64,
    data: u64,
    buffer: Vec<u8>,
}

impl<R: Read> StreamReader<R> {
    /// Reads the beginning. The input's first bytes are [`MAGIC`], as the
    /// caller knows who had to look what kind of stream it is.
    ///
    /// # Errors
    /// It is no such stream, of another version, damaged or cut off, or its
    /// manifest makes no sense.
    pub fn start(mut input: R) -> Result<Self> {
        const DOING: &str = "reading the stream's manifest";
        let mut header = vec![0; MAGIC.len() + 8];
        fill(&mut input, &mut header).context(DOING)?;
        let number = |at: usize| {
            let bytes = header[at..at + 4].try_into().expect("four bytes");
            u32::from_le_bytes(bytes)
        };
        if &header[..MAGIC.len()] != MAGIC {
            bail!("{DOING}: this is no stream of this program");
        }
        let (version, length) = (number(16), number(20) as usize);
        if version != VERSION {
            bail!(
                "{DOING}: it has version {version}, and this program reads {VERSION}; import it \
                 on a node with a newer p2v"
            );
        }
        if length > MOST_MANIFEST {
            bail!("{DOING}: it is damaged (a manifest of {length} bytes)");
        }
        let start = header.len();
        header.resize(start + length, 0);
        fill(&mut input, &mut header[start..]).context(DOING)?;
        let mut key = [0; 32];
        fill(&mut input, &mut key).context(DOING)?;
        if blake3::hash(&header) != key {
            bail!("{DOING}: it is damaged (its checksum is wrong)");
        }
        let manifest = serde_json::from_slice(&header[start..]).context(DOING)?;
        Ok(Self {
            input,
            manifest,
            key,
            records: 0,
            data: 0,
            buffer: vec![0; MOST_DATA],
        })
    }

    /// What the stream says of its disk.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The next record; `None` at the stream's proper end.
    ///
    /// # Errors
    /// The stream is damaged, is cut off, or goes on after its end; the message
    /// says what to do.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        let number = self.records;
        let damaged = |what: &str| {
            Error::msg(format!(
                "reading the stream: it is damaged at record {number} ({what}); fetch it once more, or \
                 export it again"
            ))
        };
        let mut bytes = [0; record::HEADER];
        fill(&mut self.input, &mut bytes)?;
        let header = Header::from_bytes(&bytes).ok_or_else(|| damaged("no record begins here"))?;
        let data = &mut self.buffer[..header.data_length()];
        fill(&mut self.input, data)?;
        let mut hash = [0; record::HASH];
        fill(&mut self.input, &mut hash)?;
        if hash != record::hash(&self.key, number, &bytes, data) {
            return Err(damaged("its checksum is wrong"));
        }
        self.records += 1;
        if header.kind == Kind::End {
            if (header.offset, header.length) != (number, self.data) {
                return Err(damaged("the end counts otherwise"));
            }
            return self.nothing_more().map(|()| None);
        }
        let area = self.manifest.areas.get(header.area as usize);
        let end = header.offset.checked_add(header.length);
        let outside = |area: &Area| end.is_none_or(|end| end > area.length);
        if area.is_none_or(outside) {
            return Err(damaged("it lies outside its area"));
        }
        let (area, offset) = (header.area, header.offset);
        Ok(Some(match header.kind {
            Kind::Zeros => Record::Zeros(area, offset, header.length),
            _ => {
                self.data += header.length;
                Record::Data(area, offset, &self.buffer[..header.data_length()])
            }
        }))
    }

    fn nothing_more(&mut self) -> Result<()> {
        match self.input.read(&mut [0]).context("reading the stream")? {
            0 => Ok(()),
            _ => bail!("reading the stream: something follows its end"),
        }
    }
}

fn fill(input: &mut impl Read, bytes: &mut [u8]) -> Result<()> {
    match input.read_exact(bytes) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            bail!(
                "reading the stream: it is truncated; the export did not end properly: export it again"
            )
        }
        result => result.context("reading the stream"),
    }
}
