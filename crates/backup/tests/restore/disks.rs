//! Disk images with what the tests need on them.

use std::fs::File;
use std::io::Cursor;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::mount::MsFlags;
use p2v_backup::export;
use p2v_backup::restore::{self, Places};
use p2v_backup::stream::StreamReader;
use p2v_sys::disk::Disk;
use p2v_sys::filesystem::{self, Content};
use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_sys::partition::table::Table;
use p2v_sys::source_disk::SourceDisk;
use p2v_sys::{Cmd, Mount};

use crate::content;

pub const MIB: u64 = 1 << 20;

/// How a disk is laid out around the filesystem that a test is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Whole,
    /// A boot partition, and in an extended one the filesystem and swap.
    Logical,
    /// The filesystem, and swap in a partition of its own behind it.
    Primary,
    /// A boot loader's partition, the filesystem and swap.
    Gpt,
}

/// A directory with disk images in it.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// `None`, and a visible line, without root.
    pub fn new() -> Option<Self> {
        if !p2v_testing::root_or_skip() {
            return None;
        }
        p2v_testing::private_mounts();
        let dir = p2v_testing::scratch("restore");
        std::fs::create_dir(dir.path().join("mnt")).unwrap();
        std::fs::create_dir(dir.path().join("spill")).unwrap();
        Some(Self { dir })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A blank image.
    pub fn blank(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    /// An image that was something else before: every signature's place is
    /// taken.
    pub fn used(&self, name: &str, size: u64) -> PathBuf {
        let path = self.blank(name, size);
        let make = Cmd::new("sfdisk", "making a table")
            .arg("--quiet")
            .arg(&path);
        make.stdin("label: gpt\n,2M\n,3M\n,+\n").run().unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        for at in (MIB..size).step_by(MIB as usize) {
            file.write_all_at(b"LUKS\xba\xbe\0\x01", at).unwrap();
            file.write_all_at(b"SWAPSPACE2", at + 4086).unwrap();
            // Where md, of version 1.0, looks from the end of a partition.
            let md = [0xa92b_4efc_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat();
            file.write_all_at(&md, at - 8192).unwrap();
        }
        for at in (0..size).step_by(4 << 20) {
            let noise = content::noise(at, 64 << 10);
            file.write_all_at(&noise, at + (1 << 20) + 8192).unwrap();
        }
        path
    }

    /// A disk of `size` with a filled filesystem of type `kind`.
    pub fn disk(&self, layout: Layout, kind: &str, size: u64) -> PathBuf {
        let path = self.blank("old.img", size);
        let mib = size / MIB;
        let script = match layout {
            Layout::Whole => String::new(),
            Layout::Logical => format!(
                "label: dos\n1 : start=1MiB, size=20MiB, type=83, bootable\n\
                 2 : start=21MiB, size={}MiB, type=5\n5 : start=22MiB, size={}MiB, type=83\n\
                 6 : start={}MiB, size=15MiB, type=82\n",
                mib - 21,
                mib - 22 - 18,
                mib - 17,
            ),
            Layout::Primary => format!(
                "label: dos\n1 : start=2048, size={}MiB, type=83, bootable\n\
                 2 : start={}MiB, size=15MiB, type=82\n",
                mib - 20,
                mib - 16
            ),
            Layout::Gpt => format!(
                "label: gpt\n14 : start=1MiB, size=1MiB, \
                 type=21686148-6449-6E6F-744E-656564454649, name=\"boot loader\"\n\
                 1 : start=2MiB, size={}MiB, attrs=\"RequiredPartition\", name=\"the root\"\n\
                 2 : start={}MiB, size=15MiB, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F\n",
                mib - 20,
                mib - 18
            ),
        };
        if layout != Layout::Whole {
            let make = Cmd::new("sfdisk", "making a table")
                .arg("--quiet")
                .arg(&path);
            make.stdin(script).run().unwrap();
        }
        let file = File::options().write(true).open(&path).unwrap();
        if layout != Layout::Whole {
            file.write_all_at(b"boot code", 0).unwrap();
        }
        self.format(&path, layout, kind);
        path
    }

    fn format(&self, path: &Path, layout: Layout, kind: &str) {
        let (main, others): (_, &[(u32, &str)]) = match layout {
            Layout::Whole => (0, &[]),
            Layout::Logical => (5, &[(1, "ext2"), (6, "swap")]),
            Layout::Primary => (1, &[(2, "swap")]),
            Layout::Gpt => (1, &[(2, "swap")]),
        };
        for (number, kind) in others.iter().chain([&(main, kind)]) {
            let device = LoopDevice::attach(path, extent(path, *number), false).unwrap();
            let make = match *kind {
                "swap" => Cmd::new("mkswap", "making swap").args(["-L", "its swap"]),
                "xfs" => Cmd::new("mkfs.xfs", "making xfs").args(["-q", "-K", "-L", "its label"]),
                "btrfs" => Cmd::new("mkfs.btrfs", "making btrfs").args(["-q", "-L", "its label"]),
                ext => {
                    Cmd::new(format!("mkfs.{ext}"), "making ext").args(["-q", "-L", "its label"])
                }
            };
            make.arg(device.path()).run().unwrap();
            if *kind != "swap" {
                let top = self.path("mnt");
                let mount = Mount::new(device.path(), &top, kind, MsFlags::empty(), "").unwrap();
                match *number == main {
                    true => content::fill(&top, 1),
                    false => {
                        std::fs::write(top.join("kernel"), content::noise(2, 3 << 20)).unwrap()
                    }
                }
                mount.close().unwrap();
            }
            device.close().unwrap();
        }
    }

    /// Restores a stream to the disk at `path`.
    pub fn restore(&self, stream: &[u8], path: &Path) -> Result<()> {
        let disk = Disk::claim(path)?;
        let mut reader = StreamReader::start(Cursor::new(stream))?;
        let places = Places {
            mount_point: &self.path("mnt"),
            spill: &self.path("spill"),
        };
        let restored = restore::restore(&mut reader, &disk, &places);
        drop(disk);
        assert_eq!(std::fs::read_dir(self.path("spill")).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(self.path("mnt")).unwrap().count(), 0);
        restored
    }

    /// A copy of the disk as it is in the midst of writes: its journal is full.
    pub fn copy_in_use(&self, path: &Path, number: u32, copy: &Path) {
        let extent = extent(path, number);
        let kind = signature(path, extent).kind;
        let device = LoopDevice::attach(path, extent, false).unwrap();
        let top = self.path("mnt");
        let mount = Mount::new(device.path(), &top, &kind, MsFlags::empty(), "").unwrap();
        for number in 0..100 {
            let file = top.join(format!("late{number}"));
            std::fs::write(file, content::noise(number, 5000)).unwrap();
        }
        let dir = File::open(&top).unwrap();
        dir.sync_all().unwrap();
        let frozen = Cmd::new("sync", "writing out").arg("-f").arg(&top);
        frozen.run().unwrap();
        std::fs::copy(path, copy).unwrap();
        drop(dir);
        mount.close().unwrap();
        device.close().unwrap();
    }

    /// The files of the filesystem in partition `number`.
    pub fn tree(&self, path: &Path, number: u32, directory_times: bool) -> content::Tree {
        self.mounted(path, number, |top| content::tree(top, directory_times))
    }

    /// The same, mounted to be written.
    pub fn tree_after_replay(&self, path: &Path, number: u32) -> content::Tree {
        let look = |top: &Path| content::tree(top, false);
        self.mounted_with(path, number, MsFlags::empty(), look)
    }

    /// The size of the filesystem in partition `number` as its driver says.
    pub fn size(&self, path: &Path, number: u32) -> u64 {
        self.mounted(path, number, |top| {
            let stat = nix::sys::statvfs::statvfs(top).unwrap();
            stat.blocks() * stat.fragment_size()
        })
    }

    fn mounted<T>(&self, path: &Path, number: u32, look: impl FnOnce(&Path) -> T) -> T {
        self.mounted_with(path, number, MsFlags::MS_RDONLY, look)
    }

    fn mounted_with<T>(
        &self,
        path: &Path,
        number: u32,
        flags: MsFlags,
        look: impl FnOnce(&Path) -> T,
    ) -> T {
        let read_only = flags.contains(MsFlags::MS_RDONLY);
        let extent = extent(path, number);
        let kind = signature(path, extent).kind;
        let device = LoopDevice::attach(path, extent, read_only).unwrap();
        let top = self.path("mnt");
        let mount = Mount::new(device.path(), &top, &kind, flags, "").unwrap();
        let seen = look(&top);
        mount.close().unwrap();
        device.close().unwrap();
        seen
    }
}

/// Where partition `number` lies; 0 means the whole disk.
pub fn extent(path: &Path, number: u32) -> Extent {
    if number == 0 {
        let length = std::fs::metadata(path).unwrap().len();
        return Extent { offset: 0, length };
    }
    let table = Table::read(path).unwrap().unwrap();
    let entry = table.partitions.iter().find(|entry| entry.number == number);
    entry.unwrap().extent(table.sector_size)
}

pub fn signature(path: &Path, extent: Extent) -> filesystem::Signature {
    match filesystem::probe(path, extent).unwrap() {
        Content::Known(signature) => signature,
        other => panic!("{}: {other:?}", path.display()),
    }
}

/// Whether the disk's filesystem may be grown by its driver: ext's wants
/// CAP_SYS_RESOURCE.
pub fn may_grow_mounted(path: &Path) -> bool {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let effective = lines.find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    let effective = u64::from_str_radix(effective.trim(), 16).unwrap();
    let kind = signature(path, extent(path, 0)).kind;
    !kind.starts_with("ext") || effective & CAP_SYS_RESOURCE != 0
}

/// The disk as a stream.
pub fn exported(path: &Path) -> Vec<u8> {
    let disk = SourceDisk::open(path).unwrap();
    let mut stream = Vec::new();
    export::export(&disk, &mut stream, |_| Ok(())).unwrap();
    stream
}

/// Fails unless the filesystem's own program finds nothing wrong.
pub fn check(path: &Path, number: u32) {
    let extent = extent(path, number);
    let device = LoopDevice::attach(path, extent, false).unwrap();
    let (program, args): (_, &[&str]) = match signature(path, extent).kind.as_str() {
        "xfs" => ("xfs_repair", &["-n"]),
        "btrfs" => ("btrfs", &["check", "--readonly"]),
        _ => ("e2fsck", &["-fn"]),
    };
    let command = Cmd::new(program, "checking").args(args).arg(device.path());
    command.run().unwrap();
    device.close().unwrap();
}

/// The table, without places: identifiers, types, names, attributes.
pub fn identity(path: &Path) -> Table {
    let mut table = Table::read(path).unwrap().unwrap();
    for entry in &mut table.partitions {
        (entry.start, entry.size) = (0, 0);
    }
    table
}

pub fn hash(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).unwrap()).unwrap();
    hasher.finalize()
}

/// Fails if the disk has a table or a superblock.
pub fn assert_unbootable(path: &Path) {
    assert_eq!(Table::read(path).unwrap(), None);
    let all = extent(path, 0);
    assert_eq!(filesystem::probe(path, all).unwrap(), Content::Nothing);
    let mut sector = [1; 512];
    File::open(path)
        .unwrap()
        .read_exact_at(&mut sector, 0)
        .unwrap();
    assert_eq!(sector, [0; 512]);
}
