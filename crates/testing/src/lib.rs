//! What the tests of every crate share: skips that are seen, mounts that nobody
//! else sees, directories with room, trees that are hard to copy, the words to
//! compare them by, and signatures.
//!
//! For tests alone: it knows none of the product's crates, and none has it in
//! its dependencies but for its tests. All of it panics where it fails.

pub mod manifest;
pub mod signature;
pub mod tree;

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Says that something is not tested here, where the test runner's capture
/// does not hide it: libtest swallows eprintln! of a test that passes.
pub fn skip(why: &str) {
    use std::io::Write;
    let test = std::thread::current();
    let test = test.name().unwrap_or("a test");
    // Nobody to tell is no reason to fail.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}

/// Whether this process may do what the tests need; else it says so.
pub fn root_or_skip() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip("needs root");
    }
    root
}

/// Returns from the test, with a visible line, unless it runs as root.
#[macro_export]
macro_rules! need_root {
    () => {
        if !$crate::root_or_skip() {
            return;
        }
    };
}

/// The same, and what the test's thread mounts is its own ([`private_mounts`]).
#[macro_export]
macro_rules! need_private_mounts {
    () => {
        $crate::need_root!();
        $crate::private_mounts();
    };
}

/// Gives the calling thread a mount namespace of its own. Nobody else sees what
/// it mounts, and no namespace that someone else makes meanwhile keeps it
/// mounted. Needs root.
pub fn private_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
}

/// A directory for one test, on a disk with room for images: below
/// `$P2V_TEST_SCRATCH` (/var/tmp). With `$P2V_TEST_KEEP` it stays.
pub fn scratch(of: &str) -> tempfile::TempDir {
    let place = std::env::var_os("P2V_TEST_SCRATCH").unwrap_or("/var/tmp".into());
    tempfile::Builder::new()
        .prefix(&format!("p2v-test-{of}-"))
        .disable_cleanup(std::env::var_os("P2V_TEST_KEEP").is_some())
        .tempdir_in(place)
        .unwrap()
}

/// A file of so many bytes, all zeros and no space taken, for a disk.
pub fn image(size: u64) -> tempfile::NamedTempFile {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(size).unwrap();
    image
}

/// Damages a file in its middle.
pub fn flip_a_bit(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// The names in a directory, sorted. Panics if they cannot be read.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
