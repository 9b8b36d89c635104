//! A tree as one file: tar in zstd, with what tar alone would lose (extended
//! attributes, ACLs among them, and fractions of seconds) in pax headers, so
//! that any tar can read it.
//!
//! Own reading and writing, because the tar crate cuts pax values at newlines,
//! which ACLs and capabilities may contain, and looks at every path several
//! times: unpacking is what every create waits for, and every boot of a
//! self-contained initrd.
//!
//! Sockets are left out: they mean nothing without their server. Holes in
//! sparse files are filled.

mod pack;
mod pax;
mod unpack;

pub use pack::{Packed, Scope, pack};
pub use unpack::{unpack, unpack_what_fits};

/// The attributes that are kept. Others belong to the machine (SELinux's
/// labels, an overlay's marks), not to the tree.
fn is_kept(attribute: &[u8]) -> bool {
    attribute == b"security.capability"
        || attribute.starts_with(b"system.posix_acl_")
        || attribute.starts_with(b"user.")
}

/// The prefix of attributes in pax headers, as star, GNU tar and bsdtar have
/// it.
const XATTR: &str = "SCHILY.xattr.";
