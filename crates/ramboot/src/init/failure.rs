//! How a boot that failed ends: one line that says why and what happens now,
//! then that. PID 1 never exits, since the kernel would panic over the line.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::wait;

use super::cmdline::OnError;
use super::console;

/// What the first panic said, and where.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Runs `work`; a panic in it, or in one of its threads, becomes an error.
pub fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::set_hook(Box::new(|panic| {
        if let Ok(mut first) = PANIC.lock() {
            first.get_or_insert(panic.to_string());
        }
    }));
    let outcome = catch_unwind(AssertUnwindSafe(work));
    let _ = std::panic::take_hook();
    outcome.unwrap_or_else(|_| {
        let said = PANIC.lock().ok().and_then(|mut first| first.take());
        let said = said.unwrap_or_else(|| "no message".to_owned());
        Err(anyhow!("internal error, please report it: {said}"))
    })
}

/// Says why, and does what was asked for.
pub fn end(error: &Error, action: OnError) -> ! {
    console::error(format!("{error:#} ({})", describe(action)));
    match action {
        OnError::Reboot(after) => {
            std::thread::sleep(after.max(READING_TIME));
            let _ = reboot(RebootMode::RB_AUTOBOOT);
        }
        OnError::PowerOff => {
            std::thread::sleep(READING_TIME);
            let _ = reboot(RebootMode::RB_POWER_OFF);
        }
        OnError::Wait => {}
    }
    // Here too if the kernel could not do it.
    loop {
        match wait() {
            Ok(_) => {}
            Err(Errno::EINTR) => {}
            Err(_) => std::thread::sleep(Duration::from_secs(3600)),
        }
    }
}

/// A serial line at 9600 baud needs this for the longest line.
const READING_TIME: Duration = Duration::from_secs(1);

fn describe(action: OnError) -> String {
    match action {
        OnError::Reboot(after) if after.is_zero() => "rebooting".to_owned(),
        OnError::Reboot(after) => format!("rebooting in {} s", after.as_secs()),
        OnError::PowerOff => "switching off".to_owned(),
        OnError::Wait => "stopped here: reset the machine or press Ctrl-Alt-Del to try again; \
             ramboot.onerror=reboot or =poweroff does so by itself"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors_with_their_place() {
        let error = guarded(|| -> Result<()> {
            std::thread::scope(|scope| {
                scope.spawn(|| panic!("no such luck"));
            });
            Ok(())
        })
        .unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("no such luck"), "{text}");
        assert!(text.contains("failure.rs"), "{text}");
        assert_eq!(guarded(|| Ok(3)).unwrap(), 3);
    }
}
