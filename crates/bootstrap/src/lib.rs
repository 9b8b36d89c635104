//! The bootstrap root: the Debian system that a transfer target boots into,
//! and the cache it is unpacked from.
//!
//! [`Cache::obtain`] finds the root that a [`Recipe`] describes, or builds it:
//!
//! 1. [`tool`]: mmdebstrap or debootstrap installs the packages,
//! 2. [`settle`]: configuration for a system that lives in RAM and must leave
//!    every disk alone,
//! 3. [`trim`]: what RAM should not hold goes,
//! 4. [`archive`]: the tree becomes one file of the cache.
//!
//! Not here: anything that belongs to one instance (names, keys, networks).

mod cache;
mod metadata;
mod mirror_login;
mod recipe;
mod scratch;
pub mod settle;
mod source;
mod tool;
pub mod trim;

pub use p2v_archive as archive;

pub use cache::{
    Cache, CachePolicy, CachedRoot, INITRD_PREFIX, Image, Initrd, Outcome, Pruned,
    Rules as PruneRules, Verdict,
};
pub use metadata::Metadata;
pub use recipe::{BASE_PACKAGES, Recipe};
pub use source::{Debian, Source};
pub use tool::Tool;
