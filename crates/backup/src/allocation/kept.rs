//! The blocks found in use so far, in bounded memory.

use std::ops::Range;

use crate::ranges::Ranges;

/// So many pieces are remembered, 16 bytes each.
const PIECES: usize = 1 << 20;

/// Byte ranges to keep, added in any order. Of a filesystem in more pieces
/// than are remembered, the smallest gaps are kept as well.
#[derive(Debug, Default)]
pub struct Kept {
    pieces: Vec<Range<u64>>,
    gap: u64,
}

impl Kept {
    /// Keeps a range.
    pub fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        match self.pieces.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.pieces.push(range),
        }
        if self.pieces.len() > PIECES {
            self.shrink();
        }
    }

    /// Joins pieces across ever larger gaps, until half are left: each round
    /// makes room for many more.
    fn shrink(&mut self) {
        self.pieces.sort_unstable_by_key(|piece| piece.start);
        loop {
            let gap = self.gap;
            self.pieces.dedup_by(|next, last| {
                let joins = next.start.saturating_sub(last.end) <= gap;
                if joins {
                    last.end = last.end.max(next.end);
                }
                joins
            });
            if self.pieces.len() <= PIECES / 2 {
                return;
            }
            self.gap = (gap * 2).max(4096);
        }
    }

    /// All of them.
    pub fn into_ranges(mut self) -> Ranges {
        self.pieces.sort_unstable_by_key(|piece| piece.start);
        self.pieces.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_gives_the_same() {
        let mut kept = Kept::default();
        for start in [7, 3, 0, 8, 3] {
            kept.add(start * 10..start * 10 + 10);
        }
        kept.add(5..5);
        let wanted: Ranges = [0..10, 30..40, 70..90].into_iter().collect();
        assert_eq!(kept.into_ranges(), wanted);
    }

    #[test]
    fn too_many_pieces_are_joined_and_none_is_lost() {
        let mut kept = Kept::default();
        let pieces = 3 * PIECES as u64;
        for piece in 0..pieces {
            kept.add(piece * 8192..piece * 8192 + 4096);
            assert!(kept.pieces.len() <= PIECES);
        }
        kept.add(1 << 50..(1 << 50) + 1);
        let ranges = kept.into_ranges();
        assert!(ranges.iter().count() <= PIECES);
        assert!(ranges.bytes() >= pieces * 4096);
        assert!(ranges.gaps(ranges.end()).bytes() > 1 << 49);
        let first = ranges.iter().next().unwrap();
        assert_eq!(first.start, 0);
    }
}
