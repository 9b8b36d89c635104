//! The loop that takes orders.

use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow};
use p2v_sys::interrupt;

use super::claim::Claim;
use super::finish::End;
use super::place::Place;
use super::voice::{Voice, value};
use super::{finish, fix, prepare, probe, state};
use crate::protocol::{self, Order, Request};

/// Answers orders until their end. A line that is no order is answered with an
/// error, and the next one is read.
///
/// # Errors
/// The connection broke, or a signal came.
pub fn serve(place: &Place, from: &mut dyn BufRead, to: &mut dyn Write) -> Result<()> {
    let mut from = from;
    let mut agent = Agent {
        place,
        claim: None,
        restart: false,
    };
    loop {
        let request = match protocol::read::<Request>(&mut from) {
            Ok(None) => return Ok(()),
            Ok(Some(request)) => request,
            Err(error) if error.is::<std::io::Error>() => return Err(error),
            Err(error) => {
                Voice::new(to).conclude(Err(error))?;
                continue;
            }
        };
        let result = agent.guarded(request.order, &mut Voice::new(to));
        // What was unwound by a signal is told, if anybody still listens.
        let told = Voice::new(to).conclude(result);
        interrupt::check()?;
        if agent.restart {
            return finish::restart(place);
        }
        told?;
    }
}

struct Agent<'a> {
    place: &'a Place,
    /// Held from the first order that changes something to the agent's end.
    claim: Option<Claim>,
    restart: bool,
}

impl Agent<'_> {
    /// A bug in one order must not take away the means to give the next.
    fn guarded(&mut self, order: Order, voice: &mut Voice) -> Result<serde_json::Value> {
        catch_unwind(AssertUnwindSafe(|| self.obey(order, voice)))
            .unwrap_or_else(|_| Err(anyhow!("the agent panicked, which is a bug")))
    }

    fn obey(&mut self, order: Order, voice: &mut Voice) -> Result<serde_json::Value> {
        let place = self.place;
        match order {
            Order::Probe => value(probe::target(place)?),
            Order::Status => {
                place.check_ram_booted()?;
                value(state::status(place)?)
            }
            Order::Prepare { plan, erase } => {
                place.check_ram_booted()?;
                Claim::take(&mut self.claim, place, &plan.id(), !erase.is_empty())?;
                value(prepare::run(place, &plan, &erase, voice)?)
            }
            Order::Fix { plan } => {
                place.check_ram_booted()?;
                Claim::take(&mut self.claim, place, &plan.id(), false)?;
                value(fix::run(place, &plan, voice)?)
            }
            Order::Finish {
                plan,
                complete,
                restart,
                summary,
            } => {
                place.check_ram_booted()?;
                Claim::take(&mut self.claim, place, &plan.id(), false)?;
                let end = End { complete, restart };
                finish::run(place, &plan, end, &summary, voice)?;
                self.restart = restart;
                value(())
            }
        }
    }
}
