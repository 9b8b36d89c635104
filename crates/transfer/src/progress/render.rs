//! The three forms as text.

use std::time::Duration;

use serde::Serialize;

use super::meter::Meter;
use crate::quantity;

/// The bar's least and greatest width.
const NARROW: usize = 8;
const WIDE: usize = 40;

/// What there is to show. As JSON, these are the fields of a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct View<'a> {
    /// `copy`, `verify`.
    pub phase: &'a str,
    /// The volume that is worked on.
    pub volume: Option<&'a str>,
    /// Bytes of contents over all volumes.
    #[serde(rename = "bytes_done")]
    pub done: u64,
    #[serde(rename = "bytes_total")]
    pub total: u64,
    /// Bytes a second of late.
    pub rate: Option<u64>,
    pub eta_seconds: Option<u64>,
    #[serde(rename = "bytes_wire")]
    pub wire: u64,
}

impl<'a> View<'a> {
    pub fn of(phase: &'a str, meter: &'a Meter) -> Self {
        Self {
            phase,
            volume: meter.volume(),
            done: meter.done(),
            total: meter.total(),
            rate: meter.rate().map(|rate| rate as u64),
            eta_seconds: meter.left().map(|left| left.as_secs()),
            wire: meter.wire(),
        }
    }

    /// Never 100 before the end.
    fn percent(&self) -> u64 {
        let percent = u128::from(self.done) * 100 / u128::from(self.total.max(1));
        percent.min(100) as u64
    }

    fn left(&self) -> Option<String> {
        let left = Duration::from_secs(self.eta_seconds?);
        Some(format!("{} left", quantity::clock(left)))
    }
}

/// What a terminal takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    pub colour: bool,
    pub unicode: bool,
}

impl Style {
    /// By the usual variables; see <https://no-color.org>.
    pub fn from_environment(get: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let locale = set("LC_ALL")
            .or_else(|| set("LC_CTYPE"))
            .or_else(|| set("LANG"))
            .unwrap_or_default()
            .to_lowercase();
        Self {
            colour: set("NO_COLOR").is_none(),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }
}

/// One line of at most `columns`. What does not fit is left out, the least
/// important first.
pub(super) fn bar(view: &View, columns: usize, style: Style) -> String {
    let percent = format!("{:3}%", view.percent());
    let amount = format!(
        "{} of {}",
        quantity::bytes(view.done),
        quantity::bytes(view.total)
    );
    let rate = view.rate.map(|rate| quantity::rate(rate as f64));
    let work = match view.volume {
        Some(name) => format!("{} {name}", view.phase),
        None => view.phase.to_owned(),
    };
    let rest = [Some(amount), rate, view.left(), Some(work)];
    let mut rest: Vec<String> = rest.into_iter().flatten().collect();
    let width = |rest: &[String]| -> usize {
        percent.len()
            + rest
                .iter()
                .map(|text| text.chars().count() + 2)
                .sum::<usize>()
    };
    // Names come from the target's plan: the last to come, the first to go.
    while !rest.is_empty() && width(&rest) + NARROW + 1 > columns {
        rest.pop();
    }
    let room = columns.saturating_sub(width(&rest) + 1).min(WIDE);
    let mut line = percent.clone();
    if room >= NARROW {
        line = format!("{line} {}", blocks(view.done, view.total, room, style));
    }
    for text in rest {
        line += "  ";
        line += &text;
    }
    if room < NARROW {
        line = line.chars().take(columns).collect();
    }
    line
}

/// The bar itself, in eighths of a column where the terminal has them.
fn blocks(done: u64, total: u64, width: usize, style: Style) -> String {
    let (full, empty, steps): (&str, &str, &[&str]) = if style.unicode {
        ("█", "░", &["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"])
    } else {
        ("#", "-", &[""])
    };
    let fine = width as u128 * steps.len() as u128;
    let filled = u128::from(done.min(total)) * fine / u128::from(total.max(1));
    let (whole, part) = (
        (filled / steps.len() as u128) as usize,
        (filled % steps.len() as u128) as usize,
    );
    let partial = usize::from(part > 0);
    let (begin, middle, end) = match style.colour {
        true => ("\x1b[36m", "\x1b[2m", "\x1b[0m"),
        false => ("", "", ""),
    };
    let (filled, rest) = (full.repeat(whole), empty.repeat(width - whole - partial));
    format!("{begin}{filled}{}{middle}{rest}{end}", steps[part])
}

/// A line for a log.
pub(super) fn plain(view: &View) -> String {
    let mut line = format!(
        "{}: {}% ({} of {})",
        view.phase,
        view.percent(),
        quantity::bytes(view.done),
        quantity::bytes(view.total)
    );
    if let Some(rate) = view.rate {
        line += &format!(", {}", quantity::rate(rate as f64));
    }
    if let Some(left) = view.left() {
        line += &format!(", {left}");
    }
    if let Some(volume) = view.volume {
        line += &format!(", {volume}");
    }
    line
}

/// A line for a script; a note is a field more.
pub(super) fn json(view: &View, note: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        view: &'a View<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<&'a str>,
    }
    let line = serde_json::to_string(&Line { view, note });
    line.expect("a view is plain data") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const BARE: Style = Style {
        colour: false,
        unicode: false,
    };

    fn view(done: u64) -> View<'static> {
        View {
            phase: "copy",
            volume: Some("vda2"),
            done,
            total: 8 * GIB,
            rate: Some(100 << 20),
            eta_seconds: Some(61),
            wire: GIB,
        }
    }

    #[test]
    fn a_bar_fits_every_width() {
        let table = [
            (
                100,
                " 25% ##########------------------------------  2 GiB of 8 GiB  100 MiB/s  1:01 left  copy vda2",
            ),
            (
                79,
                " 25% ######-------------------  2 GiB of 8 GiB  100 MiB/s  1:01 left  copy vda2",
            ),
            (
                60,
                " 25% ####-------------  2 GiB of 8 GiB  100 MiB/s  1:01 left",
            ),
            (40, " 25% ##------  2 GiB of 8 GiB  100 MiB/s"),
            (20, " 25% ###------------"),
            (8, " 25%"),
            (2, " 2"),
        ];
        for (columns, text) in table {
            let line = bar(&view(2 * GIB), columns, BARE);
            assert!(line.chars().count() <= columns.max(4), "{columns}: {line}");
            assert_eq!(line, text, "{columns}");
        }
        let fine = Style {
            unicode: true,
            ..BARE
        };
        for columns in 0..200 {
            for done in [0, 1, GIB / 3, 3 * GIB, 8 * GIB - 1, 8 * GIB, 9 * GIB] {
                let line = bar(&view(done), columns, fine);
                assert!(line.chars().count() <= columns.max(1), "{columns}: {line}");
            }
        }
    }

    #[test]
    fn a_bar_is_full_at_the_end_alone_and_fine_between() {
        let fine = Style {
            colour: false,
            unicode: true,
        };
        assert_eq!(blocks(0, 16, 4, fine), "░░░░");
        assert_eq!(blocks(1, 32, 4, fine), "▏░░░");
        assert_eq!(blocks(31, 32, 4, fine), "███▉");
        assert_eq!(blocks(32, 32, 4, fine), "████");
        assert_eq!(blocks(1, 0, 2, fine), "░░");
        let colour = Style {
            colour: true,
            ..BARE
        };
        assert_eq!(blocks(1, 2, 2, colour), "\x1b[36m#\x1b[2m-\x1b[0m");
        assert_eq!(view(8 * GIB - 1).percent(), 99);
        assert_eq!(view(8 * GIB).percent(), 100);
    }

    #[test]
    fn a_line_and_an_object_say_the_same() {
        assert_eq!(
            plain(&view(2 * GIB)),
            "copy: 25% (2 GiB of 8 GiB), 100 MiB/s, 1:01 left, vda2"
        );
        let early = View {
            rate: None,
            eta_seconds: None,
            ..view(0)
        };
        assert_eq!(plain(&early), "copy: 0% (0 B of 8 GiB), vda2");
        assert_eq!(
            json(&view(2 * GIB), None),
            "{\"phase\":\"copy\",\"volume\":\"vda2\",\
             \"bytes_done\":2147483648,\"bytes_total\":8589934592,\"rate\":104857600,\
             \"eta_seconds\":61,\"bytes_wire\":1073741824}\n"
        );
        let noted = json(&early, Some("a \"line\"\nand more"));
        let noted: serde_json::Value = serde_json::from_str(&noted).unwrap();
        assert_eq!(noted["note"], "a \"line\"\nand more");
        assert_eq!(noted["rate"], serde_json::Value::Null);
    }

    #[test]
    fn variables_choose_colour_and_characters() {
        let style = |pairs: &'static [(&str, &str)]| {
            Style::from_environment(|name| {
                let found = pairs.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(
            style(&[]),
            Style {
                colour: true,
                unicode: false
            }
        );
        assert_eq!(
            style(&[("NO_COLOR", "1"), ("LANG", "C.UTF-8")]),
            Style {
                colour: false,
                unicode: true
            }
        );
        assert_eq!(
            style(&[("LC_ALL", "C"), ("LANG", "de_DE.utf8")]),
            Style {
                colour: true,
                unicode: false
            }
        );
        assert!(super::super::capable(Some("linux".to_owned())));
        assert!(!super::super::capable(Some("dumb".to_owned())));
    }
}
