//! The log as JSON: an object a line.

use std::fmt;

use p2v_sys::time;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::output;

/// A line, as docs/logging.md describes it.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    /// RFC 3339 in UTC, to the millisecond.
    time: String,
    /// `error`, `warning`, `info` or `debug`.
    level: &'static str,
    /// The applet that speaks.
    applet: &'a str,
    message: &'a str,
    /// Whether a program that it runs has printed this.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    output: bool,
}

impl<'a> Line<'a> {
    /// Said now by the applet of that name.
    pub(super) fn now(applet: &'a str, level: Level, message: &'a str) -> Self {
        Self {
            time: time::now_to_millisecond(),
            level: match level {
                Level::ERROR => "error",
                Level::WARN => "warning",
                Level::INFO => "info",
                _ => "debug",
            },
            applet,
            message,
            output: false,
        }
    }

    /// The object, without a line's end.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Writes each event as a [`Line`].
pub(super) struct Json {
    /// Who speaks.
    pub(super) applet: &'static str,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut message = Message::default();
        event.record(&mut message);
        let metadata = event.metadata();
        let mut line = Line::now(self.applet, *metadata.level(), &message.0);
        line.output = metadata.target() == output::TARGET;
        writeln!(writer, "{}", line.text())
    }
}

/// An event's message, its only field.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
