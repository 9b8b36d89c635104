//! The lab: everything that drives the product from outside, as Ganeti, a
//! firmware and an administrator do.
//!
//! Nothing here looks into the product's own crates. A test gets a [`Lab`]
//! (directories, an SSH key, the installed OS definition), describes an
//! [`Instance`], lets [`Lab::create`] call `create` as Ganeti's backend does,
//! looks at the disk with [`image`], boots it in a [`qemu::Machine`] and asks
//! it questions over [`ssh`]. [`leftovers`] tells whether anything stayed.
//!
//! How to run and debug: tests/README.md.

pub mod console;
pub mod ganeti_env;
pub mod image;
pub mod leftovers;
pub mod namespace;
pub mod outcome;
pub mod peer;
pub mod place;
pub mod progress;
pub mod qemu;
pub mod ram_system;
pub mod ssh;
pub mod table;
pub mod vm_slot;

pub use ganeti_env::Instance;
pub use outcome::Outcome;
pub use place::Lab;

/// One MiB in bytes.
pub const MIB: u64 = 1 << 20;

/// One GiB in bytes.
pub const GIB: u64 = 1 << 30;

/// Whether this process may do what the tests need. If not, says so where the
/// test runner's capture does not hide it.
pub fn root_or_skip(test: &str) -> bool {
    use std::io::Write;
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    // Not eprintln!: libtest swallows that of a test that passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: needs root");
    false
}

/// Returns from the test, with a visible line, unless it runs as root.
#[macro_export]
macro_rules! need_root {
    () => {
        if !$crate::root_or_skip(std::thread::current().name().unwrap_or("a test")) {
            return;
        }
    };
}
