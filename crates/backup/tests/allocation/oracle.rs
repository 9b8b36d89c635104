//! What other programs say is in use.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use p2v_backup::ranges::Ranges;
use p2v_sys::Cmd;

/// Reads the image at a path; `None` with a visible line where the program is
/// not installed.
pub type Oracle = fn(&Path) -> Option<Ranges>;

/// Asks beside us: partclone takes seconds, of which it sleeps most. The image
/// must stay as it is.
pub fn ask(oracle: Oracle, image: &Path) -> JoinHandle<Option<Ranges>> {
    let image = image.to_owned();
    std::thread::spawn(move || oracle(&image))
}

/// partclone's map for ddrescue.
pub fn partclone(program: &str, image: &Path) -> Option<Ranges> {
    if !p2v_sys::command::in_path(program) {
        p2v_testing::skip(&format!("the comparison, {program} is not installed"));
        return None;
    }
    let beside = |name: &str| -> PathBuf { image.with_file_name(name) };
    Cmd::new(program, format!("mapping {}", image.display()))
        .args(["--domain", "--quiet", "--no_check", "--source"])
        .arg(image)
        .arg("--overwrite")
        .arg(beside("map"))
        .arg("--logfile")
        .arg(beside("log"))
        .run()
        .unwrap();
    Some(parse(&beside("map")))
}

/// The lines of a ddrescue map that end in `+`.
fn parse(map: &Path) -> Ranges {
    let text = std::fs::read_to_string(map).unwrap();
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let range = |line: &str| -> Option<Range<u64>> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [start, length, "+"] => Some(number(start)..number(start) + number(length)),
            _ => None,
        }
    };
    text.lines().filter_map(range).collect()
}

/// The first range of `wanted` that `used` does not have in full.
pub fn missing(used: &Ranges, wanted: &Ranges) -> Option<Range<u64>> {
    let mut both: Ranges = used.clone();
    for range in wanted.iter() {
        both.add(range.clone());
        if both != *used {
            return Some(range.clone());
        }
    }
    None
}
