//! How a disk's room is shared out.
//!
//! On a disk with room for all, each volume has its size, and what is left goes
//! to the file volumes in proportion to what is in use on them. On a smaller
//! one each file volume lies as far between what it needs and what it had as
//! all others do; swap areas shrink only when otherwise the files would not fit.

/// What a volume wants, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Its size on the source.
    pub had: u64,
    /// What it must have.
    pub least: u64,
    /// What kind of volume it is.
    pub kind: Kind,
}

/// What a volume's size may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Stay.
    Fixed,
    /// Shrink as the last resort.
    Swap,
    /// Grow and shrink; so many bytes are in use.
    Files(u64),
}

/// More is needed than there is.
#[derive(Debug)]
pub struct TooSmall {
    /// Bytes.
    pub needed: u64,
}

/// Sizes for `wants` that fill `room`, all multiples of `step` as the wants are.
pub fn share(wants: &[Want], room: u64, step: u64) -> Result<Vec<u64>, TooSmall> {
    let total = |of: fn(&Want) -> u64| {
        wants
            .iter()
            .fold(0_u64, |sum, want| sum.saturating_add(of(want)))
    };
    let had = total(|want| want.had);
    if had <= room {
        return Ok(grown(wants, room - had, step));
    }
    let needed = total(|want| match want.kind {
        Kind::Swap => want.had,
        _ => want.least,
    });
    if needed <= room {
        return Ok(shrunk(wants, room - needed, step));
    }
    let needed = total(|want| want.least);
    if needed > room {
        return Err(TooSmall { needed });
    }
    Ok(swap_shrunk(wants, room - needed, step))
}

/// A part of `whole`, as `part` is of `all`.
fn portion(whole: u64, part: u64, all: u64) -> u64 {
    let portion = u128::from(whole) * u128::from(part) / u128::from(all.max(1));
    u64::try_from(portion).unwrap_or(u64::MAX)
}

fn down(bytes: u64, step: u64) -> u64 {
    bytes / step * step
}

fn grown(wants: &[Want], more: u64, step: u64) -> Vec<u64> {
    let weight = |want: &Want| match want.kind {
        Kind::Files(used) => used,
        _ => 0,
    };
    let mut all: u64 = wants.iter().map(weight).fold(0, u64::saturating_add);
    let by_size = all == 0;
    let weight = |want: &Want| match want.kind {
        Kind::Files(_) if by_size => want.had,
        _ => weight(want),
    };
    if by_size {
        all = wants.iter().map(weight).fold(0, u64::saturating_add);
    }
    let size = |want: &Want| want.had + down(portion(more, weight(want), all), step);
    wants.iter().map(size).collect()
}

/// Each has what it must, and its portion of `rest`.
fn shrunk(wants: &[Want], rest: u64, step: u64) -> Vec<u64> {
    let gap = |want: &Want| match want.kind {
        Kind::Files(_) => want.had - want.least.min(want.had),
        _ => 0,
    };
    let all = wants.iter().map(gap).fold(0, u64::saturating_add);
    let size = |want: &Want| match want.kind {
        Kind::Files(_) => {
            let size = want.least + portion(rest, gap(want), all);
            down(size, step).max(want.least).min(want.had)
        }
        _ => want.had,
    };
    wants.iter().map(size).collect()
}

fn swap_shrunk(wants: &[Want], rest: u64, step: u64) -> Vec<u64> {
    let gap = |want: &Want| match want.kind {
        Kind::Swap => want.had - want.least.min(want.had),
        _ => 0,
    };
    let all = wants.iter().map(gap).fold(0, u64::saturating_add);
    let size = |want: &Want| match want.kind {
        Kind::Swap => down(want.least + portion(rest, gap(want), all), step).max(want.least),
        _ => want.least,
    };
    wants.iter().map(size).collect()
}
