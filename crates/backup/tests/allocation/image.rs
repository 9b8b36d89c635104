//! Filesystem images in files: made, mounted, and copied.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::mount::MsFlags;
use p2v_backup::allocation;
use p2v_backup::ranges::Ranges;
use p2v_backup::window::Window;
use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_sys::{Cmd, Mount};

/// A filesystem in a file, in a directory of its own.
pub struct Image {
    pub kind: &'static str,
    pub path: PathBuf,
    pub length: u64,
    pub directory: tempfile::TempDir,
}

/// A mounted image; unmounted, then detached.
pub struct Mounted {
    mount: Mount,
    device: LoopDevice,
}

impl Mounted {
    pub fn root(&self) -> &Path {
        self.mount.target()
    }

    /// Writes to the image what the kernel has of this filesystem alone.
    pub fn flush(&self) {
        nix::unistd::syncfs(File::open(self.root()).unwrap()).unwrap();
    }

    /// Ends all writes, as a power failure does: what was not committed is
    /// lost, or with `flush` just committed and nothing else.
    pub fn crash(self, flush: bool) {
        let shutdown = if flush { "shutdown -f" } else { "shutdown" };
        Cmd::new("xfs_io", "ending all writes")
            .args(["-x", "-c", shutdown])
            .arg(self.root())
            .run()
            .unwrap();
        self.close();
    }

    pub fn close(self) {
        self.mount.close().unwrap();
        self.device.close().unwrap();
    }
}

impl Image {
    /// A file of zeros.
    pub fn new(kind: &'static str, length: u64) -> Self {
        let directory = p2v_testing::scratch("allocation");
        let path = directory.path().join("image");
        File::create_new(&path).unwrap().set_len(length).unwrap();
        std::fs::create_dir(directory.path().join("mnt")).unwrap();
        Self {
            kind,
            path,
            length,
            directory,
        }
    }

    /// Made by `mkfs` and its options.
    pub fn made(kind: &'static str, length: u64, mkfs: &str) -> Self {
        let image = Self::new(kind, length);
        image.run(mkfs).unwrap();
        image
    }

    /// Runs a program with its arguments, split at spaces, on the image.
    pub fn run(&self, command: &str) -> Result<()> {
        let mut words = command.split(' ');
        Cmd::new(words.next().unwrap(), format!("running {command}"))
            .args(words)
            .arg(&self.path)
            .run()
    }

    pub fn mount(&self, options: &str) -> Mounted {
        self.mount_with(MsFlags::empty(), options)
    }

    /// Mounts and unmounts, so that the journal is replayed.
    pub fn recover(&self) {
        self.mount("").close();
    }

    pub fn mount_read_only(&self, options: &str) -> Mounted {
        self.mount_with(MsFlags::MS_RDONLY, options)
    }

    fn mount_with(&self, flags: MsFlags, options: &str) -> Mounted {
        let device = LoopDevice::attach(&self.path, Extent::default(), false).unwrap();
        let target = self.directory.path().join("mnt");
        let mount = Mount::new(device.path(), &target, self.kind, flags, options).unwrap();
        Mounted { mount, device }
    }

    pub fn open(&self) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).open(&self.path).unwrap()
    }

    pub fn used(&self) -> Result<Ranges> {
        used_of(self.kind, &self.open(), self.length)
    }

    /// A copy of `used` alone, with garbage everywhere else. Of a gap larger
    /// than 64 MiB only the ends have garbage.
    pub fn copy_of(&self, used: &Ranges) -> Self {
        let copy = Self::new(self.kind, self.length);
        let (from, to) = (self.open(), copy.open());
        for range in used.iter() {
            pieces(range.start, range.end, |at, length| {
                let mut bytes = vec![0; length];
                from.read_exact_at(&mut bytes, at).unwrap();
                to.write_all_at(&bytes, at).unwrap();
            });
        }
        let garbage = vec![0xff; PIECE as usize];
        for gap in used.gaps(self.length).iter() {
            let (head, tail) = match gap.end - gap.start {
                ..=0x400_0000 => (gap.end, gap.end),
                _ => (gap.start + PIECE, gap.end - PIECE),
            };
            let fill = |at, length: usize| to.write_all_at(&garbage[..length], at).unwrap();
            pieces(gap.start, head, fill);
            pieces(tail, gap.end, fill);
        }
        copy
    }

    /// A plain copy, holes kept.
    pub fn clone_whole(&self) -> Self {
        let copy = Self::new(self.kind, self.length);
        Cmd::new("cp", "copying the image")
            .args(["--sparse=always".as_ref(), self.path.as_os_str()])
            .arg(&copy.path)
            .run()
            .unwrap();
        copy
    }
}

pub fn used_of(kind: &str, file: &File, length: u64) -> Result<Ranges> {
    let window = Window::new(file, Extent { offset: 0, length });
    Ok(allocation::used(kind, &window)?.ranges)
}

const PIECE: u64 = 1 << 20;

fn pieces(start: u64, end: u64, mut each: impl FnMut(u64, usize)) {
    let mut at = start;
    while at < end {
        let length = PIECE.min(end - at);
        each(at, length as usize);
        at += length;
    }
}
