//! A disk as a bar: its areas by their sizes, and how full they are.

use crate::source::{Content, Disk};

/// What bars are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    /// Block elements.
    Unicode,
    /// Where the terminal knows no others.
    Ascii,
}

/// What stands for each kind of place.
struct Set {
    edge: char,
    used: char,
    free: char,
    swap: char,
    other: char,
    gap: char,
}

impl Letters {
    /// Those that the locale's name, as in `LC_ALL` or `LANG`, says.
    pub fn of_locale(locale: &str) -> Self {
        let locale = locale.to_ascii_lowercase();
        match locale.contains("utf-8") || locale.contains("utf8") {
            true => Self::Unicode,
            false => Self::Ascii,
        }
    }

    fn set(self) -> Set {
        match self {
            Self::Unicode => Set {
                edge: '│',
                used: '█',
                free: '░',
                swap: '▒',
                other: '▚',
                gap: ' ',
            },
            Self::Ascii => Set {
                edge: '|',
                used: '#',
                free: '.',
                swap: '=',
                other: '?',
                gap: ' ',
            },
        }
    }
}

/// A piece of the bar, in bytes.
struct Piece {
    size: u64,
    used: u64,
    full: char,
    rest: char,
}

/// Gaps smaller than this part of the disk are left out.
const LEAST_GAP: u64 = 100;

/// The bar, at most `width` columns wide.
pub fn drawn(disk: &Disk, letters: Letters, width: usize) -> String {
    let set = letters.set();
    let mut pieces = pieces(disk, &set);
    // On a screen there is no room for more, and nobody would look at them.
    pieces.truncate(width / 4);
    let cells = width.saturating_sub(pieces.len() + 1);
    let widths = shares(&pieces, cells);
    let mut bar = String::from(set.edge);
    for (piece, cells) in pieces.iter().zip(widths) {
        let full = part(piece.used, piece.size, cells);
        bar.extend(std::iter::repeat_n(piece.full, full));
        bar.extend(std::iter::repeat_n(piece.rest, cells - full));
        bar.push(set.edge);
    }
    bar
}

fn pieces(disk: &Disk, set: &Set) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let gap = |pieces: &mut Vec<Piece>, from: u64, to: u64| {
        let size = to.saturating_sub(from);
        if size > disk.size / LEAST_GAP {
            pieces.push(Piece {
                size,
                used: 0,
                full: set.gap,
                rest: set.gap,
            });
        }
    };
    for area in &disk.areas {
        gap(&mut pieces, at, area.start);
        let (used, full, rest) = match &area.content {
            Content::Filesystem(filesystem) => (filesystem.used, set.used, set.free),
            Content::Swap(_) => (area.size, set.swap, set.swap),
            _ => (area.size, set.other, set.other),
        };
        pieces.push(Piece {
            size: area.size,
            used,
            full,
            rest,
        });
        at = at.max(area.start.saturating_add(area.size));
    }
    gap(&mut pieces, at, disk.size);
    pieces
}

/// Of `cells`, those for each piece: at least one each, all in all exactly.
fn shares(pieces: &[Piece], cells: usize) -> Vec<usize> {
    let sizes = pieces.iter().map(|piece| piece.size);
    let total = sizes.fold(0, u64::saturating_add);
    let mut shares: Vec<usize> = pieces
        .iter()
        .map(|piece| part(piece.size, total, cells).max(1))
        .collect();
    // What rounding and the least shares took too much or left, the largest has.
    while let Some(largest) = (0..shares.len()).max_by_key(|index| shares[*index]) {
        let sum: usize = shares.iter().sum();
        match sum.cmp(&cells) {
            std::cmp::Ordering::Greater if shares[largest] > 1 => shares[largest] -= 1,
            std::cmp::Ordering::Less => shares[largest] += cells - sum,
            _ => break,
        }
    }
    shares
}

/// So many of `cells` as `of` is of `whole`, rounded; something is never
/// nothing.
fn part(of: u64, whole: u64, cells: usize) -> usize {
    if of == 0 || whole == 0 {
        return 0;
    }
    let cells_wide = cells as u128;
    let exact = (u128::from(of) * cells_wide + u128::from(whole) / 2) / u128::from(whole);
    usize::try_from(exact)
        .unwrap_or(cells)
        .clamp(1, cells.max(1))
}
