//! Packs frames by zstd when the link is what everybody waits for.
//!
//! A frame is packed if it would have to wait for the link: if the queue there is
//! crowded. If the link is quick, or the processors have enough to do, frames go as
//! they are. So each is packed or not as there is time for it, and a link and
//! processors that are both busy share the work.
//!
//! How much is packed follows from how long the thread that writes to the link
//! waited there: if that is most of the time while processors lie idle, more
//! packing gains; if the link waits for packed frames instead, less may. What does
//! not become smaller is sent as it is, and what comes after it is tried only now
//! and then.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use zstd::bulk::Compressor;

use crate::Compression;
use crate::frame::{Frame, PLAIN};
use crate::queue::{Queue, lock};
use crate::rooms::Rooms;

/// The levels that are gone through. Processors that pack for a link of 1 Gbit/s
/// have other work besides: the first takes a fifth to a third less of them than
/// level 1, and packs to a half instead of two fifths.
const LEVELS: [i32; 4] = [-4, 1, 3, 6];
/// The place of the level for those who always pack.
const ALWAYS: i32 = 1;
/// How long the link is watched before something is decided.
const WINDOW: Duration = Duration::from_millis(100);
/// Less is not worth it, in bytes.
const LEAST: usize = 512;
/// After one that did not become smaller so many frames are not tried.
const SKIPPED: u32 = 3;

/// See the module.
pub struct Packer {
    /// What frames are put together in; what is packed and what has been sent
    /// goes back there.
    pub rooms: Rooms,
    wish: Compression,
    /// A place in [`LEVELS`].
    level: AtomicI32,
    skip: AtomicU32,
    spare: Mutex<Vec<Compressor<'static>>>,
    watched: Mutex<Watched>,
}

struct Watched {
    since: Instant,
    waited: Duration,
    processors: Option<(u64, u64)>,
}

/// What happened in one window.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// The share of the time that was spent waiting for the link.
    waited: f64,
    /// The share of the processors that was idle.
    idle: f64,
}

impl Packer {
    /// Begins with the lowest level unless packing is always wished.
    pub fn new(wish: Compression) -> Self {
        Self {
            rooms: Rooms::default(),
            wish,
            level: AtomicI32::new(if wish == Compression::Always {
                ALWAYS
            } else {
                0
            }),
            skip: AtomicU32::new(0),
            spare: Mutex::default(),
            watched: Mutex::new(Watched {
                since: Instant::now(),
                waited: Duration::ZERO,
                processors: processors(),
            }),
        }
    }

    /// Appends the frame to those that wait for the link, packed if that is the
    /// thing to do now. False as [`Queue::push`].
    pub fn push(&self, out: &Queue<Frame>, frame: Frame) -> bool {
        let pays = match self.wish {
            Compression::Never => false,
            Compression::Adaptive => out.is_crowded(),
            Compression::Always => true,
        };
        out.push(if pays { self.pack(frame) } else { frame })
    }

    /// The frame, packed if it becomes smaller.
    fn pack(&self, frame: Frame) -> Frame {
        if frame.payload.len() < LEAST {
            return frame;
        }
        let skip = self.skip.load(Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Relaxed);
            return frame;
        }
        let level = LEVELS[self.level.load(Relaxed) as usize];
        let Some(packed) = self.packed(&frame.payload, level) else {
            return frame;
        };
        let length = frame.payload.len();
        if packed.len() + packed.len() / 16 > length {
            if length >= crate::frame::USUAL / 2 {
                self.skip.store(SKIPPED, Relaxed);
            }
            self.rooms.give(packed);
            return frame;
        }
        let packed = Frame {
            kind: frame.kind,
            packed_from: Some(frame.payload.len()),
            payload: packed,
        };
        self.rooms.give(frame.payload);
        packed
    }

    fn packed(&self, payload: &[u8], level: i32) -> Option<Vec<u8>> {
        let (plain, rest) = payload.split_at(PLAIN);
        let spare = lock(&self.spare).pop();
        let mut compressor = match spare {
            Some(compressor) => compressor,
            None => Compressor::new(level).ok()?,
        };
        compressor.set_compression_level(level).ok()?;
        let mut room = self.rooms.take();
        room.resize(PLAIN + zstd::zstd_safe::compress_bound(rest.len()), 0);
        room[..PLAIN].copy_from_slice(plain);
        let length = compressor.compress_to_buffer(rest, &mut room[PLAIN..]);
        lock(&self.spare).push(compressor);
        room.truncate(PLAIN + length.ok()?);
        Some(room)
    }

    /// Is told how long the link took a frame.
    pub fn waited(&self, time: Duration) {
        if self.wish != Compression::Adaptive {
            return;
        }
        let mut watched = lock(&self.watched);
        watched.waited += time;
        let passed = watched.since.elapsed();
        if passed < WINDOW {
            return;
        }
        let seconds = passed.as_secs_f64();
        let now = processors();
        let window = Window {
            waited: watched.waited.as_secs_f64() / seconds,
            idle: watched.processors.zip(now).map_or(1.0, idle_share),
        };
        let level = next_level(self.level.load(Relaxed), window);
        self.level.store(level, Relaxed);
        *watched = Watched {
            since: Instant::now(),
            waited: Duration::ZERO,
            processors: now,
        };
    }
}

/// The place of the level that follows from what a window saw at this one.
fn next_level(level: i32, window: Window) -> i32 {
    let highest = LEVELS.len() as i32 - 1;
    let Window { waited, idle } = window;
    if waited > 0.6 && idle > 0.4 {
        (level + 1).min(highest)
    } else if waited < 0.3 && idle < 0.15 {
        (level - 1).max(0)
    } else {
        level
    }
}

/// Idle and all time of this machine's processors so far.
fn processors() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line
        .split_ascii_whitespace()
        .take(8)
        .filter_map(|time| time.parse().ok())
        .collect();
    // User, nice, system, idle, waiting for a disk, ...
    let idle = times.get(3)? + times.get(4)?;
    Some((idle, times.iter().sum()))
}

fn idle_share((before, after): ((u64, u64), (u64, u64))) -> f64 {
    let all = after.1.saturating_sub(before.1);
    if all == 0 {
        return 1.0;
    }
    after.0.saturating_sub(before.0) as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Kind;

    #[test]
    fn more_is_packed_while_the_link_is_waited_for_and_processors_are_idle() {
        let table = [
            // Level, share waited, share idle, level then.
            (0, 0.9, 0.5, 1),
            (0, 0.9, 0.2, 0),
            (0, 0.2, 0.9, 0),
            (1, 0.9, 0.6, 2),
            (3, 0.9, 0.9, 3),
            (1, 0.1, 0.9, 1),
            (1, 0.1, 0.05, 0),
            (0, 0.1, 0.0, 0),
        ];
        for (level, waited, idle, expected) in table {
            let window = Window { waited, idle };
            assert_eq!(next_level(level, window), expected, "{level} {window:?}");
        }
        assert!(processors().is_some_and(|(idle, all)| idle <= all && all > 0));
    }

    #[test]
    fn frames_are_packed_that_would_wait_for_the_link() {
        let frame = || Frame::new(Kind::Data, vec![7; 100_000]);
        for (wish, expected) in [
            (Compression::Never, [false; 4]),
            (Compression::Adaptive, [false, false, false, true]),
            (Compression::Always, [true; 4]),
        ] {
            let packer = Packer::new(wish);
            let out = Queue::new(4);
            assert!((0..4).all(|_| packer.push(&out, frame())));
            let sent = std::iter::from_fn(|| out.try_pop());
            let packed: Vec<bool> = sent.map(|frame| frame.packed_from.is_some()).collect();
            assert_eq!(packed, expected, "{wish:?}");
        }
    }

    #[test]
    fn what_is_packed_is_unpacked_and_what_cannot_be_is_not() {
        let packer = Packer::new(Compression::Always);
        let text: Vec<u8> = (0..100_000).map(|i| (i / 100) as u8).collect();
        let packed = packer.pack(Frame::new(Kind::Data, text.clone()));
        assert!(packed.payload.len() < 10_000);
        assert_eq!(packed.payload[..PLAIN], text[..PLAIN]);
        assert_eq!(packed.unpacked().unwrap(), text);
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .take(200_000)
        .collect();
        let sent = packer.pack(Frame::new(Kind::Data, noise.clone()));
        assert_eq!((sent.packed_from, &sent.payload), (None, &noise));
        let next = packer.pack(Frame::new(Kind::Data, text.clone()));
        assert_eq!(next.packed_from, None);
    }
}
