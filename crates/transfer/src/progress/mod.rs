//! How far a transfer is, shown: as a bar on a terminal, as a line now and then
//! of the log elsewhere, or as JSON for scripts.
//!
//! Standard output belongs to JSON alone; people read standard error.

mod meter;
mod render;

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use p2v_copy::Progress;
use p2v_sys::terminal;

use meter::Meter;
use render::{Style, View};

/// How often a bar is drawn, JSON written, a plain line printed.
const BAR: Duration = Duration::from_millis(150);
const JSON: Duration = Duration::from_secs(1);
const LINES: Duration = Duration::from_secs(10);

/// What `--progress` chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// A bar if standard error is a terminal, else a line every 10 s.
    #[default]
    Bar,
    /// A JSON object a line on standard output, about one a second and one at
    /// each volume's beginning and end.
    Json,
    /// A line every 10 s in the log.
    Lines,
    /// Nothing but what is said.
    None,
}

/// How it is shown here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Screen {
    Bar(Style),
    Lines,
    Json,
    None,
}

/// The display of one phase; fed from any thread.
#[derive(Debug)]
pub struct Display {
    screen: Screen,
    phase: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    meter: Meter,
    drawn: Option<Instant>,
    /// Whether a bar stands in the terminal's current line.
    bar: bool,
}

impl Display {
    /// A display for a phase (`copy`, `verify`) that goes through about so many
    /// bytes of contents.
    pub fn start(form: Form, phase: &str, total_bytes: u64) -> Self {
        let capable = || std::io::stderr().is_terminal() && capable(std::env::var("TERM").ok());
        let screen = match form {
            Form::Bar if capable() => {
                Screen::Bar(Style::from_environment(|name| std::env::var(name).ok()))
            }
            Form::Bar | Form::Lines => Screen::Lines,
            Form::Json => Screen::Json,
            Form::None => Screen::None,
        };
        Self {
            screen,
            phase: phase.to_owned(),
            state: Mutex::new(State {
                meter: Meter::new(total_bytes, Instant::now()),
                drawn: None,
                bar: false,
            }),
        }
    }

    /// The volume of that name begins, or begins anew after a lost connection.
    pub fn volume(&self, name: &str) {
        let mut state = self.state();
        state.meter.begin(name, Instant::now());
        self.draw(&mut state, true);
    }

    /// How far that volume is.
    pub fn show(&self, now: Progress) {
        let mut state = self.state();
        state.meter.update(now, Instant::now());
        self.draw(&mut state, false);
    }

    /// The volume is complete: it counts as that many of the total's bytes.
    pub fn volume_done(&self, expected_bytes: u64) {
        let mut state = self.state();
        state.meter.end(expected_bytes, Instant::now());
        self.draw(&mut state, true);
    }

    /// A line for people: above the bar, in the log, or an object's `note`.
    pub fn say(&self, line: &str) {
        let mut state = self.state();
        if self.screen == Screen::Json {
            let view = View::of(&self.phase, &state.meter);
            say(&mut std::io::stdout(), &render::json(&view, Some(line)));
            return;
        }
        if !matches!(self.screen, Screen::Bar(_)) {
            tracing::info!("{line}");
            return;
        }
        let bar = std::mem::take(&mut state.bar);
        let clear = if bar { "\r\x1b[K" } else { "" };
        say(&mut std::io::stderr(), &format!("{clear}{line}\n"));
        if bar {
            self.draw(&mut state, true);
        }
    }

    /// Ends the bar's line; what is printed next begins a new one.
    pub fn finish(self) {
        let mut state = self.state();
        if matches!(self.screen, Screen::Bar(_) | Screen::Json) {
            self.draw(&mut state, true);
        }
    }

    fn draw(&self, state: &mut State, now: bool) {
        let pace = match self.screen {
            Screen::Bar(_) => BAR,
            Screen::Lines => LINES,
            Screen::Json => JSON,
            Screen::None => return,
        };
        let due = state.drawn.is_none_or(|drawn| drawn.elapsed() >= pace);
        // Small volumes would fill a log with their lines.
        let forced = now && self.screen != Screen::Lines;
        if !due && !forced {
            return;
        }
        let view = View::of(&self.phase, &state.meter);
        match self.screen {
            Screen::Json => say(&mut std::io::stdout(), &render::json(&view, None)),
            _ if view.total == 0 => return,
            Screen::Bar(style) => {
                let columns = terminal::columns(std::io::stderr()).unwrap_or(80);
                // A line that fills the terminal would wrap on some.
                let bar = render::bar(&view, columns.saturating_sub(1), style);
                // One write, and the rest of the line cleared after it: no flicker.
                say(&mut std::io::stderr(), &format!("\r{bar}\x1b[K"));
                state.bar = true;
            }
            Screen::Lines | Screen::None => tracing::info!("{}", render::plain(&view)),
        }
        state.drawn = Some(Instant::now());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if self.state().bar {
            say(&mut std::io::stderr(), "\n");
        }
    }
}

/// Whether such a terminal can go back to a line's beginning and clear it.
fn capable(term: Option<String>) -> bool {
    term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// A display that nobody reads any more is no reason to stop.
fn say(to: &mut impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes());
    let _ = to.flush();
}
