//! Sets of byte ranges.

use std::ops::Range;

/// Byte ranges in ascending order that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// All bytes from 0 to `length`.
    pub fn all(length: u64) -> Self {
        let mut all = Self::default();
        all.add(0..length);
        all
    }

    /// Adds a range. In ascending order of their starts that is cheap.
    pub fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let before = |known: &Range<u64>| known.end < range.start;
        let first = match self.0.last() {
            Some(last) if before(last) => self.0.len(),
            _ => self.0.partition_point(before),
        };
        let touching = self.0[first..].partition_point(|known| known.start <= range.end);
        let touched = first..first + touching;
        let start = self.0[touched.clone()]
            .first()
            .map_or(range.start, |r| r.start);
        let end = self.0[touched.clone()].last().map_or(range.end, |r| r.end);
        let merged = start.min(range.start)..end.max(range.end);
        self.0.splice(touched, std::iter::once(merged));
    }

    /// What of these lies below `length`.
    pub fn clipped(self, length: u64) -> Self {
        let clip = |range: Range<u64>| range.start.min(length)..range.end.min(length);
        Self(
            self.0
                .into_iter()
                .map(clip)
                .filter(|range| !range.is_empty())
                .collect(),
        )
    }

    /// The bytes from 0 to `length` that are not in these.
    pub fn gaps(&self, length: u64) -> Self {
        let mut gaps = Self::default();
        let mut end = 0;
        for range in &self.0 {
            gaps.add(end..range.start.min(length));
            end = range.end;
        }
        gaps.add(end..length.max(end));
        gaps
    }

    /// The ranges, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }

    /// How many bytes are in them.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// The end of the last one.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.end)
    }
}

impl FromIterator<Range<u64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.add(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with a bitmap, over many small sets.
    #[test]
    fn added_in_any_order_they_are_a_set() {
        let mut seed = 1_u64;
        let mut random = move |below: u64| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        for _ in 0..2000 {
            let (mut ranges, mut bitmap) = (Ranges::default(), [false; 40]);
            for _ in 0..random(9) {
                let start = random(40);
                let end = start + random(41 - start);
                ranges.add(start..end);
                bitmap[start as usize..end as usize].fill(true);
            }
            let bit = |ranges: &Ranges, at: u64| ranges.iter().any(|r| r.contains(&at));
            for (at, set) in bitmap.iter().enumerate() {
                assert_eq!(bit(&ranges, at as u64), *set, "{ranges:?}");
                assert_eq!(bit(&ranges.gaps(40), at as u64), !*set, "{ranges:?}");
            }
            let list: Vec<_> = ranges.iter().collect();
            assert!(
                list.windows(2).all(|pair| pair[0].end < pair[1].start),
                "{ranges:?}"
            );
            assert!(ranges.clone().clipped(20).end() <= 20);
        }
    }
}
