//! The checksums that filesystems keep of their own structures.

/// Whether a checksum is the one that is stored. Those that look for what breaks
/// a reader would never come past one: there all are right.
pub fn agree(made: u32, stored: u32) -> bool {
    made == stored || cfg!(fuzzing)
}

/// The CRC-32C (Castagnoli) of `bytes`, going on from `crc`; without the
/// inversions at start and end that [`crc32c`] makes.
pub fn crc32c_raw(crc: u32, bytes: &[u8]) -> u32 {
    let mut chunks = bytes.chunks_exact(8);
    let mut crc = crc;
    for chunk in &mut chunks {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        crc = eight_bytes(u64::from_le_bytes(eight) ^ u64::from(crc));
    }
    for byte in chunks.remainder() {
        crc = (crc >> 8) ^ CASTAGNOLI[0][usize::from(crc.to_le_bytes()[0] ^ byte)];
    }
    crc
}

/// The CRC-32C of `bytes` as most formats store it.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !crc32c_raw(!0, bytes)
}

/// The CRC-16 (ARC) of `bytes`, going on from `crc`.
pub fn crc16(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, byte| {
        (crc >> 8) ^ ARC[usize::from(crc.to_le_bytes()[0] ^ byte)]
    })
}

/// Eight bytes at once, by a table for each place.
fn eight_bytes(bytes: u64) -> u32 {
    let places = bytes.to_le_bytes();
    let mut crc = 0;
    for (table, byte) in CASTAGNOLI.iter().rev().zip(places) {
        crc ^= table[usize::from(byte)];
    }
    crc
}

static CASTAGNOLI: [[u32; 256]; 8] = castagnoli();
static ARC: [u16; 256] = arc();

const fn castagnoli() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ (if crc & 1 == 1 { 0x82f6_3b78 } else { 0 });
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut place = 1;
    while place < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u32 = tables[place - 1][byte];
            tables[place][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        place += 1;
    }
    tables
}

const fn arc() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u16, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ (if crc & 1 == 1 { 0xa001 } else { 0 });
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the catalogue of parametrised CRC algorithms.
    #[test]
    fn of_the_digits_one_to_nine() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc16(0, b"123456789"), 0xbb3d);
    }

    #[test]
    fn in_pieces_as_at_once() {
        let bytes: Vec<u8> = (0..100).collect();
        for cut in 0..100 {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(!crc32c_raw(crc32c_raw(!0, head), tail), crc32c(&bytes));
        }
    }
}
