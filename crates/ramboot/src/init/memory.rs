//! Whether the RAM suffices, before anything is copied, and the tmpfs that the
//! root is copied to.

use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::mount::MsFlags;
use p2v_sys::Mount;

use super::cmdline::Size;

/// Where the root in RAM is mounted in the initrd.
pub const RAM: &str = "/ram";

/// What must be left for the system that is then to run, in bytes: systemd,
/// journald and sshd take about 50 MiB, mkfs or rsync of a large filesystem
/// about as much.
const RESERVE: u64 = 96 << 20;

/// What a file takes in the kernel besides its data, in bytes, rounded up.
/// On Linux 6.1 that is 784 for the inode, 192 for the name, and for the index
/// of its pages 350 on average of a Debian root.
const PER_FILE: u64 = 1536;

/// Files that may be added to those copied.
const SPARE_FILES: u64 = 100_000;

/// What /proc/meminfo says, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of the RAM.
    pub total: u64,
    /// What can be had without swapping, caches included.
    pub available: u64,
}

impl Memory {
    /// Reads /proc/meminfo.
    pub fn read() -> Result<Self> {
        let text = std::fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
        Self::parse(&text).context("reading /proc/meminfo: unexpected content")
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
            kibibytes.checked_mul(1024)
        };
        Some(Self {
            total: field("MemTotal:")?,
            available: field("MemAvailable:")?,
        })
    }
}

/// What a root is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    data: u64,
    files: u64,
}

impl Need {
    /// Of a root with `data` bytes in whole pages, in `files` files.
    pub fn of(data: u64, files: u64) -> Self {
        Self { data, files }
    }

    /// Bytes of RAM that it takes.
    pub fn memory(self) -> u64 {
        self.data + self.files * PER_FILE
    }
}

/// How large the root in RAM may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of data.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

impl Room {
    /// The room for a root. Fails if that and the reserve do not fit into the
    /// memory, or `asked` is too little for the data.
    ///
    /// Unless asked for otherwise, it has half of what the copy and the
    /// reserve leave over: a tmpfs only takes what it holds, so the bound only
    /// keeps a runaway file from ending the machine.
    pub fn plan(need: Need, memory: Memory, asked: Option<Size>) -> Result<Self> {
        let Need { data, files } = need;
        let needed = need.memory() + RESERVE;
        let Some(left) = memory.available.checked_sub(needed) else {
            bail!(
                "checking the memory: moving the root to RAM needs {} MB of RAM \
                 ({} MB of data in {files} files, and {} MB to work with), \
                 {} MB available, {} MB missing; \
                 give the machine more RAM, or leave something out with ramboot.exclude=",
                megabytes(needed),
                megabytes(data),
                megabytes(RESERVE),
                memory.available >> 20,
                // Of the numbers as they are said, so that they add up.
                megabytes(needed) - (memory.available >> 20)
            );
        };
        let bytes = match asked {
            None => data + left / 2 + RESERVE / 2,
            Some(Size::Bytes(bytes)) => bytes,
            Some(Size::Percent(percent)) => memory.total / 100 * percent,
        };
        if bytes < data {
            bail!(
                "checking the memory: ramboot.size= allows {} MB, and the root has {} MB",
                bytes >> 20,
                megabytes(data)
            );
        }
        Ok(Self {
            bytes,
            files: files * 2 + SPARE_FILES,
        })
    }
}

/// Mounts an empty tmpfs with that room.
pub fn mount(room: Room) -> Result<Mount> {
    std::fs::create_dir_all(RAM).with_context(|| format!("creating {RAM}"))?;
    let data = format!("mode=0755,size={},nr_inodes={}", room.bytes, room.files);
    Mount::new("tmpfs", Path::new(RAM), "tmpfs", MsFlags::empty(), &data)
}

/// In MB of 2^20 bytes, rounded up: what is needed is never said to be less.
pub fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    /// A root whose files take 10 MB besides their data.
    fn fit(data: u64, available: u64, asked: Option<Size>) -> Result<Room> {
        let memory = Memory {
            total: 2048 * MB,
            available: available * MB,
        };
        Room::plan(Need::of(data * MB, 10 * MB / PER_FILE), memory, asked)
    }

    #[test]
    fn memory_is_read() {
        let memory = Memory::read().unwrap();
        assert!(memory.available > 0 && memory.available <= memory.total);
        assert_eq!(Memory::parse("MemTotal: 12 kB\n"), None);
        let parsed = Memory::parse("MemTotal:  12 kB\nMemFree: 1 kB\nMemAvailable:  3 kB\n");
        assert_eq!(
            parsed,
            Some(Memory {
                total: 12 << 10,
                available: 3 << 10
            })
        );
    }

    #[test]
    fn missing_memory_is_said_in_numbers() {
        let text = format!("{:#}", fit(700, 500, None).unwrap_err());
        assert!(text.contains("needs 806 MB of RAM"), "{text}");
        assert!(text.contains("500 MB available, 306 MB missing"), "{text}");
        assert!(fit(394, 500, None).is_ok());
        assert!(fit(395, 500, None).is_err());
    }

    #[test]
    fn room_is_more_than_the_data_and_less_than_the_memory() {
        let room = fit(300, 1000, None).unwrap();
        assert!(room.bytes > 500 * MB && room.bytes < 900 * MB, "{room:?}");
        assert!(room.files > 100_000);
        assert_eq!(
            fit(300, 1000, Some(Size::Bytes(400 * MB))).unwrap().bytes,
            400 * MB
        );
        assert!(fit(300, 1000, Some(Size::Percent(50))).unwrap().bytes > 1000 * MB);
        let error = fit(300, 1000, Some(Size::Bytes(200 * MB))).unwrap_err();
        assert!(format!("{error}").contains("ramboot.size= allows 200 MB"));
    }
}
