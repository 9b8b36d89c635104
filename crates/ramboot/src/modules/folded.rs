//! Modules in a form that compresses better, and back.
//!
//! # Why
//!
//! A kernel module is an ELF file that is not linked yet. Beside the code it
//! has tables for the kernel's own linker, and a third of its bytes are
//! relocations: "at offset O, put the address of symbol S, plus A". zstd looks
//! for strings of bytes that occurred before. Entries of 24 bytes whose offset
//! counts upwards have none, however alike they are to the eye.
//!
//! Two rearrangements show it what is alike. Both lose nothing, and neither
//! changes any length or place in the file. Four entries, offset and type only:
//!
//! ```text
//! as they are       differences       by columns
//! 0x1004 type 2     0x1004 type 2     04 08 08 0c   lowest bytes of the offsets
//! 0x100c type 2     0x0008 type 2     10 00 00 00   the next bytes of them
//! 0x1014 type 2     0x0008 type 2     00 00 00 00   and so on
//! 0x1020 type 2     0x000c type 2     02 02 02 02   the types
//! ```
//!
//! On Debian's 6.1 kernel that takes 15 % off the compressed modules. The
//! kernel is given the very bytes that were folded, so signatures stay good.
//!
//! # The format
//!
//! ```text
//! MAGIC                       8 bytes
//! the module                  as it was, but in each SHT_RELA and SHT_SYMTAB
//!                             section with entries of 24 bytes:
//!   byte 0 of every entry, byte 1 of every entry, ... byte 23
//!   r_offset                  less the entry before's
//!   r_addend                  less that of the entry before with the same
//!                             symbol, in zigzag (0, -1, 1, -2 ... as 0, 1, 2, 3 ...)
//!   st_name                   less the entry before's
//! ```
//!
//! # What may go wrong
//!
//! The way back needs the section headers, which say where the tables are: a
//! file whose tables lie over its headers, or over each other, would not come
//! back. [`fold`] tries the way back and leaves such a file as it was.
//!
//! [`unfold`] runs in PID 1. Whatever it is given, it ends with a module or an
//! error, never with a panic; no number in the file makes it work longer than
//! its length does, or take more memory than four times that: see [`tables`].
//! A module that is damaged without showing it is the kernel's to refuse, as
//! an unfolded one would be; the initrd's compression has a checksum, too.

use anyhow::{Context, Result, bail};

const MAGIC: &[u8; 8] = b"p2vfold1";

/// The suffix of a folded module's file, after `.ko`.
pub(crate) const SUFFIX: &str = ".folded";

/// Bytes of an Elf64_Rela and of an Elf64_Sym.
const ENTRY: usize = 24;

/// A table in a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Relocations,
    Symbols,
}

/// Folds a module; `None` if it is none that can be folded and brought back.
pub(crate) fn fold(module: &[u8]) -> Option<Vec<u8>> {
    let mut folded = [MAGIC, module].concat();
    let body = &mut folded[MAGIC.len()..];
    for (table, range) in tables(body)? {
        let bytes = body.get_mut(range)?;
        let columns = transpose(&deltas(table, bytes, Direction::Fold), ENTRY);
        bytes.copy_from_slice(&columns);
    }
    let back = unfold(&folded).ok()?;
    (back == module).then_some(folded)
}

/// The module that was folded. Fails if this is no folded module.
pub(crate) fn unfold(folded: &[u8]) -> Result<Vec<u8>> {
    let Some(body) = folded.strip_prefix(MAGIC) else {
        bail!("not a folded module");
    };
    let mut module = body.to_owned();
    let tables = tables(&module).context("not a module of 64 bits")?;
    for (table, range) in tables {
        let bytes = module
            .get_mut(range)
            .context("a table outside of the module")?;
        let rows = transpose(bytes, bytes.len() / ENTRY);
        bytes.copy_from_slice(&deltas(table, &rows, Direction::Unfold));
    }
    Ok(module)
}

/// Where the tables are, by the section headers; `None` if this is not a
/// little-endian 64-bit ELF file with section headers, or if its tables
/// together are longer than itself. 65535 headers may all name the same bytes:
/// each would have to be worked through. See elf(5).
fn tables(elf: &[u8]) -> Option<Vec<(Table, std::ops::Range<usize>)>> {
    const SHT_SYMTAB: u32 = 2;
    const SHT_RELA: u32 = 4;
    const HEADER: usize = 64;
    let half = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    if !elf.starts_with(b"\x7fELF\x02\x01") || usize::from(half(0x3a)?) != HEADER {
        return None;
    }
    let start = usize::try_from(u64_at(elf.get(..64)?, 0x28)).ok()?;
    let headers = elf.get(start..)?;
    let mut tables = Vec::new();
    let mut left = elf.len();
    for header in headers.chunks_exact(HEADER).take(half(0x3c)?.into()) {
        let table = match u32_at(header, 4) {
            SHT_SYMTAB => Table::Symbols,
            SHT_RELA => Table::Relocations,
            _ => continue,
        };
        let start = usize::try_from(u64_at(header, 24)).ok()?;
        let size = usize::try_from(u64_at(header, 32)).ok()?;
        if size % ENTRY == 0 && u64_at(header, 56) == ENTRY as u64 {
            left = left.checked_sub(size)?;
            tables.push((table, start..start.checked_add(size)?));
        }
    }
    Some(tables)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Fold,
    Unfold,
}

/// The rows with their numbers turned into differences, or back.
fn deltas(table: Table, rows: &[u8], direction: Direction) -> Vec<u8> {
    let mut out = rows.to_owned();
    let mut before = 0_u64;
    // By symbol, for as many as take no more memory than the table.
    let mut addends: Vec<i64> = Vec::new();
    for row in out.chunks_exact_mut(ENTRY) {
        match table {
            Table::Relocations => {
                let offset = u64_at(row, 0);
                let changed = step(offset, &mut before, direction);
                row[..8].copy_from_slice(&changed.to_le_bytes());
                let symbol = u32_at(row, 12) as usize;
                if symbol >= rows.len() / size_of::<i64>() {
                    continue;
                }
                if symbol >= addends.len() {
                    addends.resize(symbol + 1, 0);
                }
                let changed = addend(u64_at(row, 16), &mut addends[symbol], direction);
                row[16..].copy_from_slice(&changed.to_le_bytes());
            }
            Table::Symbols => {
                let name = u64::from(u32_at(row, 0));
                let changed = step(name, &mut before, direction) as u32;
                // Sums wrap at 32 bits, as the numbers do.
                before &= u64::from(u32::MAX);
                row[..4].copy_from_slice(&changed.to_le_bytes());
            }
        }
    }
    out
}

/// A number less the one before, or back.
fn step(number: u64, before: &mut u64, direction: Direction) -> u64 {
    let last = *before;
    match direction {
        Direction::Fold => {
            *before = number;
            number.wrapping_sub(last)
        }
        Direction::Unfold => {
            *before = last.wrapping_add(number);
            *before
        }
    }
}

/// The same in zigzag: small differences of either sign have few bits set.
fn addend(number: u64, before: &mut i64, direction: Direction) -> u64 {
    let last = *before;
    match direction {
        Direction::Fold => {
            *before = number as i64;
            let difference = before.wrapping_sub(last);
            ((difference << 1) ^ (difference >> 63)) as u64
        }
        Direction::Unfold => {
            let difference = (number >> 1) as i64 ^ -((number & 1) as i64);
            *before = last.wrapping_add(difference);
            *before as u64
        }
    }
}

/// Rows of `width` bytes, column by column. Its own inverse with the number
/// of rows for the width.
fn transpose(rows: &[u8], width: usize) -> Vec<u8> {
    let mut columns = Vec::with_capacity(rows.len());
    for column in 0..width {
        columns.extend(rows.iter().skip(column).step_by(width));
    }
    columns
}

/// The slice must be long enough; every caller's is of a known length.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with these sections: type, entry size, contents.
    fn elf(sections: &[(u32, u64, Vec<u8>)]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let mut headers = Vec::new();
        for (kind, entry, contents) in sections {
            let mut header = [0_u8; 64];
            header[4..8].copy_from_slice(&kind.to_le_bytes());
            header[24..32].copy_from_slice(&(file.len() as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(contents.len() as u64).to_le_bytes());
            header[56..64].copy_from_slice(&entry.to_le_bytes());
            headers.extend(header);
            file.extend(contents);
        }
        let start = file.len() as u64;
        file[0x28..0x30].copy_from_slice(&start.to_le_bytes());
        file[0x3a..0x3c].copy_from_slice(&64_u16.to_le_bytes());
        file[0x3c..0x3e].copy_from_slice(&(sections.len() as u16).to_le_bytes());
        file.extend(headers);
        file.extend(b"~Module signature appended~\n");
        file
    }

    fn relocation(offset: u64, kind: u32, symbol: u32, addend: i64) -> Vec<u8> {
        let mut row = offset.to_le_bytes().to_vec();
        row.extend(kind.to_le_bytes());
        row.extend(symbol.to_le_bytes());
        row.extend(addend.to_le_bytes());
        row
    }

    #[test]
    fn unfolding_gives_the_same_bytes() {
        let extremes = [
            relocation(4, 2, 1, -4),
            relocation(u64::MAX, 2, 1, i64::MIN),
            relocation(0, u32::MAX, u32::MAX, i64::MAX),
            relocation(9, 4, 2, i64::MAX),
            relocation(10, 4, 2, i64::MIN),
        ];
        let noise: Vec<u8> = (0..240_u32).map(|i| (i * i * 7 + i / 3) as u8).collect();
        let table = [
            elf(&[]),
            elf(&[(1, 0, b"text".to_vec())]),
            elf(&[(4, 24, vec![])]),
            elf(&[(4, 24, extremes.concat())]),
            elf(&[(2, 24, noise.clone()), (4, 24, noise.clone())]),
            elf(&[(2, 16, noise.clone()), (4, 12, noise)]),
        ];
        for (case, module) in table.iter().enumerate() {
            let folded = fold(module).unwrap();
            assert!(unfold(&folded).unwrap() == *module, "case {case}");
        }
    }

    #[test]
    fn a_table_of_relocations_becomes_columns() {
        let rows: Vec<u8> = (0..300)
            .flat_map(|i| relocation(i * 4, 2, 7, i as i64 * 5))
            .collect();
        let module = elf(&[(4, 24, rows)]);
        let folded = fold(&module).unwrap();
        let body = &folded[MAGIC.len() + 64..];
        assert_eq!(body[..4], [0, 4, 4, 4], "differences of the offsets");
        assert!(body[300..8 * 300].iter().all(|&b| b == 0));
        assert!(body[8 * 300..9 * 300].iter().all(|&b| b == 2), "types");
        assert!(body[12 * 300..13 * 300].iter().all(|&b| b == 7), "symbols");
        assert_eq!(body[16 * 300..][..3], [0, 10, 10], "zigzag of 0, 5, 5");
    }

    #[test]
    fn what_would_not_come_back_is_left_alone() {
        // A table that lies over the section headers that describe it.
        let mut module = elf(&[(4, 24, (0..240).collect())]);
        let headers = u64_at(&module, 0x28) as usize;
        let here = (headers as u64 - 24).to_le_bytes();
        module[headers + 24..headers + 32].copy_from_slice(&here);
        module[headers + 32..headers + 40].copy_from_slice(&48_u64.to_le_bytes());
        assert!(fold(&module).is_none());
        // One that ends behind the file.
        let size = (1_u64 << 40) * 24;
        module[headers + 32..headers + 40].copy_from_slice(&size.to_le_bytes());
        assert!(fold(&module).is_none());
        for garbage in [&b""[..], b"\x7fELF", b"\x7fELF\x01\x01", &[0; 100]] {
            assert!(fold(garbage).is_none());
            assert!(unfold(garbage).is_err());
            assert!(unfold(&[MAGIC, garbage].concat()).is_err());
        }
    }

    #[test]
    fn headers_that_name_the_same_bytes_again_and_again_are_refused() {
        let mut module = elf(&[(4, 24, vec![7; 24 << 16])]);
        let headers = u64_at(&module, 0x28) as usize;
        let header = module[headers..headers + 64].to_owned();
        module.truncate(headers);
        module.extend(header.repeat(60_000));
        module[0x3c..0x3e].copy_from_slice(&60_000_u16.to_le_bytes());
        let start = std::time::Instant::now();
        assert!(fold(&module).is_none());
        assert!(unfold(&[MAGIC, &module[..]].concat()).is_err());
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }

    #[test]
    fn damage_is_an_error_or_another_module_but_never_a_panic() {
        let rows = (0..100).flat_map(|i| relocation(i * 8, 2, i as u32 % 9, -4));
        let symbols: Vec<u8> = (0..240_u32).map(|i| (i * 7) as u8).collect();
        let module = elf(&[(4, 24, rows.collect()), (2, 24, symbols)]);
        let folded = fold(&module).unwrap();
        let mut errors = 0;
        // xorshift: the same damage in every run.
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        for _ in 0..20_000 {
            let mut damaged = folded.clone();
            for _ in 0..=next(3) {
                // The headers are at the end; damage there does the most.
                let reach = if next(2) == 0 { 170 } else { damaged.len() };
                let at = damaged.len() - 1 - next(reach);
                damaged[at] = [0, 0xff, 0x80, next(256) as u8][next(4)];
            }
            if next(10) == 0 {
                damaged.truncate(next(folded.len()));
            }
            match unfold(&damaged) {
                Ok(module) => assert_eq!(module.len() + MAGIC.len(), damaged.len()),
                Err(_) => errors += 1,
            }
        }
        assert!(errors > 1000, "{errors}: the damage does not do much");
    }

    /// `P2V_TEST_ROOT=DIR cargo test --release -p p2v-ramboot -- --ignored`
    #[test]
    #[ignore = "reads every module of the kernels in P2V_TEST_ROOT"]
    fn every_module_of_a_real_kernel_comes_back() {
        let root = std::env::var("P2V_TEST_ROOT").expect("P2V_TEST_ROOT names no root");
        let mut open = vec![std::path::PathBuf::from(root).join("lib/modules")];
        let (mut folded, mut alone, mut longest) = (0, 0, std::time::Duration::ZERO);
        while let Some(path) = open.pop() {
            if path.symlink_metadata().unwrap().is_dir() {
                open.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
                continue;
            }
            let name = path.to_string_lossy().into_owned();
            if !name.ends_with(".ko") && !name.contains(".ko.") {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let module = crate::builder::uncompress(bytes).unwrap();
            let Some(form) = fold(&module) else {
                eprintln!("left alone: {name}");
                alone += 1;
                continue;
            };
            let start = std::time::Instant::now();
            assert!(unfold(&form).unwrap() == module, "{name}");
            longest = longest.max(start.elapsed());
            folded += 1;
        }
        eprintln!("{folded} came back, {alone} left alone, the longest took {longest:?}");
        assert!(folded > 0);
    }
}
