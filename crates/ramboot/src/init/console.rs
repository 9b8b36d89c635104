//! What init says: one line a step, on every console.
//!
//! Lines go through the kernel's log, which alone knows all consoles (several
//! `console=`, netconsole, a hypervisor's), stamps the time, and keeps them for
//! `dmesg`. Steps have level "info": the kernel shows them by default and hides
//! them under `quiet`, as it does its own. Errors are shown whatever the level.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// The kernel's own limit for one record is a little under 1024 bytes; a
/// longer write is refused as a whole.
const LONGEST: usize = 900;

const LEVEL_ERROR: u8 = 3;
const LEVEL_WARNING: u8 = 4;
const LEVEL_INFO: u8 = 6;

/// Set once we are known to be init: before, and in tests, lines go to
/// standard error, since nobody else's kernel log is ours to fill.
static KERNEL_LOG: AtomicBool = AtomicBool::new(false);

/// From now on, lines go to the kernel's log.
pub fn use_kernel_log() {
    KERNEL_LOG.store(true, Ordering::Relaxed);
}

/// Says what is being done or was found.
pub fn say(text: impl Display) {
    line(LEVEL_INFO, &text.to_string());
}

/// Says what is wrong but does not stop the boot.
pub fn warn(text: impl Display) {
    line(LEVEL_WARNING, &format!("warning: {text}"));
}

/// Says why the boot stops here, even to those who asked for a silent console.
pub fn error(text: impl Display) {
    if KERNEL_LOG.load(Ordering::Relaxed) {
        // A failure only means that `quiet` may hide the line below.
        let _ = std::fs::write("/proc/sys/kernel/printk", "7");
    }
    line(LEVEL_ERROR, &format!("error: {text}"));
}

fn line(level: u8, text: &str) {
    let text = single_line(text);
    if KERNEL_LOG.load(Ordering::Relaxed) && to_kernel_log(level, &text).is_ok() {
        return;
    }
    // The last resort has no other: ignore its failure.
    let _ = writeln!(std::io::stderr(), "p2v: {text}");
}

/// The log is opened anew for each line: the kernel counts its rate limit for
/// each open file, so that no line of ours is ever dropped, whatever
/// `printk.devkmsg=` says.
fn to_kernel_log(level: u8, text: &str) -> std::io::Result<()> {
    let mut log = OpenOptions::new().write(true).open("/dev/kmsg")?;
    log.write_all(format!("<{level}>p2v: {text}\n").as_bytes())
}

/// Cuts to what the kernel takes, and replaces what would break the line or
/// drive a terminal.
fn single_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(LONGEST));
    for character in text.trim().chars() {
        if line.len() + character.len_utf8() > LONGEST {
            line.push_str("...");
            break;
        }
        line.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_single_and_short() {
        assert_eq!(single_line(" a\nb\u{1b}[2J "), "a b [2J");
        let long = single_line(&"ü".repeat(1000));
        assert!(long.len() <= LONGEST + 3, "{}", long.len());
        assert!(long.ends_with("..."));
    }
}
