//! `import` of what instance-debootstrap's own `export` wrote: everything that
//! the filesystem held comes back; a stream that is cut off, damaged or hostile
//! leaves a disk that does not boot, and the node as it was.

mod broken;
mod content;

use std::path::{Path, PathBuf};

use p2v_sys::loopdev::Extent;
use p2v_tests::guest::{edit, format};
use p2v_tests::manifest::{self, Manifest};
use p2v_tests::peer::debootstrap;
use p2v_tests::{Instance, Lab};

const NAME: &str = "old.example.com";
const UUID: &str = "6f4a1f6e-3a10-4f5c-8a3a-0c3f5d0b6a11";

/// A lab, and a disk as instance-debootstrap makes one, with this in it.
fn source(test: &str, size: u64, fill: impl FnOnce(&Path)) -> (Lab, PathBuf, Manifest) {
    let lab = Lab::new(test).unwrap();
    let disk = lab.disk("source.img", size).unwrap();
    let options = ["-q", "-U", UUID, "-L", "old-root"];
    format(&disk, Extent::default(), "mkfs.ext4", &options).unwrap();
    let made = |top: &Path| {
        fill(top);
        std::fs::remove_dir(top.join("lost+found")).unwrap();
        manifest::of(top).unwrap()
    };
    let manifest = edit(&disk, Extent::default(), ("ext4", ""), made).unwrap();
    (lab, disk, manifest)
}

/// The stream of a disk.
fn exported(lab: &Lab, disk: &Path) -> PathBuf {
    let stream = lab.dir().join("stream");
    debootstrap::export(&Instance::new(NAME, disk), &stream).unwrap();
    stream
}

/// Some files, so that a stream has a beginning, a middle and an end.
fn some_files(top: &Path) {
    for number in 0..40_u8 {
        let dir = top.join(format!("dir{}", number % 4));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("file{number}")), vec![number; 50_000]).unwrap();
    }
}
