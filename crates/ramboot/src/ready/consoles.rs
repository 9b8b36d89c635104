//! A text on every console of the kernel.
//!
//! Not through the kernel's log: `quiet` would hide it, and to be shown in
//! spite of that it would have to pretend to be an error.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc;

/// A console whose other end has stopped reading is given up after this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows the text. A console that cannot be written to is passed over with a
/// warning: the others may work.
pub fn show(text: &str) {
    for console in consoles() {
        // A getty that takes the terminal over at this moment hangs it up:
        // then the text is written again, to the terminal as it is now.
        let shown = write_to(&console, text).or_else(|_| write_to(&console, text));
        if let Err(error) = shown {
            tracing::warn!("writing to {}: {error}", console.display());
        }
    }
}

/// The terminals behind the kernel's consoles; `/dev/console` alone would be
/// the last of them only.
fn consoles() -> Vec<PathBuf> {
    let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let consoles: Vec<PathBuf> = active
        .split_whitespace()
        .map(|name| Path::new("/dev").join(name))
        .collect();
    if consoles.is_empty() {
        return vec![PathBuf::from("/dev/console")];
    }
    consoles
}

fn write_to(console: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open(console)?;
    // The cursor may stand behind a prompt.
    let text = format!("\n{text}");
    let mut rest = text.as_bytes();
    let start = Instant::now();
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_text_longer_than_the_terminal_holds_arrives_whole() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let path = nix::unistd::ttyname(&pty.slave).unwrap();
        let text = "p2v: a line of the text\n".repeat(1000);
        let expected = format!("\n{text}").replace('\n', "\r\n");
        let mut master = std::fs::File::from(pty.master);
        let length = expected.len();
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; length];
            master.read_exact(&mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        });
        write_to(&path, &text).unwrap();
        assert_eq!(reader.join().unwrap(), expected);
    }

    #[test]
    fn a_terminal_that_nobody_reads_is_given_up() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let path = nix::unistd::ttyname(&pty.slave).unwrap();
        let start = Instant::now();
        let error = write_to(&path, &"x".repeat(1 << 20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(start.elapsed() < PATIENCE * 3);
    }
}
