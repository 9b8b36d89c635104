//! udev's rules that bind a name to one piece of hardware: cards by their
//! address, CD drives by their place. Those of old hardware would take the
//! names away from the new.

use anyhow::Result;

use super::nics::{Names, normal_mac};
use crate::lines::{Line, edit_lines, splice};
use crate::machine::Machine;
use crate::{Draft, Verdict};

const RULES: &str = "etc/udev/rules.d";
const LINKS: &str = "etc/systemd/network";

/// Repairs rules and link files.
pub fn run(machine: &Machine, draft: &mut Draft) -> Result<Verdict> {
    let names = Names::of(machine);
    let mut done = Vec::new();
    let mut seen = false;
    for path in draft.list_paths(RULES, ".rules")? {
        let Some(old) = draft.read(&path)? else {
            continue;
        };
        seen = true;
        let drives = path.contains("persistent-cd");
        let new = without_comments_of(&old, |line| {
            if drives {
                return rule_of_drive(line);
            }
            rule_of_card(line, machine, path.contains("persistent-net"))
        });
        if new != old {
            draft.write(&path, new)?;
            done.push(format!("/{path}: the rules for the old hardware are gone"));
        }
    }
    for path in draft.list_paths(LINKS, ".link")? {
        seen = true;
        if edit_link(draft, &path, &names)? {
            done.push(format!("/{path}: it is for the new card now"));
        }
    }
    if !seen {
        return Ok(Verdict::not_needed("no rule names hardware"));
    }
    Ok(Verdict::of(done, "no rule names old hardware"))
}

fn rule_of_drive(line: &str) -> Line {
    match line.contains("ENV{ID_PATH}") || line.contains("ENV{ID_SERIAL}") {
        true => Line::Drop,
        false => Line::Keep,
    }
}

/// A rule that gives a card its name: of a card that is there, the name that
/// the configuration has; of another, none.
fn rule_of_card(line: &str, machine: &Machine, generated: bool) -> Line {
    if line.trim_start().starts_with('#') || !gives_name(line) {
        return Line::Keep;
    }
    let address = quoted_after(line, "ATTR{address}==")
        .or_else(|| quoted_after(line, "SYSFS{address}=="))
        .map(|place| &line[place]);
    let Some(mac) = address.and_then(normal_mac) else {
        // By its place or driver: only udev's own file is surely out of date.
        return if generated { Line::Drop } else { Line::Keep };
    };
    let here = machine
        .nics
        .iter()
        .find(|nic| nic.mac.eq_ignore_ascii_case(&mac));
    match (here, quoted_after(line, "NAME=")) {
        (Some(nic), Some(place)) => Line::of(line, splice(line, &[(place, nic.name.clone())])),
        (Some(_), None) => Line::Keep,
        // A card that stays away matches no rule; but its name would be taken.
        (None, _) => Line::Drop,
    }
}

fn gives_name(line: &str) -> bool {
    let net = line.contains("SUBSYSTEM==\"net\"") || line.contains("KERNEL==\"eth");
    net && quoted_after(line, "NAME=").is_some()
}

/// The place between the quotes after `key`, which must begin a word.
fn quoted_after(line: &str, key: &str) -> Option<std::ops::Range<usize>> {
    let quoted = format!("{key}\"");
    let mut from = 0;
    while let Some(found) = line[from..].find(&quoted) {
        let at = from + found;
        from = at + quoted.len();
        let before = line[..at].chars().next_back();
        if before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_') {
            let length = line[from..].find('"')?;
            return Some(from..from + length);
        }
    }
    None
}

/// Edits lines; the comment that udev put right above a rule goes with it.
fn without_comments_of(text: &[u8], mut edit: impl FnMut(&str) -> Line) -> Vec<u8> {
    let mut dropped = Vec::new();
    let mut comment = None;
    let mut number = 0;
    edit_lines(text, |line| {
        if edit(line) == Line::Drop {
            dropped.extend(comment.take());
        }
        let about = ["# PCI device", "# USB device", "# Drive", "# net device"];
        let is_about = about.iter().any(|start| line.starts_with(start)) || is_drive_comment(line);
        comment = is_about.then_some(number);
        number += 1;
        Line::Keep
    });
    number = 0;
    edit_lines(text, |line| {
        let gone = dropped.contains(&number);
        number += 1;
        if gone { Line::Drop } else { edit(line) }
    })
}

/// `# DVDRAM_GH24 (pci-0000:00:1f.2-scsi-1:0:0:0)`
fn is_drive_comment(line: &str) -> bool {
    line.starts_with("# ") && line.contains(" (pci-") && line.ends_with(')')
}

/// A link file of an old card becomes the new one's.
fn edit_link(draft: &mut Draft, path: &str, names: &Names) -> Result<bool> {
    let text = draft.text(path)?.unwrap_or_default();
    let mac = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let key = key.trim();
        let is_address = key == "MACAddress" || key == "PermanentMACAddress";
        is_address.then(|| names.by_old_mac(value.trim())).flatten()
    });
    let Some(change) = mac.cloned() else {
        return Ok(false);
    };
    draft.edit(path, |line| {
        let Some((key, value)) = line.split_once('=') else {
            return Line::Keep;
        };
        match key.trim() {
            "MACAddress" | "PermanentMACAddress" if names.by_old_mac(value.trim()).is_some() => {
                Line::of(line, format!("{key}={}", change.mac))
            }
            "Name" => Line::of(line, format!("{key}={}", change.name)),
            _ => Line::Keep,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{machine, run as run_fix};

    const MACHINE: &str = r#"{"nics": [{"mac": "aa:00:00:00:00:01", "name": "eth0",
        "old_mac": "00:11:22:33:44:55"}]}"#;

    #[test]
    fn rules_of_old_cards_and_drives() {
        let head = "# This file was automatically generated by the /lib/udev/write_net_rules\n# program.\n\n";
        let old = "# PCI device 0x8086:0x10d3 (e1000e)\nSUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", ATTR{address}==\"00:11:22:33:44:55\", ATTR{dev_id}==\"0x0\", ATTR{type}==\"1\", KERNEL==\"eth*\", NAME=\"eth0\"\n";
        let new = "# PCI device 0x1af4:0x1000 (virtio-pci)\nSUBSYSTEM==\"net\", ATTR{address}==\"AA:00:00:00:00:01\", NAME=\"eth1\"\n";
        let cd = "# DVD_RW (pci-0000:00:1f.2-scsi-1:0:0:0)\nSUBSYSTEM==\"block\", ENV{ID_CDROM}==\"?*\", ENV{ID_PATH}==\"pci-0000:00:1f.2\", SYMLINK+=\"cdrom\", ENV{GENERATED}=\"1\"\n";
        let own = "SUBSYSTEM==\"block\", KERNEL==\"vd*\", SYMLINK+=\"x\"\nSUBSYSTEM==\"net\", KERNEL==\"tap*\", NAME=\"vpn\"\n";
        let (net, drives) = (
            "etc/udev/rules.d/70-persistent-net.rules",
            "etc/udev/rules.d/70-persistent-cd.rules",
        );
        let text = format!("{head}{old}\n{new}");
        let cds = format!("{head}{cd}");
        let files = [
            (net, text.as_str()),
            (drives, cds.as_str()),
            ("etc/udev/rules.d/99-own.rules", own),
        ];
        let outcome = run_fix(run, &machine(MACHINE), &files).unwrap();
        assert_eq!(
            outcome.file(net),
            format!("{head}\n{}", new.replace("eth1", "eth0"))
        );
        assert_eq!(outcome.file(drives), head);
        assert_eq!(outcome.changed().len(), 2);
    }

    #[test]
    fn link_files() {
        let path = "etc/systemd/network/10-lan.link";
        let text = "[Match]\nMACAddress=00:11:22:33:44:55\n[Link]\nName=lan0\n";
        let outcome = run_fix(run, &machine(MACHINE), &[(path, text)]).unwrap();
        assert_eq!(
            outcome.file(path),
            "[Match]\nMACAddress=aa:00:00:00:00:01\n[Link]\nName=eth0\n"
        );
        let other = [(path, "[Match]\nPath=pci-0000:02:00.0\n[Link]\nName=lan0\n")];
        let outcome = run_fix(run, &machine(MACHINE), &other).unwrap();
        assert!(matches!(outcome.verdict, Verdict::Right(_)));
    }
}
