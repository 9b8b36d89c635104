//! How far a copy is, counted by all threads and told to the caller.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::{Progress, Watch};

/// The caller is told every so many milliseconds.
const EVERY: u64 = 200;

/// See the module.
pub struct Counters<'a> {
    watch: Watch<'a>,
    begun: Instant,
    told: AtomicU64,
    entries: AtomicU64,
    done: AtomicU64,
    sent: AtomicU64,
    wire: AtomicU64,
}

impl<'a> Counters<'a> {
    /// All are 0.
    pub fn new(watch: Watch<'a>) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            watch,
            begun: Instant::now(),
            told: zero(),
            entries: zero(),
            done: zero(),
            sent: zero(),
            wire: zero(),
        }
    }

    /// So many more entries were looked at.
    pub fn entries(&self, count: u64) {
        self.entries.fetch_add(count, Relaxed);
        self.tell();
    }

    /// So many more bytes of contents are right on the other side.
    pub fn done(&self, bytes: u64) {
        self.done.fetch_add(bytes, Relaxed);
        self.tell();
    }

    /// So many more bytes of contents were sent.
    pub fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Relaxed);
    }

    /// So many more bytes went over the link.
    pub fn wire(&self, bytes: u64) {
        self.wire.fetch_add(bytes, Relaxed);
        self.tell();
    }

    /// What they are.
    pub fn now(&self) -> Progress {
        Progress {
            entries: self.entries.load(Relaxed),
            bytes_done: self.done.load(Relaxed),
            bytes_sent: self.sent.load(Relaxed),
            bytes_wire: self.wire.load(Relaxed),
        }
    }

    fn tell(&self) {
        let now = self.begun.elapsed().as_millis() as u64;
        let told = self.told.load(Relaxed);
        let due = now >= told + EVERY;
        if due
            && self
                .told
                .compare_exchange(told, now, Relaxed, Relaxed)
                .is_ok()
        {
            (self.watch)(self.now());
        }
    }
}
