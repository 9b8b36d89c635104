//! Ganeti's OS interface: its environment comes in, and an installed disk goes
//! out.
//!
//! Raw environment → [`job::Job`] → [`settings::Settings`] → the entry points,
//! a file each. Only [`environment`] reads environment variables.

mod attached;
pub mod authorized_keys;
mod boot_loader;
mod config_file;
pub mod create;
pub mod distribute;
pub mod environment;
pub mod export;
mod findings;
pub mod import;
pub mod job;
mod layout;
pub mod needs;
pub mod parameters;
pub mod rename;
mod scratch;
pub mod settings;
pub mod variants;
pub mod verify;

/// What the programs in fuzz/ call beside the public functions.
#[cfg(fuzzing)]
pub mod fuzzing {
    use std::fs::File;
    use std::path::Path;

    use anyhow::Result;

    use crate::authorized_keys::{self, AuthorizedKey};
    use crate::import::dump::stream::Beginning;

    /// Follows a dump that begins with `head` to its end, and passes it on.
    pub fn dump(head: Vec<u8>, input: File, output: File) -> Result<()> {
        Beginning::read(head, input)?.feed(output)
    }

    /// The keys of a file's text.
    pub fn keys_of_file(text: &[u8]) -> Result<Vec<AuthorizedKey>> {
        authorized_keys::from_file(text, Path::new("authorized_keys"))
    }

    /// The keys of the OS parameter.
    pub fn keys_of_parameter(text: &str) -> Result<Vec<AuthorizedKey>, String> {
        authorized_keys::from_parameter(text)
    }
}
