//! Names of modules.

use super::folded;

/// The name as the kernel has it: `-` and `_` are equal, and `_` is used. In
/// an alias's pattern a `-` between brackets is a range and stays.
pub fn canonical(name: &str) -> String {
    let mut in_brackets = false;
    name.chars()
        .map(|c| {
            match c {
                '[' => in_brackets = true,
                ']' => in_brackets = false,
                '-' if !in_brackets => return '_',
                _ => {}
            }
            c
        })
        .collect()
}

/// A module's path without the suffix that says how it is packed:
/// "fs/ext4.ko.xz" is "fs/ext4.ko".
pub fn without_packing(path: &str) -> &str {
    [".xz", ".zst", ".gz", folded::SUFFIX]
        .iter()
        .find_map(|suffix| path.strip_suffix(suffix))
        .unwrap_or(path)
}

/// The canonical name of the module in the file `path`; `None` if that is not
/// a module's path.
pub fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let stem = without_packing(file).strip_suffix(".ko")?;
    (!stem.is_empty()).then(|| canonical(stem))
}
