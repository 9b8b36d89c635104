//! The filesystem's blocks as they will be when its journal has been replayed.
//! Nothing is replayed on the device: who mounts the filesystem does that.

use std::collections::HashMap;

use anyhow::{Result, ensure};

use super::superblock::Superblock;
use crate::window::Window;

/// A block's newer content, in the journal.
#[derive(Debug, Clone, Copy)]
pub struct Logged {
    /// Byte of the window at which it lies.
    pub place: u64,
    /// Whether its first four bytes were zeroed, since they are the journal's
    /// own mark.
    pub escaped: bool,
}

/// Reads blocks.
pub struct Blocks<'a> {
    window: &'a Window<'a>,
    length: u64,
    count: u64,
    logged: HashMap<u64, Logged>,
}

/// The mark that every block of the journal's own starts with.
pub const MARK: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];

impl<'a> Blocks<'a> {
    /// Those of the device, but for the ones that are logged.
    pub fn new(
        superblock: &Superblock,
        window: &'a Window<'a>,
        logged: HashMap<u64, Logged>,
    ) -> Self {
        Self {
            window,
            length: superblock.block,
            count: superblock.blocks,
            logged,
        }
    }

    /// Reads a block.
    pub fn read(&self, block: u64) -> Result<Vec<u8>> {
        ensure!(block < self.count, "block {block} lies past its end");
        let length = usize::try_from(self.length)?;
        let Some(logged) = self.logged.get(&block) else {
            return Ok(self.window.read(block * self.length, length)?);
        };
        let mut bytes = self.window.read(logged.place, length)?;
        if logged.escaped {
            bytes[..4].copy_from_slice(&MARK);
        }
        Ok(bytes)
    }
}
