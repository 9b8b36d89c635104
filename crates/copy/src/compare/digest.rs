//! A file's contents in 32 bytes, the same whatever of its zeros is stored.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Result, bail};

use crate::walk::segments;

/// How long it is, in bytes.
pub const DIGEST: usize = 32;

/// What is read and digested at once.
const BLOCK: u64 = 256 << 10;

/// BLAKE3 over the size, and place and contents of each block that is not all
/// zeros. A block with nothing stored is not read, so that a large sparse file
/// takes no time.
pub fn digest(file: &File, size: u64) -> Result<[u8; DIGEST]> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&size.to_le_bytes());
    let mut buffer = vec![0; BLOCK.min(size) as usize];
    let mut at = 0;
    for (start, end) in segments(file, size) {
        at = at.max(start / BLOCK * BLOCK);
        while at < end {
            let length = BLOCK.min(size - at) as usize;
            let block = &mut buffer[..length];
            read_exactly(file, block, at)?;
            if !crate::send::is_zero(block) {
                hasher.update(&at.to_le_bytes());
                hasher.update(block);
            }
            at += BLOCK;
        }
    }
    Ok(*hasher.finalize().as_bytes())
}

fn read_exactly(file: &File, mut room: &mut [u8], mut at: u64) -> Result<()> {
    while !room.is_empty() {
        let count = file.read_at(room, at)?;
        if count == 0 {
            bail!("it became shorter while it was read");
        }
        room = &mut room[count..];
        at += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_and_stored_zeros_are_the_same_and_all_else_is_not() {
        let of = |bytes: &[u8], holes: bool| {
            let file = tempfile::tempfile().unwrap();
            if holes {
                file.set_len(bytes.len() as u64).unwrap();
                for (place, chunk) in bytes.chunks(4096).enumerate() {
                    if chunk.iter().any(|&byte| byte != 0) {
                        file.write_all_at(chunk, place as u64 * 4096).unwrap();
                    }
                }
            } else {
                file.write_all_at(bytes, 0).unwrap();
            }
            digest(&file, bytes.len() as u64).unwrap()
        };
        let mut bytes = vec![0; 2_000_000];
        bytes[700_000] = 7;
        bytes[1_999_999] = 9;
        let one = of(&bytes, false);
        assert_eq!(one, of(&bytes, true));
        bytes.push(0);
        assert_ne!(one, of(&bytes, false));
        bytes.pop();
        bytes[700_000] = 0;
        bytes[700_000 + (256 << 10)] = 7;
        assert_ne!(one, of(&bytes, true));
    }
}
