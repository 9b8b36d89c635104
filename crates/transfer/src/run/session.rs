//! One agent after another: when a connection breaks, the next one is told the
//! same order again. Every order can be given twice.

use anyhow::Result;
use serde::de::DeserializeOwned;

use crate::connection::{self, Agent, Link, Policy};
use crate::protocol::Order;

/// The conversation with the target.
pub struct Session<'a> {
    /// The way there.
    pub link: &'a Link,
    agent: Option<Agent>,
}

impl<'a> Session<'a> {
    /// Connects when it is first asked something.
    pub fn new(link: &'a Link) -> Self {
        Self { link, agent: None }
    }

    /// Gives an order, over a new connection if the old one breaks. `note` gets
    /// what the agent says meanwhile.
    ///
    /// # Errors
    /// What the agent could not do; or the connection could not be had back.
    pub fn ask<T: DeserializeOwned>(&mut self, order: &Order, note: &dyn Fn(&str)) -> Result<T> {
        connection::retry(&Policy::default(), &mut |line| note(line), |pulse| {
            self.ask_once(order, &|line| {
                pulse.beat();
                note(line);
            })
        })
    }

    /// Gives an order over the connection that there is, or a new one.
    ///
    /// # Errors
    /// As [`Session::ask`], and [`connection::Lost`].
    pub fn ask_once<T: DeserializeOwned>(
        &mut self,
        order: &Order,
        note: &dyn Fn(&str),
    ) -> Result<T> {
        let agent = match &mut self.agent {
            Some(agent) => agent,
            none => none.insert(self.link.agent()?),
        };
        let answer = agent.ask(order.clone(), &mut |line| note(line));
        if answer.is_err() {
            self.agent = None;
        }
        answer
    }
}
