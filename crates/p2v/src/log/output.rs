//! What programs that we run print, as part of the log.

/// The target of these events, by which the log knows them.
pub(super) const TARGET: &str = "output";

/// A line that a program printed.
pub(super) fn said(line: &str) {
    tracing::info!(target: TARGET, "{line}");
}
