//! LVM: the list of devices it may use, and filters that name old disks. With
//! a stale one a system finds none of its volumes, or waits for them for ever.

use anyhow::Result;

use crate::lines::Line;
use crate::machine::Machine;
use crate::{Draft, Verdict};

const DEVICES: &str = "etc/lvm/devices/system.devices";
const CONF: &str = "etc/lvm/lvm.conf";

/// Old copies of what LVM knew of its disks.
const CACHES: [&str; 2] = ["etc/lvm/cache/.cache", "etc/lvm/.cache"];

/// Repairs LVM's configuration.
pub fn run(machine: &Machine, draft: &mut Draft) -> Result<Verdict> {
    if !draft.exists("etc/lvm") {
        return Ok(Verdict::not_needed("the system has no LVM"));
    }
    let mut done = Vec::new();
    // Without the file LVM looks at every disk, which is right for any machine.
    for path in [DEVICES].iter().chain(&CACHES) {
        if draft.exists(path) {
            draft.remove(path);
            done.push(format!("/{path} is gone: it names the old disks"));
        }
    }
    edit_filters(machine, draft, &mut done)?;
    Ok(Verdict::of(done, "LVM looks at the disks that are there"))
}

/// A filter that names disks by what they were called is turned off; one that
/// only keeps network disks away, or the like, stays.
fn edit_filters(machine: &Machine, draft: &mut Draft, done: &mut Vec<String>) -> Result<()> {
    draft.edit(CONF, |line| {
        let text = line.trim_start();
        let key = text.split(['=', ' ']).next().unwrap_or_default();
        let is_filter = ["filter", "global_filter"].contains(&key);
        if !is_filter || !names_disks(machine, text) {
            return Line::Keep;
        }
        done.push(format!("/{CONF}: {key} named old disks, it is off"));
        let indent = &line[..line.len() - text.len()];
        Line::Is(format!("{indent}# of the old disks: {text}"))
    })?;
    Ok(())
}

fn names_disks(machine: &Machine, text: &str) -> bool {
    let known = machine
        .old_disks
        .iter()
        .any(|disk| text.contains(disk.as_str()));
    // What a filter accepts: `a|/dev/sda2|`, `a/^.dev.sda2$/`. To accept any
    // disk names none.
    let accepted = text.split(['"', '\'']).filter(|part| part.starts_with('a'));
    let kinds = [
        "sd",
        "hd",
        "cciss",
        "nvme",
        "md",
        "disk/by-",
        "mapper/mpath",
    ];
    let named = |part: &str| {
        kinds.iter().any(|kind| {
            ["/dev/", "dev.", "dev\\/", "/"]
                .iter()
                .any(|dev| part.contains(&format!("{dev}{kind}")))
        })
    };
    known || accepted.into_iter().any(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{machine, run as run_fix};

    #[test]
    fn filters() {
        let machine = machine(r#"{"old_disks": ["/dev/cciss/c0d0"]}"#);
        for (filter, off) in [
            ("filter = [ \"a|/dev/sda2|\", \"r|.*|\" ]", true),
            ("global_filter=[ 'a|^/dev/nvme0n1p3$|', 'r/.*/' ]", true),
            ("filter = [ \"a|/dev/cciss/c0d0p2|\", \"r/.*/\" ]", true),
            ("filter = [ \"a|.*/|\" ]", false),
            (
                "filter = [ \"r|/dev/drbd.*|\", \"r|/dev/sdb|\", \"a|.*|\" ]",
                false,
            ),
            ("# filter = [ \"a|/dev/sda2|\" ]", false),
            ("obtain_device_list_from_udev = 1", false),
        ] {
            let text = format!("devices {{\n\t{filter}\n}}\n");
            let outcome = run_fix(run, &machine, &[(CONF, &text)]).unwrap();
            let expected = format!("devices {{\n\t# of the old disks: {filter}\n}}\n");
            match off {
                true => assert_eq!(outcome.file(CONF), expected),
                false => assert!(matches!(outcome.verdict, Verdict::Right(_)), "{filter}"),
            }
        }
    }

    #[test]
    fn the_devices_file_goes() {
        let files = [(
            DEVICES,
            "IDTYPE=sys_wwid IDNAME=naa.5 DEVNAME=/dev/sda3 PVID=x\n",
        )];
        let outcome = run_fix(run, &machine("{}"), &files).unwrap();
        assert_eq!(outcome.changed(), [DEVICES]);
        let outcome = run_fix(run, &machine("{}"), &[]).unwrap();
        assert!(matches!(outcome.verdict, Verdict::NotNeeded(_)));
    }
}
