//! What the command says, on standard error: plain lines, since Ganeti keeps
//! them in the job's log with a time of its own.

use std::fmt;
use std::io::Write;

use p2v_ganeti::environment::Environment;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Starts the log. Ganeti's `DEBUG_LEVEL` above 0 shows every command run.
pub fn start() {
    let verbose = Environment::from_process().is_verbose();
    let level = if verbose { Level::DEBUG } else { Level::INFO };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        // Or a full disk below Ganeti's log would end us with a panic.
        .log_internal_errors(false)
        .event_format(Plain)
        .init();
}

/// Says why the command failed: one line, the whole chain. It is the last
/// line, as Ganeti shows an admin only the end of the log.
pub fn error(error: &anyhow::Error) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "p2v: error: {error:#}");
}

struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let prefix = match *event.metadata().level() {
            Level::ERROR => "p2v: error: ",
            Level::WARN => "p2v: warning: ",
            Level::INFO => "p2v: ",
            _ => "p2v: debug: ",
        };
        writer.write_str(prefix)?;
        context
            .field_format()
            .format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
