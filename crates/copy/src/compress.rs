//! Packs frames by zstd when the link is what everybody waits for.
//!
//! The thread that writes to the link says how long it waited there. If that is
//! most of the time while processors lie idle, packing gains. If the link waits
//! for packed frames instead, less packing may gain; none at all only if the link
//! has been seen to carry more than goes through now. What does not become smaller
//! is sent as it is, and what comes after it is tried only now and then.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use zstd::bulk::Compressor;

use crate::Compression;
use crate::frame::{Frame, PLAIN};
use crate::queue::lock;
use crate::rooms::Rooms;

/// The levels that are gone through, 0 for none. Processors that pack for a
/// link of 1 Gbit/s have other work besides: the first takes a fifth to a third
/// less of them than level 1, and packs to a half instead of two fifths.
const LEVELS: [i32; 5] = [0, -4, 1, 3, 6];
/// The place of the level for those who always pack.
const ALWAYS: i32 = 2;
/// How long the link is watched before something is decided.
const WINDOW: Duration = Duration::from_millis(100);
/// Less is not worth it, in bytes.
const LEAST: usize = 512;
/// After one that did not become smaller so many frames are not tried.
const SKIPPED: u32 = 3;
/// What the link was seen to carry counts less with every window: it may have
/// become slower since.
const FORGET: f64 = 0.98;

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
    /// Bytes that went over the link, and what they were before they were packed.
    wire: u64,
    raw: u64,
    /// The most bytes a second that the link was seen to carry.
    carries: f64,
}

/// What happened in one window.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// The share of the time that was spent waiting for the link.
    waited: f64,
    /// The share of the processors that was idle.
    idle: f64,
    /// Whether the link was seen to carry more than goes through now, unpacked.
    carries_more: bool,
}

impl Packer {
    /// Begins without packing unless it is always wished.
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
                wire: 0,
                raw: 0,
                carries: 0.0,
            }),
        }
    }

    /// The frame, packed if that is the thing to do now.
    pub fn pack(&self, frame: Frame) -> Frame {
        let level = LEVELS[self.level.load(Relaxed) as usize];
        if level == 0 || frame.payload.len() < LEAST {
            return frame;
        }
        let skip = self.skip.load(Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Relaxed);
            return frame;
        }
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
    pub fn waited(&self, time: Duration, frame: &Frame) {
        if self.wish != Compression::Adaptive {
            return;
        }
        let mut watched = lock(&self.watched);
        watched.waited += time;
        watched.wire += frame.wire();
        watched.raw += frame.packed_from.unwrap_or(frame.payload.len()) as u64;
        let passed = watched.since.elapsed();
        if passed < WINDOW {
            return;
        }
        let seconds = passed.as_secs_f64();
        let now = processors();
        let carries = (watched.wire as f64 / seconds).max(watched.carries * FORGET);
        let window = Window {
            waited: watched.waited.as_secs_f64() / seconds,
            idle: watched.processors.zip(now).map_or(1.0, idle_share),
            carries_more: carries > watched.raw as f64 / seconds,
        };
        let level = next_level(self.level.load(Relaxed), window);
        self.level.store(level, Relaxed);
        *watched = Watched {
            since: Instant::now(),
            waited: Duration::ZERO,
            processors: now,
            wire: 0,
            raw: 0,
            carries,
        };
    }
}

/// The place of the level that follows from what a window saw at this one.
fn next_level(level: i32, window: Window) -> i32 {
    let highest = LEVELS.len() as i32 - 1;
    let Window { waited, idle, .. } = window;
    if waited > 0.6 && idle > if level == 0 { 0.15 } else { 0.4 } {
        (level + 1).min(highest)
    } else if waited < 0.3 && idle < 0.15 && (level > 1 || window.carries_more) {
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
    fn packing_begins_when_the_link_is_waited_for_and_processors_are_idle() {
        let table = [
            // Level, share waited, share idle, the link carries more, level then.
            (0, 0.9, 0.5, false, 1),
            (0, 0.9, 0.05, false, 0),
            (0, 0.2, 0.9, false, 0),
            (1, 0.9, 0.2, false, 1),
            (1, 0.9, 0.6, false, 2),
            (4, 0.9, 0.9, false, 4),
            (1, 0.1, 0.05, true, 0),
            (1, 0.1, 0.05, false, 1),
            (2, 0.1, 0.05, false, 1),
            (1, 0.1, 0.9, true, 1),
            (0, 0.1, 0.0, true, 0),
        ];
        for (level, waited, idle, carries_more, expected) in table {
            let window = Window {
                waited,
                idle,
                carries_more,
            };
            assert_eq!(next_level(level, window), expected, "{level} {window:?}");
        }
        assert!(processors().is_some_and(|(idle, all)| idle <= all && all > 0));
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
        let never = Packer::new(Compression::Never);
        assert_eq!(never.pack(Frame::new(Kind::Data, text)).packed_from, None);
    }
}
