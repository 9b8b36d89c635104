//! Work over a connection that breaks, again and again until it is done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use p2v_sys::interrupt;

use super::is_lost;

/// How often, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The first pause; each further one is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// How long to go on without any progress.
    pub give_up: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
            // A target that is started again needs a minute or two.
            give_up: Duration::from_secs(15 * 60),
        }
    }
}

/// How work tells that it gets on; from any thread.
#[derive(Debug, Default)]
pub struct Pulse(AtomicBool);

impl Pulse {
    /// Something was done that need not be done again.
    pub fn beat(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Repeats `work` for as long as it fails with a lost connection, and gives up
/// when it has made no progress for too long. `say` gets a line at each loss.
///
/// # Errors
/// Any other failure of `work` at once; the last loss when giving up; an
/// interrupt.
pub fn retry<T>(
    policy: &Policy,
    say: &mut dyn FnMut(&str),
    mut work: impl FnMut(&Pulse) -> Result<T>,
) -> Result<T> {
    let pulse = Pulse::default();
    let mut pause = policy.first;
    let mut since = None;
    loop {
        let error = match work(&pulse) {
            Err(error) if is_lost(&error) => error,
            result => return result,
        };
        interrupt::check()?;
        if pulse.take() {
            pause = policy.first;
            since = None;
        }
        let pause_now = pause.min(policy.longest);
        let lost_for = since.get_or_insert_with(Instant::now).elapsed();
        if lost_for + pause_now > policy.give_up {
            let minutes = policy.give_up.as_secs() / 60;
            return Err(error).context(format!(
                "giving up after {minutes} minutes without progress; run the same command again to go on"
            ));
        }
        say(&format!(
            "connection lost; trying again in {} s: {error:#}",
            pause_now.as_secs_f32().ceil()
        ));
        sleep(pause_now)?;
        pause = pause_now.saturating_mul(2);
    }
}

/// Sleeps, but not through an interrupt.
///
/// # Errors
/// An interrupt.
pub(crate) fn sleep(time: Duration) -> Result<()> {
    let deadline = Instant::now() + time;
    loop {
        interrupt::check()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lost;
    use super::*;
    use anyhow::bail;

    fn policy(give_up: u64) -> Policy {
        Policy {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(4),
            give_up: Duration::from_millis(give_up),
        }
    }

    #[test]
    fn losses_are_repeated_and_other_failures_are_not() {
        let (mut tries, mut said) = (0, Vec::new());
        let mut say = |line: &str| said.push(line.to_owned());
        let done = retry(&policy(10_000), &mut say, |_| {
            tries += 1;
            if tries < 8 {
                return Err(Lost("gone".to_owned())).context("copying");
            }
            Ok(tries)
        });
        assert_eq!(done.unwrap(), 8);
        assert_eq!(said.len(), 7);
        assert_eq!(
            said[0],
            "connection lost; trying again in 1 s: copying: gone"
        );

        let mut tries = 0;
        let failed: Result<()> = retry(&policy(10_000), &mut |_| {}, |_| {
            tries += 1;
            bail!("the disk is full")
        });
        assert_eq!(format!("{:#}", failed.unwrap_err()), "the disk is full");
        assert_eq!(tries, 1);
    }

    #[test]
    fn it_gives_up_only_without_progress() {
        let lost = || Err(Lost("gone".to_owned()).into());
        let mut tries = 0;
        let failed: Result<()> = retry(&policy(40), &mut |_| {}, |_| {
            tries += 1;
            lost()
        });
        let text = format!("{:#}", failed.unwrap_err());
        assert!(
            text.contains("giving up") && text.ends_with("gone"),
            "{text}"
        );
        assert!(tries < 20, "{tries}");

        let (start, mut tries) = (Instant::now(), 0);
        let done = retry(&policy(40), &mut |_| {}, |pulse| {
            tries += 1;
            pulse.beat();
            match tries {
                0..=80 => lost(),
                _ => Ok(()),
            }
        });
        done.unwrap();
        assert!(start.elapsed() > Duration::from_millis(60));
    }
}
