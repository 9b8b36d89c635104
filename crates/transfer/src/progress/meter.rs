//! What was done over all volumes, how fast, and how long the rest takes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use p2v_copy::Progress;

/// The rate is that of about so long.
const WINDOW: Duration = Duration::from_secs(15);

/// Closer samples tell nothing more.
const SPACING: Duration = Duration::from_millis(250);

/// Below this, a rate is a guess.
const SOONEST: Duration = Duration::from_millis(900);

/// The counters. Times come from outside, so that tests have their own.
#[derive(Debug)]
pub(super) struct Meter {
    /// What was expected of all volumes.
    total: u64,
    /// What the volumes that are complete were expected to have.
    before: u64,
    /// The volume that is worked on, and what it has of its contents.
    volume: Option<String>,
    now: u64,
    /// Over the link: in earlier volumes and tries, and in this one.
    wire_before: u64,
    wire: u64,
    /// When, and how many bytes were done then.
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    pub fn new(total: u64, now: Instant) -> Self {
        Self {
            total,
            before: 0,
            volume: None,
            now: 0,
            wire_before: 0,
            wire: 0,
            samples: VecDeque::from([(now, 0)]),
        }
    }

    /// A volume begins. The same one again is another try, which first finds
    /// what is there: that is no step back.
    pub fn begin(&mut self, name: &str, now: Instant) {
        self.wire_before += std::mem::take(&mut self.wire);
        if self.volume.as_deref() != Some(name) {
            self.volume = Some(name.to_owned());
            self.now = 0;
        }
        self.sample(now);
    }

    pub fn update(&mut self, progress: Progress, now: Instant) {
        self.now = self.now.max(progress.bytes_done);
        self.wire = progress.bytes_wire;
        self.sample(now);
    }

    /// The volume is complete, and counts as what was expected of it.
    pub fn end(&mut self, expected: u64, now: Instant) {
        self.before = self.before.saturating_add(expected);
        self.wire_before += std::mem::take(&mut self.wire);
        self.now = 0;
        self.volume = None;
        self.sample(now);
    }

    /// Never more than the total: what was expected may have been too little.
    pub fn done(&self) -> u64 {
        self.before.saturating_add(self.now).min(self.total)
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn wire(&self) -> u64 {
        self.wire_before.saturating_add(self.wire)
    }

    /// The volume that is worked on.
    pub fn volume(&self) -> Option<&str> {
        self.volume.as_deref()
    }

    /// Bytes a second of late; `None` if it is too early to tell.
    pub fn rate(&self) -> Option<f64> {
        let ((first, was), (last, is)) = (self.samples.front()?, self.samples.back()?);
        let time = last.duration_since(*first);
        (time >= SOONEST).then(|| is.saturating_sub(*was) as f64 / time.as_secs_f64())
    }

    /// How long the rest takes at that rate.
    pub fn left(&self) -> Option<Duration> {
        let rate = self.rate().filter(|rate| *rate >= 1.0)?;
        let seconds = self.total().saturating_sub(self.done()) as f64 / rate;
        // Years are no estimate.
        (seconds < 1e8).then(|| Duration::from_secs_f64(seconds))
    }

    fn sample(&mut self, now: Instant) {
        let done = self.done();
        // The last sample moves on until it is far enough from its neighbour.
        if let [.., (before, _), last] = self.samples.make_contiguous() {
            if last.0.duration_since(*before) < SPACING {
                *last = (now, done);
                return;
            }
        }
        self.samples.push_back((now, done));
        while self.samples.len() > 2 && now.duration_since(self.samples[1].0) >= WINDOW {
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(mebibytes: u64) -> Progress {
        Progress {
            bytes_done: mebibytes * MIB,
            bytes_wire: mebibytes * MIB / 2,
            ..Progress::default()
        }
    }

    #[test]
    fn it_counts_over_volumes_and_smooths() {
        let start = Instant::now();
        let after = |tenths: u64| start + Duration::from_millis(tenths * 100);
        let mut meter = Meter::new(500 * MIB, start);
        assert_eq!((meter.rate(), meter.left()), (None, None));
        meter.begin("vda1", start);
        for tenth in 1..=100 {
            meter.update(at(tenth), after(tenth));
        }
        let rate = meter.rate().unwrap() / MIB as f64;
        assert!((9.9..10.1).contains(&rate), "{rate}");
        let left = meter.left().unwrap().as_secs();
        assert!((39..=41).contains(&left), "{left}");
        meter.end(100 * MIB, after(100));
        assert_eq!((meter.done(), meter.volume()), (100 * MIB, None));

        // Twice as fast: after the window, that is the rate.
        meter.begin("vda2", after(100));
        assert_eq!(meter.volume(), Some("vda2"));
        for tenth in 101..=260 {
            meter.update(at((tenth - 100) * 2), after(tenth));
        }
        let rate = meter.rate().unwrap() / MIB as f64;
        assert!((19.0..20.5).contains(&rate), "{rate}");
        assert!(meter.samples.len() < 80, "{}", meter.samples.len());
        assert_eq!(meter.wire(), 210 * MIB);
    }

    #[test]
    fn a_repeated_try_does_not_go_back_and_its_bytes_count() {
        let start = Instant::now();
        let mut meter = Meter::new(100 * MIB, start);
        meter.begin("vda1", start);
        meter.update(at(60), start);
        meter.begin("vda1", start);
        meter.update(at(10), start);
        assert_eq!(meter.done(), 60 * MIB);
        assert_eq!(meter.wire(), 35 * MIB);
        meter.update(at(130), start);
        assert_eq!(meter.done(), 100 * MIB);
    }

    #[test]
    fn nothing_known_is_no_trouble() {
        let start = Instant::now();
        let mut meter = Meter::new(0, start);
        meter.update(at(5), start);
        meter.end(u64::MAX, start);
        meter.end(u64::MAX, start + Duration::from_secs(5));
        assert_eq!((meter.done(), meter.total(), meter.volume()), (0, 0, None));
        assert_eq!(meter.left(), None);
    }
}
