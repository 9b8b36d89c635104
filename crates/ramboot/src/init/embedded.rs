//! Takes the root out of a self-contained initrd: no disk is looked for, none
//! is touched, whatever became of them.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use p2v_sys::Root;

use super::cmdline::CommandLine;
use super::memory::{self, Memory, Need, RAM, Room, megabytes};
use super::{console, copy, mount_root};
use crate::MARKER;
use crate::embedded::{self, Facts};

/// What the initrd says of the root in it; `None` if it has none.
pub fn find() -> Result<Option<Facts>> {
    let marker = std::fs::read_to_string(MARKER).with_context(|| format!("reading {MARKER}"))?;
    Facts::parse(&marker).with_context(|| format!("reading {MARKER}"))
}

/// Unpacks the root into a tmpfs, if the memory suffices. Returns the program
/// to hand over to.
pub fn move_to_ram(facts: Facts, line: &CommandLine) -> Result<PathBuf> {
    if let Some(root) = &line.root {
        console::say(format!(
            "the root is in this initrd: root={root} is not used"
        ));
    }
    let need = Need::of(facts.bytes, facts.files);
    let mut memory = Memory::read()?;
    // Each piece's memory is free again when what was in it takes its own.
    memory.available += facts.packed;
    let room = Room::plan(need, memory, line.size)?;
    console::say(format!(
        "unpacking {} MB in {} files into RAM: {} MB needed of {} MB available",
        megabytes(facts.bytes),
        facts.files,
        megabytes(need.memory()),
        memory.available >> 20
    ));
    let ram = memory::mount(room)?;
    let start = Instant::now();
    let lost = p2v_archive::unpack_what_fits(Pieces::new(facts.pieces), ram.target())
        .context("taking the root out of the initrd")?;
    // It is to stay.
    std::mem::forget(ram);
    let time = start.elapsed();
    console::say(format!(
        "unpacked {} MB in {:.1} s, {} MB/s",
        megabytes(facts.bytes),
        time.as_secs_f64(),
        copy::rate(facts.bytes, time)
    ));
    copy::warn_of_lost_attributes(lost);
    let root = Root::open(Path::new(RAM))?;
    mount_root::init_of(&root, line.init.as_deref()).context("examining the root in the initrd")
}

/// The pieces one after the other; each is deleted as soon as it is open.
struct Pieces {
    current: Option<File>,
    next: u64,
    count: u64,
}

impl Pieces {
    fn new(count: u64) -> Self {
        Self {
            current: None,
            next: 0,
            count,
        }
    }

    fn open_next(&mut self) -> std::io::Result<File> {
        let path = Path::new("/").join(embedded::piece(self.next));
        let file = File::open(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => std::io::Error::other(format!(
                "piece {} of {} is missing: the initrd was cut, or it did not fit into the memory",
                self.next + 1,
                self.count
            )),
            _ => error,
        })?;
        std::fs::remove_file(path)?;
        self.next += 1;
        Ok(file)
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            if let Some(file) = &mut self.current {
                let read = file.read(buffer)?;
                if read > 0 {
                    return Ok(read);
                }
                self.current = None;
            }
            if self.next == self.count {
                return Ok(0);
            }
            self.current = Some(self.open_next()?);
        }
    }
}
