//! The way to the target: the ssh program, with a host key that somebody has
//! vouched for.
//!
//! [`Link::establish`] settles which host keys are good, [`Link::agent`] and
//! [`Link::data`] start an agent each over a connection of their own, and
//! [`retry`] repeats what a broken connection has ended. An error that holds
//! [`Lost`] is worth another try; any other one is not.
//!
//! What is said over the connection is in [`crate::protocol`].

mod address;
mod agent;
mod data;
mod host_keys;
mod identity;
mod options;
mod program;
mod retry;
mod tail;
mod verdict;

use std::sync::Arc;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::protocol::DataOrder;

pub use address::Address;
pub use agent::Agent;
pub use data::Data;
pub(crate) use retry::sleep;
pub use retry::{Policy, Pulse, retry};
pub(crate) use tail::printable;
pub use verdict::{Lost, is_lost};

/// Asks a person whether the host keys with these fingerprints are the target's.
pub type Confirm<'a> = &'a mut dyn FnMut(&[String]) -> Result<bool>;

/// What runs on the target. Its login shell may know no /usr/sbin.
const AGENT: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin p2v agent";

/// Who shows a host key at the target's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answering {
    /// Nobody.
    Nobody,
    /// The target.
    Target,
    /// Somebody else, with keys of these fingerprints.
    Other(Vec<String>),
}

/// A target whose host key is known.
#[derive(Debug, Clone)]
pub struct Link {
    address: Address,
    /// What ssh is told before the host's name.
    options: Vec<String>,
    /// Holds the good host keys; private to this process's user.
    keys: Arc<TempDir>,
    fingerprints: Vec<String>,
    run: String,
}

impl Link {
    /// Fetches the target's host keys and accepts those with the given
    /// fingerprints, or those that `confirm` accepts; no others ever.
    ///
    /// # Errors
    /// No answer, which is [`Lost`]; a host key that nobody vouches for; a
    /// private key that ssh could not use.
    pub fn establish(address: &Address, confirm: Confirm) -> Result<Self> {
        address.check()?;
        identity::check(address.identity.as_deref())?;
        let keys = Arc::new(host_keys::directory()?);
        let mut link = Self {
            address: address.clone(),
            options: options::all(address, keys.path()),
            keys,
            fingerprints: Vec::new(),
            run: new_run()?,
        };
        let accepted = host_keys::accept(address, || link.program("true"), confirm)?;
        host_keys::save(link.keys.path(), &accepted)?;
        link.fingerprints = accepted.into_iter().map(|key| key.fingerprint).collect();
        Ok(link)
    }

    /// The fingerprints of the host keys that are good, `SHA256:...`.
    pub fn fingerprints(&self) -> &[String] {
        &self.fingerprints
    }

    /// Who is there now: that a key is shown does not prove that it is theirs.
    ///
    /// # Errors
    /// ssh's programs do not work; an interrupt.
    pub fn who_answers(&self) -> Result<Answering> {
        let shown = host_keys::fingerprints(&self.address)?;
        Ok(
            match shown.iter().any(|key| self.fingerprints.contains(key)) {
                true => Answering::Target,
                false if shown.is_empty() => Answering::Nobody,
                false => Answering::Other(shown),
            },
        )
    }

    /// What tells this run of a transfer from others: see
    /// [`crate::protocol::Request`].
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Starts an agent.
    ///
    /// # Errors
    /// ssh does not start; whether the target answers is known at the first
    /// order.
    pub fn agent(&self) -> Result<Agent> {
        Agent::start(self.program(AGENT)?, &self.run)
    }

    /// Starts an agent for one volume's contents and gives it its order.
    ///
    /// # Errors
    /// As [`Link::agent`]; the connection ended before the order was taken.
    pub fn data(&self, order: &DataOrder) -> Result<Data> {
        Data::start(self.program(&format!("{AGENT} --data"))?, order)
    }

    fn program(&self, command: &str) -> Result<program::Program> {
        let mut arguments = self.options.clone();
        arguments.extend(["--".to_owned(), self.address.host.clone()]);
        arguments.push(command.to_owned());
        program::Program::start(&self.address, &arguments, Arc::clone(&self.keys))
    }
}

/// A name that no other run has.
fn new_run() -> Result<String> {
    const FILE: &str = "/proc/sys/kernel/random/uuid";
    let uuid = std::fs::read_to_string(FILE).with_context(|| format!("reading {FILE}"))?;
    Ok(uuid.trim().to_owned())
}
