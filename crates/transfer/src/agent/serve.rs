//! The loop that takes orders.

use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow};
use p2v_sys::interrupt;

use super::claim::{self, Claim, Claimant};
use super::finish::End;
use super::hangup::Hangup;
use super::place::Place;
use super::voice::{Voice, value};
use super::{finish, fix, prepare, probe, state};
use crate::plan::Plan;
use crate::protocol::{self, Order, Request};

/// Answers orders until their end. A line that is no order is answered with an
/// error, and the next one is read.
///
/// # Errors
/// The connection broke, or a signal came.
pub fn serve(place: &Place, from: &mut dyn BufRead, to: &mut (impl Write + AsFd)) -> Result<()> {
    let mut from = from;
    let hangup = Hangup::watch(to.as_fd())?;
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
        let result = agent.guarded(request, &hangup, &mut Voice::new(to));
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
    fn guarded(
        &mut self,
        request: Request,
        hangup: &Hangup,
        voice: &mut Voice,
    ) -> Result<serde_json::Value> {
        // What is finished may restart at any moment, whoever listens.
        let is_last = matches!(request.order, Order::Finish { .. });
        let obey = || self.obey(request.order, &request.run, voice);
        let guarded = || catch_unwind(AssertUnwindSafe(obey));
        let result = match is_last {
            true => guarded(),
            false => hangup.during(guarded),
        };
        result.unwrap_or_else(|_| Err(anyhow!("the agent panicked, which is a bug")))
    }

    fn obey(&mut self, order: Order, run: &str, voice: &mut Voice) -> Result<serde_json::Value> {
        let place = self.place;
        match order {
            Order::Probe => value(probe::target(place, run, voice)?),
            Order::Status => {
                place.check_ram_booted()?;
                let mut status = state::status(place)?;
                let at_work = claim::at_work(place, run)?;
                status.lines.extend(at_work.map(|it| it.to_string()));
                value(status)
            }
            Order::Prepare {
                plan,
                erase,
                take_over,
            } => {
                self.claim(run, &plan, take_over)?;
                value(prepare::run(place, &plan, &erase, voice)?)
            }
            Order::Fix { plan } => {
                self.claim(run, &plan, false)?;
                value(fix::run(place, &plan, voice)?)
            }
            Order::Finish {
                plan,
                complete,
                restart,
                summary,
            } => {
                self.claim(run, &plan, false)?;
                let end = End { complete, restart };
                finish::run(place, &plan, end, &summary, voice)?;
                self.restart = restart;
                value(())
            }
        }
    }

    fn claim(&mut self, run: &str, plan: &Plan, take_over: bool) -> Result<()> {
        self.place.check_ram_booted()?;
        let plan_id = &plan.id();
        let claimant = Claimant { run, plan_id };
        Claim::take(&mut self.claim, self.place, claimant, take_over)
    }
}
