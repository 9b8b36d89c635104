//! The lines that both consoles show at the end.

use std::time::Duration;

use super::{Outcome, Report};
use crate::connection::printable;
use crate::quantity;

/// Differences and obstacles that are named; the report has them all.
const NAMED: usize = 5;

/// What was moved, how much, how fast, what the fixes did, whether it will
/// start, and what to do next; fit for a console whatever strangers put in.
pub fn summary(report: &Report) -> Vec<String> {
    let mut lines = vec![what(report)];
    lines.extend(amount(report));
    lines.extend(comparison(report));
    lines.extend(fixes(report));
    lines.extend(
        report
            .unconfirmed
            .as_ref()
            .map(|why| format!("NOT KNOWN whether it has restarted as the new system: {why}")),
    );
    lines.extend(next(report));
    lines.iter().map(|line| printable(line)).collect()
}

fn what(report: &Report) -> String {
    let machine = match &report.source.system.name {
        Some(system) => format!("{} ({system})", report.machine()),
        None => report.machine().to_owned(),
    };
    let instance = report.instance();
    match report.so_far() {
        Outcome::Running => format!("{machine} is being moved into {instance}"),
        Outcome::Moved | Outcome::WillNotStart => {
            format!("{machine} has been moved into {instance}")
        }
        Outcome::Seeded => format!("{machine} has been copied ahead into {instance}"),
        Outcome::Failed => format!(
            "{machine} has NOT been moved into {instance}: {}",
            report.error.as_deref().unwrap_or_default()
        ),
    }
}

fn amount(report: &Report) -> Option<String> {
    if report.volumes.is_empty() {
        return None;
    }
    let all = report.copied();
    let mut line = format!(
        "copied: {} in {} files, {} volumes; {} over the link",
        quantity::bytes(all.copied.bytes_done),
        quantity::count(all.copied.entries),
        report.volumes.len(),
        quantity::bytes(all.copied.bytes_wire)
    );
    if all.seconds > 0.0 {
        line += &format!(
            "; {} ({})",
            quantity::time(Duration::from_secs_f64(all.seconds)),
            quantity::rate(all.rate())
        );
    }
    if all.retries > 0 {
        line += &format!("; the connection was lost {} times", all.retries);
    }
    Some(line)
}

fn comparison(report: &Report) -> Vec<String> {
    let Some(differences) = &report.differences else {
        return Vec::new();
    };
    let count = differences.len();
    if count == 0 {
        return vec!["verified: both sides are equal, file by file".to_owned()];
    }
    let mut lines = vec![format!("verified: {count} DIFFERENCES")];
    for one in differences.iter().take(NAMED) {
        lines.push(format!("  {}: {}", one.path, one.what));
    }
    if count > NAMED {
        lines.push(format!("  and {} more, all in the report", count - NAMED));
    }
    lines
}

fn fixes(report: &Report) -> Vec<String> {
    let Some(fixed) = &report.fixed else {
        return Vec::new();
    };
    let failed: Vec<&str> = fixed
        .fixes
        .iter()
        .filter(|fix| fix.outcome == "failed")
        .map(|fix| fix.part.as_str())
        .collect();
    let mut line = format!(
        "fixes: {} changed something, {} failed",
        report.fixes_that("changed"),
        failed.len()
    );
    if !failed.is_empty() {
        line += &format!(" ({})", failed.join(", "));
    }
    let mut lines = vec![line];
    if fixed.will_boot {
        lines.push("it will start: nothing is known that keeps it from that".to_owned());
    } else {
        lines.push("it will NOT start as it is:".to_owned());
        let named = fixed.obstacles.iter().take(NAMED);
        lines.extend(named.map(|obstacle| format!("  {obstacle}")));
        let more = fixed.obstacles.len().saturating_sub(NAMED);
        if more > 0 {
            lines.push(format!("  and {more} more, all in the report"));
        }
    }
    lines
}

fn next(report: &Report) -> Option<String> {
    let instance = report.instance();
    Some(match report.so_far() {
        Outcome::Running => return None,
        Outcome::Moved if report.unconfirmed.is_some() => format!(
            "next: look at its console (gnt-instance console {instance}). If the machine's own \
             login is there, all is done. If the RAM system is, --status says how far it came: \
             once that is \"finished\", gnt-instance reboot {instance} starts the machine; else \
             run the same command again"
        ),
        Outcome::Moved if report.restarted => {
            "next: it restarts as the new system now; keep the old machine off the network"
                .to_owned()
        }
        Outcome::Moved if report.has_differences() => {
            "next: look at the differences; to copy them again, run the same command again"
                .to_owned()
        }
        Outcome::Moved => format!(
            "next: take the old machine off the network, then gnt-instance reboot {instance}"
        ),
        Outcome::WillNotStart => {
            "next: mend what keeps it from starting, then run the same command again".to_owned()
        }
        Outcome::Seeded => {
            "next: once nothing changes on the source any more, run the same command without --seed"
                .to_owned()
        }
        Outcome::Failed => {
            "next: nothing was changed on the source; run the same command again to go on from here"
                .to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::html::samples;
    use super::*;

    #[test]
    fn a_good_end_is_told_in_six_lines() {
        let lines = summary(&samples::moved());
        assert_eq!(
            lines,
            [
                "web1 (Debian GNU/Linux 12 (bookworm)) has been moved into web1.example.org",
                "copied: 12.3 GiB in 48,213 files, 3 volumes; 5.59 GiB over the link; 2 min 12 s (95.4 MiB/s); the connection was lost 2 times",
                "verified: both sides are equal, file by file",
                "fixes: 5 changed something, 1 failed (80-stop-vendor-daemons)",
                "it will start: nothing is known that keeps it from that",
                "next: it restarts as the new system now; keep the old machine off the network",
            ]
        );
    }

    #[test]
    fn a_bad_end_says_why_and_what_to_do() {
        let lines = summary(&samples::failed()).join("\n");
        for words in [
            "has NOT been moved into",
            "2 DIFFERENCES",
            "will NOT start",
            "next: nothing was changed on the source",
        ] {
            assert!(lines.contains(words), "{words} is missing in {lines}");
        }
        assert!(!lines.contains('\x1b'), "{lines}");
        let begun = summary(&samples::begun());
        assert_eq!(
            begun,
            ["web1 (Debian GNU/Linux 12 (bookworm)) is being moved into web1.example.org"]
        );
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut report = samples::moved();
        report.unconfirmed = Some("nobody answers".to_owned());
        let lines = summary(&report);
        assert_eq!(lines.len(), 7, "{lines:?}");
        assert!(lines[5].starts_with("NOT KNOWN"), "{lines:?}");
        assert!(lines[6].contains("gnt-instance console web1.example.org"));
    }

    #[test]
    fn the_targets_console_hears_the_end_before_it() {
        let mut report = samples::moved();
        let whole = summary(&report);
        (report.outcome, report.ended) = (Outcome::Running, None);
        assert_eq!(summary(&report), whole);
        report.fixed = None;
        report.end(Ok(()));
        assert_eq!(report.outcome, Outcome::Seeded);
        assert!(summary(&report).last().unwrap().contains("without --seed"));
    }
}
