//! The features that this reader knows. One that it does not know could change
//! what the bitmaps mean: the filesystem gives up.

use anyhow::{Result, ensure};

/// Features that any system may ignore.
pub mod compatible {
    pub const HAS_JOURNAL: u32 = 0x4;
    pub const SPARSE_SUPER2: u32 = 0x200;
    pub const FAST_COMMIT: u32 = 0x400;
}

/// Features that a system must know to read.
pub mod incompatible {
    pub const RECOVER: u32 = 0x4;
    pub const META_BG: u32 = 0x10;
    pub const SIXTY_FOUR_BIT: u32 = 0x80;
    pub const CHECKSUM_SEED: u32 = 0x2000;

    /// file types, recovery, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode,
    /// checksum seed, large directories, inline data, encryption, case folding
    pub const KNOWN: u32 = 0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x3_e000;
}

/// Features that a system must know to write.
pub mod read_only {
    pub const SPARSE_SUPER: u32 = 0x1;
    pub const DESCRIPTOR_CRC16: u32 = 0x10;
    pub const BIGALLOC: u32 = 0x200;
    pub const METADATA_CHECKSUMS: u32 = 0x400;
    pub const ORPHANS_PRESENT: u32 = 0x1_0000;

    /// sparse_super, large files, btree directories, huge files, crc16, many
    /// links, large inodes, quota, bigalloc, checksums, read-only, project
    /// quota, verity, orphans
    pub const KNOWN: u32 = 0x7f | 0x100 | 0x200 | 0x400 | 0x1000 | 0x2000 | 0x8000 | 0x1_0000;
}

/// The three sets of a filesystem.
#[derive(Debug, Clone, Copy)]
pub struct Features {
    /// What any system may ignore.
    pub compatible: u32,
    /// What a system must know to read.
    pub incompatible: u32,
    /// What a system must know to write.
    pub read_only: u32,
}

impl Features {
    /// Refuses what this reader does not know.
    pub fn check_known(&self) -> Result<()> {
        let incompatible = self.incompatible & !incompatible::KNOWN;
        let read_only = self.read_only & !read_only::KNOWN;
        ensure!(
            incompatible | read_only == 0,
            "it has features that are not known (incompat {incompatible:#x}, \
             ro_compat {read_only:#x})"
        );
        Ok(())
    }

    /// Whether descriptors have checksums. Only then does a flag stand for a
    /// bitmap that was never written.
    pub fn descriptor_checksums(&self) -> bool {
        self.read_only & (read_only::DESCRIPTOR_CRC16 | read_only::METADATA_CHECKSUMS) != 0
    }
}
