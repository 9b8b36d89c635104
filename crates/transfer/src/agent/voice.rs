//! How an agent answers.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use crate::protocol::{self, Answer, Say, VERSION};

/// The way back to whoever gave the order.
pub struct Voice<'a> {
    to: &'a mut dyn Write,
}

impl<'a> Voice<'a> {
    /// Answers go to `to`.
    pub fn new(to: &'a mut dyn Write) -> Self {
        Self { to }
    }

    /// Tells what is being done, a note a line.
    ///
    /// # Errors
    /// Nobody listens any more: a good place to stop, since the next agent goes
    /// on from here.
    pub fn note(&mut self, text: impl AsRef<str>) -> Result<()> {
        let mut lines = text.as_ref().lines();
        lines.try_for_each(|line| self.say(Say::Note(line.to_owned())))
    }

    /// Ends an order with its result, or with why there is none.
    pub fn conclude(&mut self, result: Result<serde_json::Value>) -> Result<()> {
        self.say(match result {
            Ok(value) => Say::Done(value),
            Err(error) => Say::Failed(format!("{error:#}")),
        })
    }

    fn say(&mut self, say: Say) -> Result<()> {
        protocol::write(&mut self.to, &Answer { v: VERSION, say })
    }
}

/// As the result of an order.
pub fn value(result: impl Serialize) -> Result<serde_json::Value> {
    Ok(serde_json::to_value(result)?)
}
