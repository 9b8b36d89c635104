//! Bytes, rates and times in words for people.

use std::time::Duration;

/// Bytes with three digits or more, in units of 1024: `512 B`, `1.50 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // What would be shown as 1024 is one of the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    // A round size is shown as one: 2 GiB.
    let text = match text.split_once('.') {
        Some((whole, rest)) if rest.bytes().all(|digit| digit == b'0') => whole,
        _ => &text,
    };
    format!("{text} {}", UNITS[unit])
}

/// Bytes a second.
pub fn rate(per_second: f64) -> String {
    format!("{}/s", bytes(per_second.max(0.0) as u64))
}

/// A time for tables and sentences: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A time as a clock shows it: `0:09`, `12:05`, `3:02:41`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A count with its thousands set apart: `45,678`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_its_unit() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.50 KiB"),
            (1 << 20, "1 MiB"),
            ((1 << 20) - 1, "1 MiB"),
            (2 << 30, "2 GiB"),
            (250_000_000_000, "233 GiB"),
            (1_500_000_000_000, "1.36 TiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (size, text) in table {
            assert_eq!(bytes(size), text);
        }
        assert_eq!(rate(117.3 * 1024.0 * 1024.0), "117 MiB/s");
        assert_eq!(rate(f64::NAN), "0 B/s");
    }

    #[test]
    fn each_time_and_count_has_its_form() {
        let table = [
            (400, "0.4 s", "0:00"),
            (12_000, "12 s", "0:12"),
            (185_000, "3 min 5 s", "3:05"),
            (7_800_000, "2 h 10 min", "2:10:00"),
        ];
        for (milliseconds, words, clocked) in table {
            let given = Duration::from_millis(milliseconds);
            assert_eq!(time(given), words);
            assert_eq!(clock(given), clocked);
        }
        for (given, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(given), text);
        }
    }
}
