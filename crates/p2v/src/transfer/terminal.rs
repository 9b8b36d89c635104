//! What a transfer says, and asks.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};

use anyhow::{Context, Result, bail};
use p2v_transfer::preflight::{Finding, Weight};
use p2v_transfer::run::Person;

use crate::log::{self, Log};

/// What comes from disks and from the other machine must not steer a terminal.
pub(super) fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { '?' } else { c };
    text.chars().map(plain).collect()
}

/// The person at the terminal, if there is one.
pub(super) struct Terminal {
    /// Whether what is erased needs no word.
    yes: bool,
    log: Log,
    /// What was not said, to be quiet: who is asked must have seen it.
    held: RefCell<String>,
}

impl Terminal {
    /// Somebody who need not be asked what may be erased, if so.
    pub(super) fn new(yes: bool) -> Self {
        Self {
            yes,
            log: log::current(),
            held: RefCell::default(),
        }
    }

    fn asked(&self, question: &str) -> Result<bool> {
        let mut err = std::io::stderr();
        let held = self.held.take();
        write!(err, "{held}{} Type yes: ", printable(question)).context("asking")?;
        err.flush().context("asking")?;
        let mut answer = String::new();
        std::io::stdin()
            .read_line(&mut answer)
            .context("reading the answer")?;
        Ok(answer.trim() == "yes")
    }
}

impl Person for Terminal {
    fn say(&self, text: &str) {
        let text = printable(text.trim_end());
        if self.log.json {
            tracing::info!("{text}");
        } else if self.log.quiet {
            *self.held.borrow_mut() += &format!("{text}\n");
        } else {
            // A closed standard error leaves nobody to tell.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    fn tell(&self, finding: &Finding) {
        // The weight is the line's level already.
        let text = printable(&finding.whole());
        match finding.weight {
            Weight::Error if self.log.json => tracing::error!("{text}"),
            Weight::Warning if self.log.json => tracing::warn!("{text}"),
            Weight::Good => self.say(&finding.to_string()),
            _ => {
                let text = printable(&finding.to_string());
                // A closed standard error leaves nobody to tell.
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    fn agrees(&self, question: &str) -> Result<bool> {
        if self.yes {
            return Ok(true);
        }
        if !std::io::stdin().is_terminal() {
            bail!("{question}\nthere is no terminal to ask at: --yes agrees");
        }
        self.asked(question)
    }

    fn knows_host_keys(&self, fingerprints: &[String]) -> Result<bool> {
        let list = fingerprints.join("\n  ");
        if !std::io::stdin().is_terminal() {
            bail!(
                "the target shows these host keys:\n  {list}\nand there is no terminal to ask at: \
                 give the right one, which create and the target's console say, with --host-key"
            );
        }
        self.asked(&format!(
            "The target shows these host keys:\n  {list}\nIs one of them what create or the \
             target's console said, and no other?"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn nobody_else_steers_the_terminal() {
        let text = "label \u{1b}]0;owned\u{7}\r\nerase? \u{9b}2J";
        assert_eq!(printable(text), "label ?]0;owned??\nerase? ?2J");
    }

    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_program_too_is_told_what_to_do() {
        let mut terminal = Terminal::new(false);
        terminal.log.json = true;
        let said = Said::default();
        let writer = said.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone());
        tracing::subscriber::with_default(log.finish(), || {
            terminal.tell(&Finding::error("no ssh").remedy("install it"));
            terminal.tell(&Finding::warning("old kernel").remedy("look at it"));
        });
        let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = said.lines().collect();
        assert!(lines[0].contains("ERROR") && lines[0].ends_with("no ssh: install it"));
        assert!(lines[1].contains("WARN") && lines[1].ends_with("old kernel: look at it"));
    }
}
