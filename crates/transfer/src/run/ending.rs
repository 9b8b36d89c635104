//! The end of a transfer, whose answer may be lost: the target restarts, and the
//! connection goes with it.
//!
//! Who answers at its address afterwards tells what became of it: the RAM system,
//! which can be told once more, or the moved machine, known by its own host keys.
//! Whatever else answers, or nobody, tells nothing, and that is said.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::session::Session;
use crate::connection::{self, Answering, Policy};
use crate::plan::Plan;
use crate::protocol::Order;
use crate::source::OpenSource;

/// How a target that restarts is looked for. It must be gone for a moment, and
/// the machine's start takes a minute or two.
pub const LOOK: Policy = Policy {
    first: Duration::from_secs(2),
    longest: Duration::from_secs(10),
    give_up: Duration::from_secs(5 * 60),
};

/// What became of a target that was told to restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It has said that it does.
    Told,
    /// The moved machine answers in its place.
    Started,
    /// Nobody knows, for this reason.
    Unknown(String),
}

/// Gives the order that ends it all, and finds out what became of it if no
/// answer comes. `host_keys` tells the moved machine's own fingerprints.
///
/// # Errors
/// What the agent could not do; an interrupt.
pub fn finish(
    session: &mut Session,
    order: &Order,
    policy: &Policy,
    host_keys: &dyn Fn() -> Vec<String>,
    say: &dyn Fn(&str),
) -> Result<Ending> {
    let mut lost = match session.ask_once::<serde_json::Value>(order, say) {
        Err(error) if connection::is_lost(&error) => error,
        answer => return answer.map(|_| Ending::Told),
    };
    say(&format!(
        "the target was told to finish, and its answer was lost ({lost:#}); looking what became of it"
    ));
    let own = host_keys();
    let begun = Instant::now();
    let mut pause = policy.first;
    loop {
        connection::sleep(pause)?;
        // A look that fails may be the network's fault too.
        let look = session.link.who_answers();
        match look.unwrap_or(Answering::Nobody) {
            Answering::Nobody => {}
            Answering::Target => match session.ask_once::<serde_json::Value>(order, say) {
                Ok(_) => return Ok(Ending::Told),
                Err(error) if connection::is_lost(&error) => lost = error,
                // Its own word; or it went away since.
                Err(error) if is_there(session) => return Err(error),
                Err(error) => lost = error,
            },
            Answering::Other(keys) if keys.iter().any(|key| own.contains(key)) => {
                return Ok(Ending::Started);
            }
            Answering::Other(keys) => {
                return Ok(Ending::Unknown(format!(
                    "what answers now has a host key that is neither the RAM system's nor the \
                     moved machine's: {}",
                    keys.join(", ")
                )));
            }
        }
        if begun.elapsed() + pause > policy.give_up {
            return Ok(Ending::Unknown(format!(
                "it does not answer any more: {lost:#}"
            )));
        }
        pause = (pause * 2).min(policy.longest);
    }
}

fn is_there(session: &Session) -> bool {
    let look = session.link.who_answers();
    look.is_ok_and(|who| who == Answering::Target)
}

/// The fingerprints of the moved machine's own host keys; none if they cannot be
/// read.
pub fn host_keys(source: &OpenSource, plan: &Plan) -> Vec<String> {
    let mut mounts = plan.volumes().flat_map(|(disk, volume)| {
        let mounts = volume.mounts.iter();
        mounts.map(move |mount| (mount, disk, volume))
    });
    let Some((root, disk, volume)) = mounts.find(|(mount, ..)| mount.path == "/") else {
        return Vec::new();
    };
    let subvolume = root.subvolume.as_deref();
    let keys = source.host_keys(&disk.source, volume.source_start, subvolume);
    keys.unwrap_or_else(|error| {
        tracing::warn!("reading the machine's own host keys: {error:#}");
        Vec::new()
    })
}
