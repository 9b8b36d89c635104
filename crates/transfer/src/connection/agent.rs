//! Orders to an agent, and its answers.

use std::io::BufReader;
use std::process::{ChildStdin, ChildStdout};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;

use super::program::{Counted, Program};
use super::tail::printable;
use super::verdict::Lost;
use crate::protocol::{self, Answer, Order, Request, Say, VERSION};

/// How long ssh may take to end once its output has.
const ENDING: Duration = Duration::from_secs(20);

/// How long ssh may take to end if its output was nonsense: then the nonsense
/// is the message.
const ENDING_AFTER_NONSENSE: Duration = Duration::from_secs(1);

/// An agent on the target; dropping it ends it.
#[derive(Debug)]
pub struct Agent {
    // Dropped in this order: the agent sees the end of its input first.
    input: Counted<ChildStdin>,
    output: BufReader<Counted<ChildStdout>>,
    program: Program,
    patience: Option<Duration>,
    /// See [`Request`].
    run: String,
    /// Whether it has said anything that makes sense.
    up: bool,
}

impl Agent {
    pub(super) fn start(mut program: Program, run: &str) -> Result<Self> {
        Ok(Self {
            input: program.input()?,
            output: BufReader::new(program.output()?),
            program,
            patience: None,
            run: run.to_owned(),
            up: false,
        })
    }

    /// Takes the connection for lost once an agent that has an order says
    /// nothing for so long; without this it depends on the order.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Gives an order and waits for its result; `note` gets what the agent
    /// says meanwhile, made fit for a console.
    ///
    /// # Errors
    /// [`Lost`] if the connection broke; else what the agent says it could not do.
    pub fn ask<T: DeserializeOwned>(
        &mut self,
        order: Order,
        note: &mut dyn FnMut(&str),
    ) -> Result<T> {
        let patience = self.patience.unwrap_or_else(|| patience_for(&order));
        self.program.be_patient(Some(patience));
        let result = self.converse(order, note);
        self.program.be_patient(None);
        let value = result?;
        serde_json::from_value(value).with_context(|| {
            let address = self.program.address();
            format!("working on {address}: understanding the agent's result")
        })
    }

    fn converse(&mut self, order: Order, note: &mut dyn FnMut(&str)) -> Result<serde_json::Value> {
        let request = Request {
            v: VERSION,
            run: self.run.clone(),
            order,
        };
        if let Err(error) = protocol::write(&mut self.input, &request) {
            return Err(self.ended(Some(error)));
        }
        loop {
            let answer = match protocol::read::<Answer>(&mut self.output) {
                Ok(Some(answer)) => answer,
                Ok(None) => return Err(self.ended(None)),
                Err(error) => return Err(self.ended(Some(error))),
            };
            self.up = true;
            match answer.say {
                Say::Note(text) => note(&printable(&text)),
                Say::Done(value) => return Ok(value),
                Say::Failed(text) => bail!("on {}: {}", self.program.address(), printable(&text)),
            }
        }
    }

    /// Why the conversation ended. A message cut in its midst is no nonsense
    /// when the connection broke there.
    fn ended(&mut self, nonsense: Option<anyhow::Error>) -> anyhow::Error {
        let most = match nonsense {
            Some(_) => ENDING_AFTER_NONSENSE,
            None => ENDING,
        };
        let status = match self.program.wait(most) {
            Ok(status) => status,
            Err(error) => return error,
        };
        let judged = status.map(|status| self.program.judge(status, self.up));
        let address = self.program.address();
        match (judged, nonsense) {
            (Some(Err(lost)), Some(_)) if super::is_lost(&lost) => lost,
            (Some(Err(words)), None) => words,
            (judged, Some(nonsense)) => {
                let error = nonsense.context(format!("talking to the agent on {address}"));
                match judged {
                    Some(Err(words)) => anyhow!("{words:#} ({error:#})"),
                    _ => error,
                }
            }
            (_, None) => Lost(format!(
                "working with {address}: the agent ended without an answer"
            ))
            .into(),
        }
    }
}

/// How long an agent may be silent over an order before it is taken for dead.
/// The link itself is watched by ssh; this is for a machine that hangs.
fn patience_for(order: &Order) -> Duration {
    let minutes = match order {
        Order::Probe | Order::Status => 3,
        Order::Finish { .. } => 20,
        Order::Prepare { .. } => 60,
        Order::Fix { .. } => 120,
    };
    Duration::from_secs(minutes * 60)
}
