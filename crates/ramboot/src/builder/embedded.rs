//! Puts a root into the initrd: packed, in pieces, each a cpio archive of its
//! own before the one that holds everything else. The kernel unpacks archives
//! one after the other; these are not compressed again.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use p2v_archive::Scope;
use p2v_sys::Root;

use super::archive::Archive;
use crate::embedded::{self, Facts};
use crate::{INCOMPLETE, INITS};

/// How long a piece is, in bytes: what RAM holds twice while init unpacks.
const PIECE: usize = 4 << 20;

/// Holds only what boots from a disk: kernels, initrds, a boot loader.
const BOOT: &str = "boot";

/// Fails unless `root` is one that an initrd may carry.
pub(super) fn check(root: &Root) -> Result<()> {
    let doing = || format!("examining {}", root.path().display());
    if root.exists(INCOMPLETE) {
        bail!(
            "{}: it is not finished ({INCOMPLETE} exists): `gnt-instance reinstall` makes it anew",
            doing()
        );
    }
    if !INITS.iter().any(|path| root.exists(path)) {
        bail!(
            "{}: it is no system, no program at {}: name a whole system's root (--root)",
            doing(),
            INITS.join(", ")
        );
    }
    Ok(())
}

/// Packs `root` into `output`.
pub(super) fn write(root: &Root, output: &mut dyn Write) -> Result<Facts> {
    let mut exclude = crate::excluded(root)?;
    exclude.push(PathBuf::from(BOOT));
    let scope = Scope {
        exclude: exclude.into_iter().collect(),
        // What is mounted there belongs to the machine that we run on.
        one_filesystem: true,
    };
    let mut pieces = Pieces {
        output,
        piece: Vec::with_capacity(PIECE),
        count: 0,
    };
    let name = PathBuf::from(embedded::DIRECTORY);
    let packed = p2v_archive::pack(root.path(), &mut pieces, &name, &scope)?;
    pieces.end().context("writing the last piece of the root")?;
    Ok(Facts {
        pieces: pieces.count,
        packed: packed.archive_bytes,
        bytes: packed.unpacked_bytes,
        files: packed.inodes,
    })
}

/// Cuts what is written to it.
struct Pieces<'a> {
    output: &'a mut dyn Write,
    piece: Vec<u8>,
    count: u64,
}

impl Pieces<'_> {
    fn end(&mut self) -> std::io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let mut archive = Archive::new();
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        archive.directory(embedded::DIRECTORY, 0o700);
        archive.file(embedded::piece(self.count), 0o600, piece);
        let archive = archive.into_bytes().map_err(std::io::Error::other)?;
        self.output.write_all(&archive)?;
        self.count += 1;
        Ok(())
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.end()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.flush()
    }
}
