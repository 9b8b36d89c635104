//! Whether anybody still listens. An agent whose source is gone ends amid its
//! order, as by SIGTERM: every order can be given again, and the next run need
//! not wait for this one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often the watch looks whether it is over, in milliseconds.
const PACE: u16 = 200;

/// Watches the way back to the source until it is dropped.
#[derive(Debug)]
pub struct Hangup {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// An order is obeyed that may be ended.
    busy: AtomicBool,
    over: AtomicBool,
}

impl Hangup {
    /// Watches what answers are written to. That nothing more is said to us is
    /// no end: orders may come from a file.
    pub fn watch(to: BorrowedFd) -> Result<Self> {
        let doing = "watching the connection";
        let to = to.try_clone_to_owned().context(doing)?;
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::Builder::new()
            .name("hangup".to_owned())
            .spawn(move || look(&to, &shared))
            .context(doing)?;
        Ok(Self { state })
    }

    /// Does work that ends when nobody listens any more.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.state.busy.store(true, Ordering::SeqCst);
        let result = work();
        self.state.busy.store(false, Ordering::SeqCst);
        result
    }
}

impl Drop for Hangup {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
    }
}

fn look(to: &OwnedFd, state: &State) {
    let mut is_gone = false;
    while !state.over.load(Ordering::SeqCst) {
        if is_gone {
            std::thread::sleep(std::time::Duration::from_millis(u64::from(PACE)));
        } else {
            // No flags: only errors and the other side's end are told.
            let mut watched = [PollFd::new(to.as_fd(), PollFlags::empty())];
            let told = poll(&mut watched, PollTimeout::from(PACE));
            is_gone = told.is_ok_and(|count| count > 0);
        }
        if is_gone && state.busy.load(Ordering::SeqCst) {
            tracing::info!("the source is gone; ending");
            let _ = kill(Pid::this(), Signal::SIGTERM);
            return;
        }
    }
}
