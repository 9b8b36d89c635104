//! /etc/crypttab: devices by the names they have now. What did not come along
//! holds up no boot, and nothing is ever encrypted anew that may be somebody's
//! data.

use anyhow::Result;

use crate::lines::{Line, edit_lines, splice, words};
use crate::machine::{Machine, Resolved, Volume};
use crate::{Draft, Verdict};

const CRYPTTAB: &str = "etc/crypttab";

/// Keys that are new at each start: the device is overwritten with them.
const RANDOM_KEYS: [&str; 3] = ["/dev/urandom", "/dev/random", "/dev/hwrng"];

/// Repairs crypttab.
pub fn run(machine: &Machine, draft: &mut Draft) -> Result<Verdict> {
    let Some(old) = draft.read(CRYPTTAB)? else {
        return Ok(Verdict::not_needed("there is no /etc/crypttab"));
    };
    let has_systemd = crate::system::has_systemd(draft);
    let mut done = Vec::new();
    let new = edit_lines(&old, |line| repaired(machine, line, has_systemd, &mut done));
    if new != old {
        draft.write(CRYPTTAB, new)?;
    }
    Ok(Verdict::of(done, "every line names what is there"))
}

fn repaired(machine: &Machine, line: &str, has_systemd: bool, done: &mut Vec<String>) -> Line {
    let places = words(line);
    let field = |index: usize| places.get(index).map(|place| &line[place.clone()]);
    let (Some(name), Some(spec)) = (field(0), field(1)) else {
        return Line::Keep;
    };
    let key = field(2).unwrap_or("none");
    let random = RANDOM_KEYS.contains(&key);
    match machine.resolve(spec) {
        Resolved::NoDevice | Resolved::Right(_) => Line::Keep,
        Resolved::Renamed(volume, new) => {
            let new = if random { lasting(volume) } else { new };
            done.push(format!("{name}: {spec} is now {new}"));
            Line::Is(splice(line, &[(places[1].clone(), new)]))
        }
        Resolved::Gone | Resolved::Unknown if random => {
            done.push(format!(
                "{name}: {spec} did not come along, its line is off"
            ));
            Line::Is(format!("# did not come along: {line}"))
        }
        Resolved::Gone | Resolved::Unknown => {
            // Debian's init scripts do not know the word of systemd's.
            let word = if has_systemd { "nofail" } else { "noauto" };
            let options = field(3).unwrap_or_default();
            if options
                .split(',')
                .any(|known| known == word || known == "noauto")
            {
                return Line::Keep;
            }
            done.push(format!(
                "{name}: {spec} did not come along, the boot goes on without it"
            ));
            Line::Is(with_option(line, &places, word))
        }
    }
}

fn with_option(line: &str, places: &[std::ops::Range<usize>], word: &str) -> String {
    match places {
        [.., _, _, options] if places.len() >= 4 => {
            let end = places.get(3).unwrap_or(options).end;
            splice(line, &[(end..end, format!(",{word}"))])
        }
        [_, _, key] => splice(line, &[(key.end..key.end, format!(" {word}"))]),
        _ => format!("{} none {word}", line.trim_end()),
    }
}

/// A name that is left when the volume has been overwritten.
fn lasting(volume: &Volume) -> String {
    match &volume.partuuid {
        Some(uuid) => format!("PARTUUID={uuid}"),
        None => volume.device.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{machine, run as run_fix};

    #[test]
    fn lines() {
        let machine = machine(
            r#"{"volumes": [
            {"device": "/dev/vda2", "kind": "crypto_LUKS", "uuid": "aaaa", "was": ["/dev/sda2"]},
            {"device": "/dev/vda3", "kind": "swap", "uuid": "bbbb", "partuuid": "01-03",
             "was": ["/dev/sda3"]}], "gone": ["UUID=dead"]}"#,
        );
        let unit = "lib/systemd/systemd";
        for (line, expected, systemd) in [
            ("root /dev/sda2 none luks", "root UUID=aaaa none luks", true),
            (
                "cswap\t/dev/sda3  /dev/urandom swap",
                "cswap\tPARTUUID=01-03  /dev/urandom swap",
                true,
            ),
            (
                "data UUID=dead none luks,discard",
                "data UUID=dead none luks,discard,nofail",
                true,
            ),
            (
                "data UUID=dead none luks",
                "data UUID=dead none luks,noauto",
                false,
            ),
            (
                "data UUID=dead /etc/key",
                "data UUID=dead /etc/key nofail",
                true,
            ),
            ("data UUID=dead", "data UUID=dead none nofail", true),
            (
                "tmp /dev/sdb1 /dev/urandom tmp",
                "# did not come along: tmp /dev/sdb1 /dev/urandom tmp",
                true,
            ),
        ] {
            let text = format!("# comment\n{line}\n");
            let files = [(CRYPTTAB, text.as_str()), (unit, "")];
            let files = if systemd { &files[..] } else { &files[..1] };
            let outcome = run_fix(run, &machine, files).unwrap();
            assert_eq!(outcome.file(CRYPTTAB), format!("# comment\n{expected}\n"));
        }
        let right = "a UUID=aaaa none luks\nb UUID=dead none noauto\nc /img/x none\n";
        let outcome = run_fix(run, &machine, &[(CRYPTTAB, right)]).unwrap();
        assert!(matches!(outcome.verdict, Verdict::Right(_)));
    }
}
