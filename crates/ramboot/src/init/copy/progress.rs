//! How far the copy is, on the console: at every tenth, but not more than once
//! a second, and at least every ten seconds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::init::console;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);

/// Counts bytes for all threads; whoever passes a mark says so.
pub struct Progress {
    total: u64,
    done: AtomicU64,
    start: Instant,
    said: Mutex<Said>,
}

struct Said {
    tenth: u64,
    when: Instant,
}

impl Progress {
    /// Of `total` bytes.
    pub fn new(total: u64) -> Self {
        let start = Instant::now();
        Self {
            total,
            done: AtomicU64::new(0),
            start,
            said: Mutex::new(Said {
                tenth: 0,
                when: start,
            }),
        }
    }

    /// Bytes done so far.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// So many more bytes are done.
    pub fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // Another thread that looks just now will do.
        if let Ok(mut said) = self.said.try_lock() {
            self.look(done, &mut said);
        }
    }

    fn look(&self, done: u64, said: &mut Said) {
        let total = self.total.max(1);
        let tenth = done * 10 / total;
        let since = said.when.elapsed();
        let due = tenth > said.tenth && since >= SHORTEST || since >= LONGEST;
        if !due || done >= total {
            return;
        }
        *said = Said {
            tenth,
            when: Instant::now(),
        };
        console::say(format!(
            "copying: {} %, {} of {} MB, {} MB/s",
            done * 100 / total,
            done >> 20,
            total >> 20,
            rate(done, self.start.elapsed())
        ));
    }
}

/// Whole MB (of 2^20 bytes) a second.
pub fn rate(bytes: u64, time: Duration) -> u64 {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    ((bytes >> 10).saturating_mul(1000) / milliseconds) >> 10
}
