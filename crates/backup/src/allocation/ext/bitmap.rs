//! Runs of set bits.

use std::ops::Range;

/// Calls `each` with every run of set bits below `bits`, in ascending order;
/// returns how many bits are set. `bitmap` has whole words of 8 bytes.
pub fn runs(bitmap: &[u8], bits: u64, mut each: impl FnMut(Range<u64>)) -> u64 {
    let (mut at, mut set) = (0, 0);
    loop {
        let start = next(bitmap, at, bits, true);
        let end = next(bitmap, start, bits, false);
        if start == end {
            return set;
        }
        set += end - start;
        each(start..end);
        at = end;
    }
}

/// The first bit from `at` that is `wanted`, or `bits` when there is none.
fn next(bitmap: &[u8], at: u64, bits: u64, wanted: bool) -> u64 {
    let mut at = at;
    while at < bits {
        let start = (at / 64 * 8) as usize;
        let Some(eight) = bitmap.get(start..).and_then(|rest| rest.first_chunk()) else {
            return bits;
        };
        let word = u64::from_le_bytes(*eight);
        let found = (if wanted { word } else { !word }) >> (at % 64);
        if found != 0 {
            return bits.min(at + u64::from(found.trailing_zeros()));
        }
        at = (at / 64 + 1) * 64;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_once_and_none_past_the_end() {
        let mut bitmap = [0_u8; 24];
        let wanted = [0..1, 3..9, 60..70, 100..128, 130..160];
        for bit in wanted.iter().cloned().flatten() {
            bitmap[bit / 8] |= 1 << (bit % 8);
        }
        let mut found = Vec::new();
        let set = runs(&bitmap, 150, |run| {
            found.push(run.start as usize..run.end as usize)
        });
        assert_eq!(found, [0..1, 3..9, 60..70, 100..128, 130..150]);
        assert_eq!(set, 1 + 6 + 10 + 28 + 20);
        assert_eq!(runs(&[0xff; 8], 64, |run| assert_eq!(run, 0..64)), 64);
        assert_eq!(runs(&[0; 8], 64, |_| unreachable!()), 0);
    }
}
