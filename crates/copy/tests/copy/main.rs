//! Copies and comparisons between two threads of this process, on real
//! filesystems.

mod blocks;
mod broken;
mod common;
mod compare;
mod files;
mod filesystems;
mod power;
mod wishes;
