//! The way to the target: the ssh program, with a host key that somebody has
//! vouched for.

use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::de::DeserializeOwned;

use crate::protocol::{DataOrder, Order};

/// Where the target is, and what proves who is who.
#[derive(Debug, Clone, Default)]
pub struct Address {
    /// Name or address of the host; IPv6 without brackets.
    pub host: String,
    /// SSH's port.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// The private key; without it ssh's own choice.
    pub identity: Option<PathBuf>,
    /// Fingerprints of host keys that are good, `SHA256:...`.
    pub host_keys: Vec<String>,
}

/// Asks a person whether the host keys with these fingerprints are the target's.
pub type Confirm<'a> = &'a mut dyn FnMut(&[String]) -> Result<bool>;

/// A target whose host key is known.
#[derive(Debug)]
pub struct Link {}

impl Link {
    /// Fetches the target's host keys and accepts those with the given
    /// fingerprints, or those that `confirm` accepts; no others ever.
    ///
    /// # Errors
    /// No answer, or a host key that nobody vouches for.
    pub fn establish(_address: &Address, _confirm: Confirm) -> Result<Self> {
        bail!("connecting is not there yet")
    }

    /// Starts an agent.
    pub fn agent(&self) -> Result<Agent> {
        bail!("connecting is not there yet")
    }

    /// Starts an agent for one volume's contents and gives it its order.
    pub fn data(&self, _order: &DataOrder) -> Result<Data> {
        bail!("connecting is not there yet")
    }
}

/// An agent on the target; dropping it ends it.
#[derive(Debug)]
pub struct Agent {}

impl Agent {
    /// Gives an order and waits for its result; `note` gets what the agent
    /// says meanwhile.
    ///
    /// # Errors
    /// [`Lost`] if the connection broke; else what the agent says it could not do.
    pub fn ask<T: DeserializeOwned>(
        &mut self,
        _order: Order,
        _note: &mut dyn FnMut(&str),
    ) -> Result<T> {
        bail!("connecting is not there yet")
    }
}

/// A connection for contents; dropping it ends it.
pub struct Data {
    /// From the agent.
    pub from: Box<dyn Read + Send>,
    /// To the agent.
    pub to: Box<dyn Write + Send>,
}

impl Data {
    /// Waits for the other side's end.
    ///
    /// # Errors
    /// [`Lost`] if the connection broke; else what the agent said.
    pub fn close(self) -> Result<()> {
        Ok(())
    }
}

/// The connection broke, or could not be made: worth another try.
#[derive(Debug)]
pub struct Lost(pub String);

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lost {}
