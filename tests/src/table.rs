//! The table of measures against their peers.

/// One measure of ours and of the peer's, in the same unit; less is better.
#[derive(Debug)]
pub struct Measure {
    /// What is measured, with its unit.
    pub name: String,
    /// Ours.
    pub ours: f64,
    /// The peer's.
    pub peer: f64,
    /// Ours may be at most this part of the peer's.
    pub limit: f64,
}

impl Measure {
    /// Ours as a part of the peer's.
    pub fn ratio(&self) -> f64 {
        self.ours / self.peer
    }

    /// Whether the ratio is within its limit. A peer that measured nothing
    /// meets no limit.
    pub fn met(&self) -> bool {
        self.ratio() <= self.limit
    }
}

/// The measures as aligned lines, under a heading.
pub fn render(measures: &[Measure]) -> String {
    let heading = ["measure", "ours", "peer", "ratio", "at most", ""].map(str::to_owned);
    let mut rows = vec![heading];
    rows.extend(measures.iter().map(|measure| {
        [
            measure.name.clone(),
            figure(measure.ours),
            figure(measure.peer),
            format!("{:.3}", measure.ratio()),
            format!("{:.2}", measure.limit),
            if measure.met() { "met" } else { "MISSED" }.to_owned(),
        ]
    }));
    let widths: Vec<usize> = (0..6)
        .map(|column| {
            let longest = rows.iter().map(|row| row[column].chars().count()).max();
            longest.unwrap_or(0)
        })
        .collect();
    rows.iter().map(|row| line(row, &widths)).collect()
}

/// The first column to the left, figures to the right.
fn line(row: &[String; 6], widths: &[usize]) -> String {
    let mut line = format!("{:<1$}", row[0], widths[0]);
    for (cell, width) in row[1..5].iter().zip(&widths[1..5]) {
        line += &format!("  {cell:>width$}");
    }
    line += &format!("  {}", row[5]);
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

fn figure(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// The middle of some figures; of an even number, the mean of the middle two.
///
/// # Panics
///
/// If there are none: a measure without a measurement is a defect.
pub fn median(figures: &[f64]) -> f64 {
    assert!(!figures.is_empty(), "the median of nothing");
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_missed_limit_shows() {
        let measure = |ours: f64| Measure {
            name: "time, s".to_owned(),
            ours,
            peer: 10.0,
            limit: 0.5,
        };
        let text = render(&[measure(4.0), measure(6.0)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].ends_with("0.400     0.50  met"), "{text}");
        assert!(lines[2].ends_with("MISSED"), "{text}");
        assert!(!measure(f64::NAN).met());
    }
}
