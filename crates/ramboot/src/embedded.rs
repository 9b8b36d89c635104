//! The root inside a self-contained initrd: what both the builder, which puts
//! it there, and init, which takes it out, must know of it.
//!
//! It is an archive of [`p2v_archive`]'s, cut into pieces, so that init can
//! give the memory of each back as soon as it is read: RAM holds the root
//! once, not twice. What it takes is in the marker, a line a number.

use anyhow::{Context, Result};

/// The directory of the initrd that holds the pieces.
pub const DIRECTORY: &str = "p2v-root";

/// The name of a piece, counted from 0.
pub fn piece(number: u64) -> String {
    format!("{DIRECTORY}/{number:06}")
}

/// What is known of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How many pieces there are.
    pub pieces: u64,
    /// Their length in all, in bytes.
    pub packed: u64,
    /// Room that the root takes in whole pages, in bytes.
    pub bytes: u64,
    /// Files of all types.
    pub files: u64,
}

impl Facts {
    /// As lines of the marker.
    pub fn lines(&self) -> String {
        format!(
            "root-pieces={}\nroot-packed={}\nroot-bytes={}\nroot-files={}\n",
            self.pieces, self.packed, self.bytes, self.files
        )
    }

    /// From the marker's text; `None` if its initrd is not self-contained.
    pub fn parse(marker: &str) -> Result<Option<Self>> {
        let value = |name: &str| {
            let mut lines = marker.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        };
        if value("root-pieces").is_none() {
            return Ok(None);
        }
        let number = |name: &str| -> Result<u64> {
            let text = value(name).with_context(|| format!("there is no {name}"))?;
            text.parse().with_context(|| format!("reading {name}"))
        };
        Ok(Some(Self {
            pieces: number("root-pieces")?,
            packed: number("root-packed")?,
            bytes: number("root-bytes")?,
            files: number("root-files")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_as_they_were_written() {
        let facts = Facts {
            pieces: 15,
            packed: 61_739_740,
            bytes: 180_000_000,
            files: 9000,
        };
        let marker = format!("kernel=6.1.0\nbuilder=p2v\n{}", facts.lines());
        assert_eq!(Facts::parse(&marker).unwrap(), Some(facts));
        assert_eq!(Facts::parse("kernel=6.1.0\n").unwrap(), None);
        assert!(Facts::parse("root-pieces=3\n").is_err());
        assert!(Facts::parse(&marker.replace("9000", "9e3")).is_err());
    }
}
