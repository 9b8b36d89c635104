//! Numbers at byte offsets of a structure read from the device. One that lies
//! past the structure's end is an error, never a panic.

use anyhow::{Context, Result};

/// A structure's bytes, its numbers least significant byte first.
#[derive(Debug, Clone, Copy)]
pub struct LittleEndian<'a>(pub &'a [u8]);

/// A structure's bytes, its numbers most significant byte first.
#[derive(Debug, Clone, Copy)]
pub struct BigEndian<'a>(pub &'a [u8]);

macro_rules! numbers {
    ($from:ident) => {
        /// The byte at `at`.
        pub fn u8(&self, at: usize) -> Result<u8> {
            Ok(u8::$from(array(self.0, at)?))
        }

        /// The 16 bits at `at`.
        pub fn u16(&self, at: usize) -> Result<u16> {
            Ok(u16::$from(array(self.0, at)?))
        }

        /// The 32 bits at `at`.
        pub fn u32(&self, at: usize) -> Result<u32> {
            Ok(u32::$from(array(self.0, at)?))
        }

        /// The 64 bits at `at`.
        pub fn u64(&self, at: usize) -> Result<u64> {
            Ok(u64::$from(array(self.0, at)?))
        }

        /// `N` bytes at `at`.
        pub fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
            array(self.0, at)
        }
    };
}

impl LittleEndian<'_> {
    numbers!(from_le_bytes);
}

impl BigEndian<'_> {
    numbers!(from_be_bytes);
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field
        .copied()
        .with_context(|| format!("a structure of {} bytes ends before byte {at}", bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_and_nothing_past_the_end() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let (little, big) = (LittleEndian(&bytes), BigEndian(&bytes));
        assert_eq!(little.u16(1).unwrap(), 0x0302);
        assert_eq!(big.u16(1).unwrap(), 0x0203);
        assert_eq!(little.u64(1).unwrap(), 0x0908_0706_0504_0302);
        assert_eq!(big.u32(5).unwrap(), 0x0607_0809);
        assert_eq!(big.bytes::<2>(7).unwrap(), [8, 9]);
        assert!(big.u32(6).is_err());
        assert!(little.u8(9).is_err());
        assert!(little.u8(usize::MAX).is_err());
    }
}
