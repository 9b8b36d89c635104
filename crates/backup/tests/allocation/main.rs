//! The allocation of real filesystems, made and filled here: a copy of nothing
//! but the bytes in use, with garbage for all others, passes the filesystem's
//! own check and holds the same tree; partclone knows of no used block more.
//!
//! The slowest cases run with `--ignored` only.

mod btrfs;
mod damage;
mod ext;
mod fat;
mod image;
mod large;
mod oracle;
mod proof;
mod random;
mod swap;
mod tree;
mod xfs;
