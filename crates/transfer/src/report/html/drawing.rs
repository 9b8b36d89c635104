//! The two layouts side by side, as SVG.

use super::geometry::{Band, DiskBox, Look, Part, Picture};
use super::markup::Html;
use crate::quantity;

/// Where the columns are.
const WIDTH: f64 = 1000.0;
const COLUMN: f64 = 350.0;
const RIGHT: f64 = WIDTH - COLUMN;
/// Space beside a part's words.
const INSET: f64 = 12.0;
/// How many colours the style has.
const COLOURS: usize = 8;
/// From here on a part has room for a second line.
const TWO_LINES: f64 = 46.0;
/// A gap lower than this has no words.
const WORDED_GAP: f64 = 17.0;
/// Characters of a part's name that fit.
const LETTERS: usize = 27;

/// Appends the drawing.
pub(super) fn draw(html: &mut Html, picture: &Picture) {
    html.lit("<svg role=\"img\" aria-label=\"the source's disks and the target's\" viewBox=\"0 0 ");
    html.number(WIDTH)
        .lit(" ")
        .number(picture.height + 8.0)
        .lit("\">");
    for band in &picture.bands {
        draw_band(html, band);
    }
    for disk in &picture.source {
        draw_disk(html, disk, 0.0);
    }
    for disk in &picture.target {
        draw_disk(html, disk, RIGHT);
    }
    html.lit("</svg>");
}

fn draw_band(html: &mut Html, band: &Band) {
    let middle = WIDTH / 2.0;
    let (from, to) = (band.from, band.to);
    html.lit("<path class=\"band v");
    colour(html, band.colour);
    html.lit(if band.empty { " anew" } else { "" })
        .lit("\" d=\"M");
    point(html, COLUMN, from.0);
    html.lit("C");
    point(html, middle, from.0);
    point(html, middle, to.0);
    point(html, RIGHT, to.0);
    html.lit("V").number(to.0 + to.1).lit("C");
    point(html, middle, to.0 + to.1);
    point(html, middle, from.0 + from.1);
    point(html, COLUMN, from.0 + from.1);
    html.lit("Z\"/>");
}

fn point(html: &mut Html, x: f64, y: f64) {
    html.number(x).lit(" ").number(y).lit(" ");
}

fn colour(html: &mut Html, number: usize) {
    html.number((number % COLOURS) as f64);
}

fn draw_disk(html: &mut Html, disk: &DiskBox, x: f64) {
    text(html, "disk", x, disk.y - 12.0, &short(&disk.name, 30));
    text(
        html,
        "side",
        x + COLUMN,
        disk.y - 12.0,
        &short(&disk.detail, 34),
    );
    for part in &disk.parts {
        draw_part(html, part, x);
    }
    html.lit("<rect class=\"frame\" x=\"").number(x);
    html.lit("\" y=\"").number(disk.y);
    html.lit("\" width=\"").number(COLUMN);
    html.lit("\" height=\"").number(disk.height);
    html.lit("\" rx=\"5\"/>");
}

fn draw_part(html: &mut Html, part: &Part, x: f64) {
    html.lit("<g class=\"part ");
    match part.look {
        Look::Coloured(number) => {
            html.lit("v");
            colour(html, number);
        }
        Look::Plain => {
            html.lit("plain");
        }
        Look::Free => {
            html.lit("free");
        }
    }
    html.lit("\"><title>").text(&words(part)).lit("</title>");
    rect(html, "all", x, part, COLUMN);
    if let Some(share) = share(part) {
        rect(html, "used", x, part, COLUMN * share);
    }
    label(html, part, x);
    html.lit("</g>");
}

fn label(html: &mut Html, part: &Part, x: f64) {
    let free = part.look == Look::Free;
    if free && part.height < WORDED_GAP {
        return;
    }
    let two = part.height >= TWO_LINES && !free;
    let middle = part.y + part.height / 2.0;
    let y = if two { middle - 4.0 } else { middle + 4.5 };
    let (left, right) = (x + INSET, x + COLUMN - INSET);
    let name = short(&part.name, LETTERS);
    text(html, "size", right, y, &quantity::bytes(part.size));
    if two {
        let below = middle + 15.0;
        text(html, "name", left, y, &name);
        text(html, "kind", left, below, &short(&part.kind, LETTERS + 4));
        if let Some(used) = part.used {
            let used = format!("{} used", quantity::bytes(used));
            text(html, "side", right, below, &used);
        }
        return;
    }
    // In a low part the kind follows its name, as far as there is room.
    begin_text(html, "name", left, y);
    html.text(&name);
    let room = (LETTERS + 3).saturating_sub(name.chars().count());
    if room > 3 && !part.kind.is_empty() {
        html.lit("<tspan class=\"kind\" dx=\"9\">")
            .text(&short(&part.kind, room))
            .lit("</tspan>");
    }
    html.lit("</text>");
}

fn rect(html: &mut Html, class: &'static str, x: f64, part: &Part, width: f64) {
    html.lit("<rect class=\"").lit(class);
    html.lit("\" x=\"").number(x);
    html.lit("\" y=\"").number(part.y + 0.5);
    html.lit("\" width=\"").number(width);
    html.lit("\" height=\"")
        .number((part.height - 1.0).max(1.0));
    html.lit("\"/>");
}

fn text(html: &mut Html, class: &'static str, x: f64, y: f64, words: &str) {
    begin_text(html, class, x, y);
    html.text(words).lit("</text>");
}

fn begin_text(html: &mut Html, class: &'static str, x: f64, y: f64) {
    html.lit("<text class=\"").lit(class);
    html.lit("\" x=\"").number(x);
    html.lit("\" y=\"").number(y);
    html.lit("\">");
}

/// What a pointer over the part shows.
fn words(part: &Part) -> String {
    let mut words = format!("{}: {}", part.name, quantity::bytes(part.size));
    if !part.kind.is_empty() {
        words += &format!(", {}", part.kind);
    }
    if let (Some(used), Some(share)) = (part.used, share(part)) {
        let percent = (share * 100.0).round();
        words += &format!(", {} used ({percent} %)", quantity::bytes(used));
    }
    words
}

fn share(part: &Part) -> Option<f64> {
    let used = part.used? as f64;
    Some((used / part.size.max(1) as f64).clamp(0.0, 1.0))
}

/// The text's beginning, if it is too long.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let begin: String = text.chars().take(most - 1).collect();
    format!("{begin}\u{2026}")
}
