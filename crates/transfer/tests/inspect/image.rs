//! Disks in files: partitioned, filled, inspected.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::MsFlags;
use p2v_sys::loopdev::{self, Extent, LoopDevice};
use p2v_sys::partition::table::Table;
use p2v_sys::{Cmd, Mount};
use p2v_transfer::source::{Area, Content, Disk, Filesystem, OpenSource, Source};

pub const MIB: u64 = 1 << 20;
pub const UUID: &str = "11111111-2222-3333-4444-5555555555aa";

/// A disk's image in a directory of its own.
pub struct Image {
    pub path: PathBuf,
    pub directory: tempfile::TempDir,
}

impl Image {
    /// Of zeros.
    pub fn new(mib: u64) -> Self {
        let directory = p2v_testing::scratch("inspect");
        let path = directory.path().join("disk.img");
        File::create(&path).unwrap().set_len(mib * MIB).unwrap();
        Self { path, directory }
    }

    /// With a partition table, as sfdisk takes it.
    pub fn partitioned(mib: u64, script: &str) -> Self {
        let image = Self::new(mib);
        sfdisk(&image.path, script);
        image
    }

    /// Where a partition lies; 0 is the whole disk.
    pub fn extent(&self, number: u32) -> Extent {
        extent(&self.path, number)
    }

    /// Runs mkfs or the like on a partition.
    pub fn make(&self, number: u32, program: &str, args: &[&str]) -> &Self {
        make(&self.path, number, program, args);
        self
    }

    /// Mounts a partition, and has `work` fill it.
    pub fn fill(&self, number: u32, kind: &str, data: &str, work: impl FnOnce(&Path)) -> &Self {
        let mounted = self.mounted(number, kind, data);
        work(mounted.path());
        mounted.close();
        self
    }

    pub fn mounted(&self, number: u32, kind: &str, data: &str) -> Mounted {
        Mounted::new(&self.path, number, kind, data)
    }

    pub fn write(&self, bytes: &[u8], at: u64) {
        let file = File::options().write(true).open(&self.path).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    /// What an inspection finds; not a byte of the image changes, though all
    /// that can be mounted is, and nothing stays attached.
    pub fn inspected(&self) -> Source {
        inspected(&[&self.path])
    }
}

/// A partition, mounted to be written to.
pub struct Mounted {
    mount: Mount,
    device: LoopDevice,
    directory: tempfile::TempDir,
}

impl Mounted {
    pub fn new(disk: &Path, number: u32, kind: &str, data: &str) -> Self {
        let device = LoopDevice::attach(disk, extent(disk, number), false).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let flags = MsFlags::empty();
        let mount = Mount::new(device.path(), directory.path(), kind, flags, data).unwrap();
        Self {
            mount,
            device,
            directory,
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn close(self) {
        self.mount.close().unwrap();
        self.device.close().unwrap();
    }
}

pub fn sfdisk(disk: &Path, script: &str) {
    Cmd::new("sfdisk", "making a table")
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(disk)
        .stdin(script)
        .run()
        .unwrap();
}

fn extent(disk: &Path, number: u32) -> Extent {
    if number == 0 {
        return Extent::default();
    }
    let table = Table::read(disk).unwrap().unwrap();
    let mut entries = table.partitions.iter();
    let entry = entries.find(|entry| entry.number == number).unwrap();
    entry.extent(table.sector_size)
}

pub fn make(disk: &Path, number: u32, program: &str, args: &[&str]) {
    let device = LoopDevice::attach(disk, extent(disk, number), false).unwrap();
    Cmd::new(program, "making a filesystem")
        .args(args)
        .arg(device.path())
        .run()
        .unwrap();
    device.close().unwrap();
}

pub fn inspected(paths: &[&Path]) -> Source {
    let hash = |path: &Path| {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path).unwrap()).unwrap();
        hasher.finalize()
    };
    let before: Vec<_> = paths.iter().map(|path| hash(path)).collect();
    let owned: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    let open = OpenSource::open(&owned).unwrap();
    for disk in &open.source.disks {
        for area in disk.areas.iter().filter(|area| is_mountable(area)) {
            if let Ok(mounted) = open.mount(&disk.path, area.start) {
                assert!(std::fs::read_dir(mounted.path()).is_ok());
                let written = std::fs::write(mounted.path().join("written"), "x");
                assert!(written.is_err(), "{area:?}");
                mounted.close().unwrap();
            }
        }
    }
    let source = open.source.clone();
    open.close().unwrap();
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(hash(path), before, "{} was changed", path.display());
        assert_let_go(path);
    }
    let json: Source = serde_json::from_str(&source.to_json()).unwrap();
    assert_eq!(json, source);
    source
}

/// A program that another test is just starting may hold a loop device a moment
/// longer.
fn assert_let_go(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline && !loopdev::users_of(path).unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(loopdev::users_of(path).unwrap(), [""; 0].map(PathBuf::from));
}

fn is_mountable(area: &Area) -> bool {
    matches!(&area.content, Content::Filesystem(it) if it.format.kind != "vfat")
}

/// A small system of Debian's, with that fstab.
pub fn system(root: &Path, fstab: &str) {
    for directory in [
        "boot",
        "etc/network",
        "home",
        "lib/modules/6.1.0-18-amd64",
        "lib/systemd",
        "sbin",
        "usr/lib",
        "var",
    ] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    for (path, text) in [
        ("etc/fstab", fstab),
        ("etc/hostname", "oldbox\n"),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        (
            "usr/lib/os-release",
            "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
        ),
        ("lib/systemd/systemd", ""),
        ("boot/vmlinuz-6.1.0-18-amd64", ""),
        ("boot/initrd.img-6.1.0-18-amd64", ""),
        (
            "etc/network/interfaces",
            "auto lo\niface lo inet loopback\nallow-hotplug eno1\niface eno1 inet dhcp\n",
        ),
    ] {
        std::fs::write(root.join(path), text).unwrap();
    }
    link("../usr/lib/os-release", &root.join("etc/os-release"));
    link("/lib/systemd/systemd", &root.join("sbin/init"));
}

pub fn link(target: &str, path: &Path) {
    let _ = std::fs::remove_file(path);
    std::os::unix::fs::symlink(target, path).unwrap();
}

/// The area of that number on the first disk.
pub fn area(source: &Source, number: u32) -> &Area {
    area_of(&source.disks[0], number)
}

pub fn area_of(disk: &Disk, number: u32) -> &Area {
    let mut areas = disk.areas.iter();
    areas.find(|area| area.number == number).unwrap()
}

pub fn filesystem(area: &Area) -> &Filesystem {
    match &area.content {
        Content::Filesystem(filesystem) => filesystem,
        other => panic!("{other:?} is no filesystem"),
    }
}

/// Where it is mounted, with the subvolume after a colon.
pub fn mounts(area: &Area) -> Vec<String> {
    let points = filesystem(area).mounts.iter();
    points
        .map(|point| match &point.subvolume {
            Some(subvolume) => format!("{}:{subvolume}", point.path),
            None => point.path.clone(),
        })
        .collect()
}

pub fn assert_told(texts: &[String], part: &str) {
    let told = texts.iter().any(|text| text.contains(part));
    assert!(told, "{part:?} is not in {texts:#?}");
}

/// A place below the name of an inspected image.
pub fn has_name(area: &Area, name: &str) -> bool {
    area.names.iter().any(|known| known == name)
}

/// A loop device over a whole image, as losetup makes it with these options.
pub struct Attached {
    path: PathBuf,
}

impl Attached {
    pub fn new(image: &Path, options: &[&str]) -> Self {
        let path = Cmd::new("losetup", "attaching a disk")
            .args(["--find", "--show"])
            .args(options)
            .arg(image)
            .read()
            .unwrap();
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let detach = Cmd::new("losetup", "detaching a disk").arg("--detach");
        detach.arg(&self.path).run().unwrap();
    }
}
