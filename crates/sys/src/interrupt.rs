//! SIGTERM, SIGINT and SIGHUP as an error at the next safe point.
//!
//! The handler only stores the signal's number. Whatever waits (commands,
//! locks, loops over many files) calls [`check`], so that an interrupted run
//! unwinds through its guards like any other failure.

use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static RECEIVED: AtomicI32 = AtomicI32::new(0);

extern "C" fn remember(signal: i32) {
    RECEIVED.store(signal, Ordering::SeqCst);
}

/// Makes termination signals show up in [`check`] instead of ending the process.
pub fn install() -> Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(remember),
        SaFlags::empty(),
        SigSet::empty(),
    );
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // SAFETY: the handler stores to an atomic, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }
            .with_context(|| format!("installing the handler for {signal}"))?;
    }
    Ok(())
}

/// The first termination signal received since [`install`], if any.
pub fn received() -> Option<Signal> {
    Signal::try_from(RECEIVED.load(Ordering::SeqCst)).ok()
}

/// Fails once a termination signal has been received.
pub fn check() -> Result<()> {
    match received() {
        Some(signal) => bail!("interrupted by {signal}"),
        None => Ok(()),
    }
}
