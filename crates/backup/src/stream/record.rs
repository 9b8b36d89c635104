//! A record's header and hash.

use super::MOST_DATA;

/// Length of a header in bytes.
pub const HEADER: usize = 24;
/// Length of a record's hash in bytes.
pub const HASH: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes follow.
    Data,
    /// So many zeros, which do not follow.
    Zeros,
    /// The last record: offset and length count the records and the data.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub area: u32,
    pub offset: u64,
    pub length: u64,
}

impl Header {
    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0] = match self.kind {
            Kind::Data => b'D',
            Kind::Zeros => b'Z',
            Kind::End => b'E',
        };
        bytes[4..8].copy_from_slice(&self.area.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// `None` if these bytes are no header.
    pub fn from_bytes(bytes: &[u8; HEADER]) -> Option<Self> {
        let kind = match bytes[0] {
            b'D' => Kind::Data,
            b'Z' => Kind::Zeros,
            b'E' => Kind::End,
            _ => return None,
        };
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let header = Self {
            kind,
            area: u32::from_le_bytes(bytes[4..8].try_into().ok()?),
            offset: number(8)?,
            length: number(16)?,
        };
        let too_long = kind == Kind::Data && header.length > MOST_DATA as u64;
        (bytes[1..4] == [0; 3] && !too_long).then_some(header)
    }

    /// How many bytes of data follow.
    pub fn data_length(&self) -> usize {
        match self.kind {
            Kind::Data => self.length as usize,
            Kind::Zeros | Kind::End => 0,
        }
    }
}

/// The hash of the record that has `number` others before it.
pub fn hash(key: &[u8; 32], number: u64, header: &[u8; HEADER], data: &[u8]) -> [u8; HASH] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&number.to_le_bytes());
    hasher.update(header);
    hasher.update(data);
    let mut hash = [0; HASH];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..HASH]);
    hash
}
