//! Disk images as an input has them: only the pieces that are not empty, each
//! with its place in sectors of 512 bytes (4 bytes) and its length (2 bytes),
//! numbers in little-endian order.

use std::fs::File;
use std::io::{Read, Result};
use std::os::unix::fs::FileExt;

use crate::scratch;

/// What an image may hold, by an input's first byte; in blkid's words.
pub const KINDS: [&str; 5] = ["ext4", "xfs", "btrfs", "vfat", "swap"];

/// The length of each image, in bytes: xfs takes no less.
pub const LENGTH: u64 = 320 << 20;

const SECTOR: usize = 512;

/// The image of these pieces.
pub fn of(mut pieces: &[u8]) -> File {
    let image = scratch::empty();
    image.set_len(LENGTH).expect("it takes no room");
    while let Some((head, rest)) = pieces.split_at_checked(6) {
        let place = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let length = usize::from(u16::from_le_bytes([head[4], head[5]]));
        let (piece, rest) = rest.split_at(length.min(rest.len()));
        let place = u64::from(place) * SECTOR as u64 % LENGTH;
        let room = (LENGTH - place).min(piece.len() as u64) as usize;
        image
            .write_all_at(&piece[..room], place)
            .expect("there is room");
        pieces = rest;
    }
    image
}

/// The pieces of an image, which [`of`] puts together.
pub fn pieces(mut image: File) -> Result<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut sector = [0; SECTOR];
    for place in 0u32.. {
        if image.read(&mut sector)? < SECTOR {
            break;
        }
        let zeros = sector.iter().rev().take_while(|byte| **byte == 0).count();
        let length = SECTOR - zeros;
        if length > 0 {
            pieces.extend(place.to_le_bytes());
            pieces.extend((length as u16).to_le_bytes());
            pieces.extend(&sector[..length]);
        }
    }
    Ok(pieces)
}
