//! Files in RAM, for what only reads files.

use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;

use nix::sys::memfd::{MFdFlags, memfd_create};
use p2v_sys::Root;
use tempfile::TempDir;

/// A file of these bytes, read from its start.
pub fn file(bytes: &[u8]) -> File {
    use std::io::{Seek, Write};
    let mut file = empty();
    file.write_all(bytes).expect("memory takes it");
    file.rewind().expect("a file in memory has a start");
    file
}

/// A file without bytes.
pub fn empty() -> File {
    File::from(memfd_create(c"input", MFdFlags::MFD_CLOEXEC).expect("there is memory"))
}

/// A directory in RAM, gone when it is dropped.
pub fn directory() -> TempDir {
    let shm = Path::new("/dev/shm");
    tempfile::Builder::new()
        .prefix("p2v-fuzz-")
        .tempdir_in(if shm.is_dir() { shm } else { Path::new("/tmp") })
        .expect("a directory can be made")
}

/// A root without any file, made once; nothing is ever written to it.
pub fn empty_root() -> &'static Root {
    static ROOT: OnceLock<Root> = OnceLock::new();
    ROOT.get_or_init(|| {
        let directory = directory();
        let root = Root::open(directory.path()).expect("it was made just now");
        // What is open stays usable, and nothing is left behind.
        drop(directory);
        root
    })
}
