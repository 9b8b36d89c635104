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
pub use p2v_testing::{manifest, need_root, root_or_skip, skip};
pub use place::Lab;

/// One MiB in bytes.
pub const MIB: u64 = 1 << 20;

/// One GiB in bytes.
pub const GIB: u64 = 1 << 30;
