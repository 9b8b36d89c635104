//! mdadm.conf: arrays that did not come along go, or the initramfs looks for
//! them at each start.

use anyhow::Result;

use crate::lines::{Line, edit_lines};
use crate::machine::Machine;
use crate::{Draft, Verdict};

const FILES: [&str; 2] = ["etc/mdadm/mdadm.conf", "etc/mdadm.conf"];

/// Scrubs mdadm.conf.
pub fn run(machine: &Machine, draft: &mut Draft) -> Result<Verdict> {
    let mut done = Vec::new();
    let mut seen = false;
    for path in FILES {
        let Some(old) = draft.read(path)? else {
            continue;
        };
        seen = true;
        let new = scrubbed(&old, machine);
        if new != old {
            draft.write(path, new)?;
            done.push(format!(
                "/{path}: the arrays did not come along, their lines are off"
            ));
        }
    }
    match seen {
        false => Ok(Verdict::not_needed("there is no mdadm.conf")),
        true => Ok(Verdict::of(done, "it names no array that is not there")),
    }
}

/// A line goes on in those below it that begin with white space.
fn scrubbed(text: &[u8], machine: &Machine) -> Vec<u8> {
    let mut off = false;
    edit_lines(text, |line| {
        let continues = line.starts_with([' ', '\t']) && !line.trim().is_empty();
        if !continues {
            off = is_lost(line, machine);
        }
        match off {
            true => Line::Is(format!("# {line}")),
            false => Line::Keep,
        }
    })
}

fn is_lost(line: &str, machine: &Machine) -> bool {
    let mut words = line.split_ascii_whitespace();
    let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
    match keyword.as_str() {
        // `ARRAY <ignore>` keeps one from being assembled.
        "ARRAY" => {
            let device = words.next().unwrap_or_default();
            device != "<ignore>" && !machine.volumes.iter().any(|volume| volume.device == device)
        }
        // Which disks to look at: anything but the pseudo names is old.
        "DEVICE" | "DEVICES" => words.any(|word| word.starts_with("/dev/")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{machine, run as run_fix};

    #[test]
    fn arrays_and_disks() {
        let text = "# mdadm.conf\nHOMEHOST <system>\nMAILADDR root\nDEVICE /dev/sda* /dev/sdb*\n\
            ARRAY /dev/md/0 metadata=1.2 UUID=1:2:3:4\n   name=old:0\n\nARRAY <ignore> UUID=5\n\
            ARRAY /dev/md7 UUID=6\n";
        let machine = machine(r#"{"volumes": [{"device": "/dev/md7", "kind": "ext4"}]}"#);
        let outcome = run_fix(run, &machine, &[(FILES[0], text)]).unwrap();
        let expected = text
            .replace("DEVICE /", "# DEVICE /")
            .replace("ARRAY /dev/md/0", "# ARRAY /dev/md/0")
            .replace("   name", "#    name");
        assert_eq!(outcome.file(FILES[0]), expected);
    }
}
