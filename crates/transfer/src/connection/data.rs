//! A connection for one volume's contents.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::Result;
use p2v_sys::interrupt;

use super::program::Program;
use super::verdict::{Lost, is_lost};
use crate::protocol::{self, DataOrder};

/// How long nothing may come or go: longer than a disk needs to write what is
/// in memory.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// How long the other side may take to end once it has said that all is done.
const ENDING: Duration = Duration::from_secs(120);

/// How long a failed copy waits for ssh's end, which tells whether it was the
/// connection's fault.
const BLAME: Duration = Duration::from_secs(2);

/// Bytes that the other side may still send after its end; what is more is not
/// the protocol.
const REST: u64 = 1 << 20;

/// A connection for contents; dropping it ends it.
pub struct Data {
    /// From the agent.
    pub from: Box<dyn Read + Send>,
    /// To the agent.
    pub to: Box<dyn Write + Send>,
    program: Program,
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Data")
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

impl Data {
    pub(super) fn start(mut program: Program, order: &DataOrder) -> Result<Self> {
        let (from, mut to) = (program.output()?, program.input()?);
        program.be_patient(Some(PATIENCE));
        let told = protocol::write(&mut to, order);
        let data = Self {
            from: Box::new(from),
            to: Box::new(to),
            program,
        };
        match told {
            Ok(()) => Ok(data),
            Err(error) => data.settle(Err(error)),
        }
    }

    /// Waits for the other side's end.
    ///
    /// # Errors
    /// [`Lost`] if the connection broke; else what the agent said.
    pub fn close(self) -> Result<()> {
        let Self {
            from,
            to,
            mut program,
        } = self;
        drop(to);
        // It may be busy saying its last; ssh ends when that is taken.
        let mut from = from.take(REST);
        let drained = std::io::copy(&mut from, &mut std::io::sink());
        drop(from);
        tracing::debug!("taking the rest of a volume's stream: {drained:?}");
        match program.wait(ENDING)? {
            Some(status) => program.judge(status, true),
            None => {
                let address = program.address();
                Err(Lost(format!("working with {address}: the agent does not end")).into())
            }
        }
    }

    /// Ends it after a copy with that result, and says whose fault a failure
    /// was: the connection's ([`Lost`]), the agent's, or our own.
    pub fn settle<T>(mut self, copied: Result<T>) -> Result<T> {
        let error = match copied {
            Ok(value) => return self.close().map(|()| value),
            Err(error) => error,
        };
        // The streams stay open: an agent that lives is not to blame.
        let ended = self.program.wait(BLAME)?;
        interrupt::check()?;
        let Some(status) = ended else {
            return Err(error);
        };
        match self.program.judge(status, true) {
            Ok(()) => Err(error),
            Err(lost) if is_lost(&lost) => Err(lost),
            // What the agent said and what that looked like from here.
            Err(words) => Err(error.context(format!("{words:#}"))),
        }
    }
}
