//! The report as one page that needs nothing else: no script, no network, light
//! and dark, and fit for paper.

mod drawing;
mod geometry;
mod markup;
#[cfg(test)]
pub(crate) mod samples;
mod tables;

use std::time::Duration;

use markup::Html;

use super::{Outcome, Report};
use crate::quantity;

/// Nothing runs and nothing is fetched, whatever a page says.
const HEAD: &str = concat!(
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">",
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"robots\" content=\"noindex\">",
    "<style>",
    include_str!("style.css"),
    "</style>\n<title>"
);

/// The page.
pub fn page(report: &Report) -> String {
    let mut html = Html::default();
    html.lit(HEAD);
    html.text(report.machine())
        .lit(" to ")
        .text(report.instance())
        .lit("</title></head><body><main>\n");
    header(&mut html, report);
    ending(&mut html, report);
    facts(&mut html, report);
    layouts(&mut html, report);
    tables::volumes(&mut html, report);
    tables::differences(&mut html, report);
    tables::fixes(&mut html, report);
    tables::findings(&mut html, report);
    tables::left_out(&mut html, report);
    tables::system(&mut html, report);
    footer(&mut html, report);
    html.lit("</main></body></html>\n");
    html.finish()
}

fn header(html: &mut Html, report: &Report) {
    html.lit("<header><h1>")
        .text(report.machine())
        .lit("<span>\u{2192}</span>")
        .text(report.instance())
        .lit("</h1><p>");
    if let Some(name) = &report.source.system.name {
        html.text(name).lit(" \u{b7} ");
    }
    html.text(&report.started.replace('T', " ").replace('Z', " UTC"));
    html.lit("</p></header>\n");
}

/// A class of the style, a headline, and what else is to say.
fn verdict(report: &Report) -> (&'static str, &'static str, Vec<String>) {
    let mut remarks: Vec<String> = report.error.iter().cloned().collect();
    remarks.extend(report.unconfirmed.clone());
    let fixed = report.fixed.iter();
    remarks.extend(fixed.flat_map(|fixed| fixed.obstacles.iter().cloned()));
    let differences = report.differences.as_ref().map_or(0, Vec::len);
    for (count, what) in [
        (differences, "differences between the two sides"),
        (report.fixes_that("failed"), "of the fixes failed"),
    ] {
        if count > 0 {
            remarks.push(format!("{count} {what}"));
        }
    }
    let (class, headline) = match report.so_far() {
        Outcome::Running => ("warning", "The transfer has not ended"),
        Outcome::Seeded => ("good", "Copied ahead; the final pass is to come"),
        Outcome::Failed => ("error", "The transfer failed"),
        Outcome::WillNotStart => ("error", "Moved, but it will not start as it is"),
        Outcome::Moved if report.unconfirmed.is_some() => (
            "warning",
            "Moved, but it is not known whether it has restarted as the new system",
        ),
        Outcome::Moved if report.restarted => ("good", "Moved, and restarting as the new system"),
        Outcome::Moved => ("good", "Moved, and ready to be restarted"),
    };
    let class = match class {
        "good" if !remarks.is_empty() => "warning",
        class => class,
    };
    (class, headline, remarks)
}

fn ending(html: &mut Html, report: &Report) {
    let (class, headline, remarks) = verdict(report);
    html.lit("<section class=\"ending ")
        .lit(class)
        .lit("\"><div>");
    html.within("<strong>", headline, "</strong>");
    if !remarks.is_empty() {
        html.lit("<ul>");
        for remark in &remarks {
            html.within("<li>", remark, "</li>");
        }
        html.lit("</ul>");
    }
    html.lit("</div></section>\n");
}

fn facts(html: &mut Html, report: &Report) {
    let all = report.copied();
    let time =
        |seconds: f64| quantity::time(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut fact = |value: String, name: &str| facts.push((value, name.to_owned()));
    if !report.volumes.is_empty() {
        fact(quantity::bytes(all.copied.bytes_done), "of contents");
        fact(quantity::count(all.copied.entries), "files and directories");
        fact(quantity::bytes(all.copied.bytes_wire), "over the link");
        fact(quantity::rate(all.rate()), "while copying");
    }
    if report.ended.is_some() {
        fact(time(report.seconds), "from beginning to end");
    }
    if all.retries > 0 {
        fact(quantity::count(all.retries.into()), "connections lost");
    }
    match report.differences.as_ref().map(Vec::len) {
        None => {}
        Some(0) => fact("equal".to_owned(), "both sides, file by file"),
        Some(count) => fact(quantity::count(count as u64), "differences"),
    }
    if report.fixed.is_some() {
        let changed = report.fixes_that("changed") as u64;
        fact(quantity::count(changed), "fixes changed something");
    }
    if facts.is_empty() {
        return;
    }
    html.lit("<div class=\"facts\">");
    for (value, name) in &facts {
        html.within("<div><b>", value, "</b>");
        html.within("<span>", name, "</span></div>");
    }
    html.lit("</div>\n");
}

fn layouts(html: &mut Html, report: &Report) {
    let picture = geometry::Picture::of(report);
    if picture.source.is_empty() && picture.target.is_empty() {
        return;
    }
    html.lit("<section><h2>Layout</h2><div class=\"columns\"><span>source</span><span>target</span></div>");
    drawing::draw(html, &picture);
    html.lit("<p class=\"note\">Both sides to one scale; parts too small for their names are drawn larger. Darker: in use. Dashed: made anew, nothing copied.</p></section>\n");
}

fn footer(html: &mut Html, report: &Report) {
    html.lit("<footer>p2v ").text(&report.p2v);
    html.lit(", on the target ").text(&report.target.p2v);
    html.lit(" \u{b7} plan ").text(&report.plan_id);
    html.lit(" \u{b7} began ").text(&report.started);
    if let Some(ended) = &report.ended {
        html.lit(", ended ").text(ended);
    }
    html.lit("</footer>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every opened tag is closed in order, and quotes are balanced.
    fn assert_well_formed(page: &str) {
        let mut open = Vec::new();
        let mut rest = page;
        while let Some(at) = rest.find('<') {
            let end = rest[at..].find('>').expect("a tag ends") + at;
            let tag = &rest[at + 1..end];
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            let name: String = tag
                .trim_start_matches('/')
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "at {tag}");
            } else if !tag.ends_with('/') && !tag.starts_with('!') && name != "meta" {
                open.push(name);
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn pages_are_well_formed_and_need_nothing_else() {
        for report in [samples::moved(), samples::failed(), samples::begun()] {
            let page = page(&report);
            assert_well_formed(&page);
            for foreign in ["<script", "http://", "https://", "src=", "href=", "url("] {
                assert!(!page.contains(foreign), "{foreign}");
            }
        }
    }

    #[test]
    fn the_page_tells_all_that_matters() {
        let page = page(&samples::moved());
        for words in [
            "web1<span>",
            "web1.example.org",
            "Moved, and restarting",
            "1 of the fixes failed",
            "80-stop-vendor-daemons",
            "sda6  /",
            "vda5  /",
            "12.3 GiB",
            "prefers-color-scheme",
            "@media print",
            "<svg",
        ] {
            assert!(page.contains(words), "{words} is missing");
        }
        let page = super::page(&samples::failed());
        assert!(page.contains("The transfer failed"));
    }

    #[test]
    fn what_strangers_say_stays_text() {
        let attack = "\"'></title></svg><script>alert(1)</script><img src=x onerror=alert(1)>";
        let mut report = samples::hostile(attack);
        let page = page(&report);
        assert_well_formed(&page);
        assert!(!page.contains("<script") && !page.contains("<img"));
        let count = page.matches("&lt;script&gt;").count();
        assert!(count >= 20, "only {count} of the hostile strings are shown");
        report.error = Some("\u{1b}[2J".to_owned());
        assert!(!super::page(&report).contains('\u{1b}'));
    }
}
