//! What the fuzz targets share.
//!
//! Each target is given bytes from outside and does with them what the product
//! does. It ends with a panic, whose input libFuzzer keeps, where the product
//! would: crash, take more memory than it may, or break a promise that can be
//! checked, such as that what is written is read again as it was.

pub mod edits;
pub mod image;
pub mod memory;
pub mod scratch;

/// The input's first byte, to choose by, and the rest.
pub fn choice(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(first, rest)| (*first, rest))
}

/// The files of an input: each begins with a line `@@ PATH`. What comes before
/// the first is none.
pub fn files(data: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        let path = line.strip_prefix(b"@@ ").map(|path| path.trim_ascii());
        match path.and_then(|path| std::str::from_utf8(path).ok()) {
            Some(path) if is_path(path) => files.push((path.to_owned(), Vec::new())),
            _ => {
                if let Some((_, text)) = files.last_mut() {
                    text.extend_from_slice(line);
                }
            }
        }
    }
    files
}

/// One that a root can have a file at, whatever else is there.
fn is_path(path: &str) -> bool {
    let good = |part: &str| !["", ".", ".."].contains(&part) && part.len() < 200;
    path.split('/').all(good) && path.len() < 1000 && !path.contains('\0')
}
