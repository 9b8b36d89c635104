//! The lab: everything that drives the product from outside, as Ganeti, a
//! firmware and an administrator do.
//!
//! No test looks into the product's own crates. A test gets a [`Lab`]
//! (directories, an SSH key, the installed OS definition), describes an
//! [`Instance`], lets [`Lab::create`] call `create` as Ganeti's backend does,
//! looks at the disk with [`image`], boots it in a [`qemu::Machine`] and asks
//! it questions over [`ssh`]. [`leftovers`] tells whether anything stayed.
//!
//! How to run and debug: tests/README.md.

pub mod console;
pub mod created;
pub mod diagnosis;
pub mod entry_points;
pub mod ganeti_env;
pub mod ganeti_lab;
pub mod guest;
pub mod image;
pub mod leftovers;
pub mod manifest;
pub mod moved;
pub mod moving;
pub mod namespace;
pub mod outcome;
pub mod packages;
pub mod peer;
pub mod place;
pub mod progress;
pub mod qemu;
pub mod ram_system;
pub mod ram_target;
pub mod sources;
pub mod ssh;
pub mod sshd;
pub mod table;
pub mod unreliable;
pub mod vm_slot;

pub use created::Created;
pub use ganeti_env::Instance;
pub use outcome::Outcome;
pub use place::Lab;

/// One MiB in bytes.
pub const MIB: u64 = 1 << 20;

/// One GiB in bytes.
pub const GIB: u64 = 1 << 30;

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
