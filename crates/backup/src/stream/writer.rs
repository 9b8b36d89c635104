//! Writes a stream.

use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Error, Result, bail};

use super::record::{self, Header, Kind};
use super::{MAGIC, MOST_DATA, MOST_MANIFEST, Manifest, VERSION};

/// Writes a stream to `out`; [`StreamWriter::finish`] ends it.
#[derive(Debug)]
pub struct StreamWriter<W> {
    out: W,
    key: [u8; 32],
    records: u64,
    data: u64,
}

impl<W: Write> StreamWriter<W> {
    /// Begins with the manifest.
    ///
    /// # Errors
    /// The output takes no more.
    pub fn start(mut out: W, manifest: &Manifest) -> Result<Self> {
        let header = header(manifest)?;
        let key = *blake3::hash(&header).as_bytes();
        out.write_all(&header)
            .and_then(|()| out.write_all(&key))
            .map_err(explain)?;
        Ok(Self {
            out,
            key,
            records: 0,
            data: 0,
        })
    }

    /// Writes data, at most [`MOST_DATA`], that lies at byte `offset` of the
    /// area of that number in the manifest.
    pub fn data(&mut self, area: u32, offset: u64, data: &[u8]) -> Result<()> {
        let header = Header {
            kind: Kind::Data,
            area,
            offset,
            length: data.len() as u64,
        };
        debug_assert!(data.len() <= MOST_DATA);
        self.data += header.length;
        self.record(header, data)
    }

    /// Writes that `length` bytes are zeros.
    pub fn zeros(&mut self, area: u32, offset: u64, length: u64) -> Result<()> {
        let kind = Kind::Zeros;
        let header = Header {
            kind,
            area,
            offset,
            length,
        };
        self.record(header, &[])
    }

    /// How many bytes of data were written.
    pub fn data_bytes(&self) -> u64 {
        self.data
    }

    /// Ends the stream.
    pub fn finish(mut self) -> Result<()> {
        let end = Header {
            kind: Kind::End,
            area: 0,
            offset: self.records,
            length: self.data,
        };
        self.record(end, &[])?;
        self.out.flush().map_err(explain)
    }

    fn record(&mut self, header: Header, data: &[u8]) -> Result<()> {
        let header = header.to_bytes();
        let hash = record::hash(&self.key, self.records, &header, data);
        self.records += 1;
        let mut write = || -> io::Result<()> {
            self.out.write_all(&header)?;
            self.out.write_all(data)?;
            self.out.write_all(&hash)
        };
        write().map_err(explain)
    }
}

/// Why is known only where the stream goes.
fn explain(error: io::Error) -> Error {
    let hint = match error.kind() {
        ErrorKind::BrokenPipe => " (what reads it has ended: is the backup's node full or down?)",
        ErrorKind::StorageFull => " (make room where it goes)",
        _ => "",
    };
    Error::new(error).context(format!("writing the stream{hint}"))
}

fn header(manifest: &Manifest) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(manifest).context("writing the stream's manifest")?;
    if json.len() > MOST_MANIFEST {
        bail!("writing the stream's manifest: it has {} bytes", json.len());
    }
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend((json.len() as u32).to_le_bytes());
    header.extend(json);
    Ok(header)
}

/// How long a stream of `data` bytes in `records` records is, in bytes.
pub fn length(manifest: &Manifest, records: u64, data: u64) -> Result<u64> {
    let around = (record::HEADER + record::HASH) as u64;
    Ok(header(manifest)?.len() as u64 + 32 + (records + 1) * around + data)
}
