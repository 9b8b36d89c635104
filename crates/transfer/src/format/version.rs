//! How old a tool is.

use anyhow::{Context, Result};
use p2v_sys::Cmd;

/// Major and minor number.
pub type Version = (u32, u32);

/// The version that `program -V` prints on its standard output.
pub fn of(program: &str) -> Result<Version> {
    let doing = format!("asking {program} for its version");
    let text = Cmd::new(program, &doing).arg("-V").read()?;
    parse(&text).with_context(|| format!("{doing}: it says {text:?}"))
}

/// The first `N.N` of a text.
fn parse(text: &str) -> Option<Version> {
    text.split(|c: char| c.is_whitespace() || c == ',')
        .find_map(|word| {
            let mut numbers = word.trim_start_matches('v').split(['.', '-']);
            let mut next = || numbers.next()?.parse().ok();
            Some((next()?, next()?))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, version) in [
            ("mkfs.xfs version 6.1.0", Some((6, 1))),
            ("mkfs.btrfs, part of btrfs-progs v6.2 ", Some((6, 2))),
            ("mkfs.btrfs, part of btrfs-progs v5.10.1", Some((5, 10))),
            ("nothing", None),
        ] {
            assert_eq!(parse(text), version);
        }
    }
}
