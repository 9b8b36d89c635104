//! What the product is measured against: Debian's ganeti-instance-debootstrap
//! ([`debootstrap`]) and an initramfs-tools initrd that copies the root to RAM
//! ([`initramfs`]). Both run as Debian ships them, in a private mount
//! namespace where they would touch this machine's own files.

pub mod debootstrap;
pub mod initramfs;

use std::path::PathBuf;

/// A script of tests/peer.
fn script(name: &str) -> PathBuf {
    crate::place::source_dir().join("tests/peer").join(name)
}
