//! The page's tables.

use std::time::Duration;

use super::markup::Html;
use crate::plan::Fill;
use crate::preflight::Weight;
use crate::protocol::FixResult;
use crate::quantity;
use crate::report::{Report, VolumeReport};

/// Rows and lines beyond these are in the JSON alone.
const MOST_DIFFERENCES: usize = 200;
const MOST_LINES: usize = 60;

/// Each volume: what it becomes and how its copy went.
pub(super) fn volumes(html: &mut Html, report: &Report) {
    html.lit("<section><h2>Volumes</h2><table><tr><th>target</th><th>mounted on</th><th>holds</th><th class=\"n\">size</th><th class=\"n\">contents</th><th class=\"n\">files</th><th class=\"n\">over the link</th><th class=\"n\">time</th><th class=\"n\">rate</th><th>copy</th></tr>");
    for (number, (disk, volume)) in report.plan.volumes().enumerate() {
        let name = volume.name(disk);
        let copy = report.volumes.iter().find(|copy| copy.volume == name);
        html.lit("<tr><td><span class=\"dot v")
            .number((number % 8) as f64)
            .lit("\"></span>")
            .text(&name)
            .lit("</td>");
        let mounts: Vec<&str> = volume.mounts.iter().map(|mount| &*mount.path).collect();
        html.cell(&mounts.join(", "));
        html.cell(match &volume.fill {
            Fill::Files { format, .. } => &format.kind,
            Fill::Blocks { kind } => kind,
            Fill::Swap => "swap",
            Fill::Reserved => "GRUB's core",
        });
        html.figure(&quantity::bytes(volume.size));
        match copy {
            Some(copy) => copied(html, copy),
            None => {
                html.lit("<td></td><td></td><td></td><td></td><td></td><td>");
                html.lit(match volume.fill {
                    Fill::Swap | Fill::Reserved => "made anew",
                    _ => "<span class=\"tag warning\">unfinished</span>",
                });
                html.lit("</td>");
            }
        }
        html.lit("</tr>");
    }
    html.lit("</table></section>\n");
}

fn copied(html: &mut Html, copy: &VolumeReport) {
    let time = Duration::try_from_secs_f64(copy.seconds).unwrap_or_default();
    html.figure(&quantity::bytes(copy.copied.bytes_done));
    html.figure(&quantity::count(copy.copied.entries));
    html.figure(&quantity::bytes(copy.copied.bytes_wire));
    html.figure(&quantity::time(time));
    html.figure(&quantity::rate(copy.rate()));
    html.lit("<td><span class=\"tag good\">complete</span>");
    if copy.retries > 0 {
        html.lit(" ").text(&format!("{} retries", copy.retries));
    }
    html.lit("</td>");
}

/// What the comparison found.
pub(super) fn differences(html: &mut Html, report: &Report) {
    let Some(differences) = report
        .differences
        .as_ref()
        .filter(|found| !found.is_empty())
    else {
        return;
    };
    html.lit("<section><h2>Differences</h2><table><tr><th>file</th><th>what differs</th></tr>");
    for one in differences.iter().take(MOST_DIFFERENCES) {
        html.lit("<tr>").cell(&one.path);
        html.cell(&one.what).lit("</tr>");
    }
    html.lit("</table>");
    more(html, differences.len(), MOST_DIFFERENCES);
    html.lit("</section>\n");
}

/// Each fix and what it said.
pub(super) fn fixes(html: &mut Html, report: &Report) {
    let Some(fixed) = report
        .fixed
        .as_ref()
        .filter(|fixed| !fixed.fixes.is_empty())
    else {
        return;
    };
    html.lit(
        "<section><h2>Fixes</h2><table><tr><th>fix</th><th>outcome</th><th>what it said</th></tr>",
    );
    for fix in &fixed.fixes {
        html.lit("<tr>").cell(&fix.part).lit("<td>");
        html.lit("<span class=\"tag ").lit(class_of(fix)).lit("\">");
        html.text(&fix.outcome).lit("</span></td><td><pre>");
        let shown: Vec<&str> = fix
            .lines
            .iter()
            .take(MOST_LINES)
            .map(|line| &**line)
            .collect();
        html.text(&shown.join("\n")).lit("</pre>");
        more(html, fix.lines.len(), MOST_LINES);
        html.lit("</td></tr>");
    }
    html.lit("</table></section>\n");
}

fn class_of(fix: &FixResult) -> &'static str {
    match fix.outcome.as_str() {
        "failed" => "error",
        "changed" => "good",
        _ => "other",
    }
}

/// What was looked at before the first write.
pub(super) fn findings(html: &mut Html, report: &Report) {
    if report.findings.is_empty() {
        return;
    }
    html.lit("<section><h2>Before the first write</h2><table>");
    let mut sorted: Vec<_> = report.findings.iter().collect();
    // The worst first, else as they were found.
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    for finding in sorted {
        html.lit("<tr><td style=\"width:1%\">")
            .lit(match finding.weight {
                Weight::Good => "<span class=\"tag good\">good</span>",
                Weight::Warning => "<span class=\"tag warning\">warning</span>",
                Weight::Error => "<span class=\"tag error\">error</span>",
            });
        html.lit("</td>").cell(&finding.whole()).lit("</tr>");
    }
    html.lit("</table></section>\n");
}

/// What stayed behind, and what the source's inspection said.
pub(super) fn left_out(html: &mut Html, report: &Report) {
    let left: Vec<(String, &str)> = report
        .plan
        .left_out
        .iter()
        .map(|left| (left.was.join(", "), left.reason.as_str()))
        .collect();
    let source = &report.source;
    let said: Vec<&String> = source.obstacles.iter().chain(&source.remarks).collect();
    if left.is_empty() && said.is_empty() {
        return;
    }
    html.lit("<section><h2>Left behind, and remarks</h2><table>");
    for (names, reason) in &left {
        html.lit("<tr>").cell(names).cell(reason).lit("</tr>");
    }
    for remark in said {
        html.lit("<tr><td colspan=\"2\">")
            .text(remark)
            .lit("</td></tr>");
    }
    html.lit("</table></section>\n");
}

/// The system that moved, and the machine that it moved to.
pub(super) fn system(html: &mut Html, report: &Report) {
    let (system, target) = (&report.source.system, &report.target);
    let listed = |list: Vec<String>| (!list.is_empty()).then(|| list.join(", "));
    let kernels = system.kernels.iter().map(|kernel| kernel.version.clone());
    let there = system.nics.iter().map(|nic| match &nic.mac {
        Some(mac) => format!("{} ({mac})", nic.name),
        None => nic.name.clone(),
    });
    let here = target
        .nics
        .iter()
        .map(|nic| format!("{} ({})", nic.name, nic.mac));
    let machine = format!(
        "{}, {} processors, {} RAM",
        target.hypervisor.name(),
        target.processors,
        quantity::bytes(target.memory)
    );
    let rows = [
        ("System", system.name.clone()),
        ("Init", system.init.clone()),
        ("Kernels", listed(kernels.collect())),
        ("Boot loaders", listed(system.boot_loaders.clone())),
        ("Network", listed(system.network.clone())),
        ("Network cards there", listed(there.collect())),
        ("Network cards here", listed(here.collect())),
        ("Target", Some(machine)),
    ];
    html.lit("<section><h2>System</h2><dl>");
    for (name, text) in &rows {
        if let Some(text) = text {
            html.within("<dt>", name, "</dt>")
                .within("<dd>", text, "</dd>");
        }
    }
    html.lit("</dl></section>\n");
}

fn more(html: &mut Html, there: usize, shown: usize) {
    if there > shown {
        let text = format!("and {} more, in the JSON file", there - shown);
        html.within("<p class=\"note\">", &text, "</p>");
    }
}
