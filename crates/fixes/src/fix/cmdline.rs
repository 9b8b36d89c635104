//! The kernel's command line: the root, and the swap area to resume from, by
//! the names they have now. What initramfses wait for and will never come goes.
//!
//! Also `RESUME` of initramfs-tools and what dracut's configuration names, which
//! are the same settings in other places.

use anyhow::Result;

use crate::cmdline::CommandLines;
use crate::lines::{Line, assigned, splice};
use crate::machine::{Machine, Resolved};
use crate::{Draft, Verdict};

/// Words with which dracut and mkinitcpio wait for a volume group, an array or
/// an encrypted volume, and the beginning of its device's path.
const WAITED_FOR: [(&str, &str); 9] = [
    ("rd.lvm.lv", "/dev/mapper/"),
    ("rd_LVM_LV", "/dev/mapper/"),
    ("rd.lvm.vg", "/dev/mapper/"),
    ("rd_LVM_VG", "/dev/mapper/"),
    ("rd.md.uuid", "/dev/md"),
    ("rd_MD_UUID", "/dev/md"),
    ("rd.luks.uuid", "/dev/mapper/"),
    ("rd_LUKS_UUID", "/dev/mapper/"),
    ("cryptdevice", "/dev/mapper/"),
];

const CONF_D: &str = "etc/initramfs-tools/conf.d";
const DRACUT_CONF: &str = "etc/dracut.conf";
const DRACUT_D: &str = "etc/dracut.conf.d";
const INITRAMFS_CONF: &str = "etc/initramfs-tools/initramfs.conf";

/// Repairs the command lines and RESUME.
pub fn run(machine: &Machine, draft: &mut Draft) -> Result<Verdict> {
    let mut done = Vec::new();
    let lines = CommandLines::find(draft)?;
    lines.edit(draft, |place, words| {
        repair(machine, words, &mut |text| {
            done.push(format!("/{}: {text}", place.path))
        });
    })?;
    repair_resume(machine, draft, &mut done)?;
    repair_dracut(machine, draft, &mut done)?;
    done.dedup();
    if lines.is_empty() && done.is_empty() {
        return Ok(Verdict::not_needed("no kernel command line was found"));
    }
    Ok(Verdict::of(done, "the command lines name what is there"))
}

fn repair(machine: &Machine, words: &mut Vec<String>, tell: &mut dyn FnMut(String)) {
    let into_file = words.iter().any(|word| word.starts_with("resume_offset="));
    let old = std::mem::take(words);
    for word in old {
        let key = word.split_once('=').map_or(word.as_str(), |(key, _)| key);
        let new = match (key, word.split_once('=')) {
            ("root", Some((_, spec))) => Some(format!("root={}", root(machine, spec))),
            // The file lies elsewhere on its filesystem now.
            ("resume" | "resume_offset", _) if into_file => None,
            ("resume", Some((_, spec))) => {
                resume(machine, spec).map(|spec| format!("resume={spec}"))
            }
            _ => (!waits_in_vain(machine, key)).then(|| word.clone()),
        };
        match new {
            Some(new) => {
                if new != word {
                    tell(format!("{word} is now {new}"));
                }
                words.push(new);
            }
            None => tell(format!("{word} is gone: what it names did not come along")),
        }
    }
}

/// The root's name; a word that nobody knows is the root as it was.
fn root(machine: &Machine, spec: &str) -> String {
    match machine.resolve(spec) {
        Resolved::Renamed(_, new) => new,
        Resolved::Gone | Resolved::Unknown => match machine.mounted_on("/") {
            Some(root) => machine.rename(spec, root),
            None => spec.to_owned(),
        },
        Resolved::NoDevice | Resolved::Right(_) => spec.to_owned(),
    }
}

/// The swap area's name, if there is one to resume from: an initramfs waits
/// for another in vain.
fn resume(machine: &Machine, spec: &str) -> Option<String> {
    match machine.resolve(spec) {
        Resolved::Right(volume) if volume.is_swap() => Some(spec.to_owned()),
        Resolved::Renamed(volume, new) if volume.is_swap() => Some(new),
        Resolved::NoDevice => Some(spec.to_owned()),
        Resolved::Unknown => {
            let mut swaps = machine.swaps();
            let only = swaps.next().filter(|_| swaps.next().is_none());
            only.map(|swap| machine.rename(spec, swap))
        }
        Resolved::Right(_) | Resolved::Renamed(..) | Resolved::Gone => None,
    }
}

fn waits_in_vain(machine: &Machine, key: &str) -> bool {
    let Some((_, start)) = WAITED_FOR.iter().find(|(known, _)| *known == key) else {
        return false;
    };
    let has = |start: &str| {
        let volumes = &machine.volumes;
        volumes
            .iter()
            .any(|volume| volume.device.starts_with(start))
    };
    // A machine of which nothing is known loses nothing.
    machine.mounted_on("/").is_some() && !has(start)
}

fn repair_resume(machine: &Machine, draft: &mut Draft, done: &mut Vec<String>) -> Result<()> {
    let mut files = draft.list_paths(CONF_D, "")?;
    files.push(INITRAMFS_CONF.to_owned());
    for path in files {
        draft.edit(&path, |line| {
            let Some(place) = assigned(line, "RESUME") else {
                return Line::Keep;
            };
            let spec = &line[place.clone()];
            let spec = match spec {
                "" | "none" | "auto" => return Line::Keep,
                _ => spec,
            };
            let new = resume(machine, spec).unwrap_or_else(|| "none".to_owned());
            if new != spec {
                done.push(format!("/{path}: RESUME={spec} is now {new}"));
            }
            Line::of(line, splice(line, &[(place, new)]))
        })?;
    }
    Ok(())
}

/// A command line that dracut builds in, and devices that it is to wait for.
fn repair_dracut(machine: &Machine, draft: &mut Draft, done: &mut Vec<String>) -> Result<()> {
    let mut files = draft.list_paths(DRACUT_D, ".conf")?;
    files.push(DRACUT_CONF.to_owned());
    for path in files {
        draft.edit(&path, |line| {
            let place = |name: &str| assigned(line, name);
            let command_line = place("kernel_cmdline").or_else(|| place("kernel_cmdline+"));
            let devices = place("add_device").or_else(|| place("add_device+"));
            let Some(place) = command_line.clone().or(devices) else {
                return Line::Keep;
            };
            let value = &line[place.clone()];
            let old = value.split_ascii_whitespace().map(str::to_owned);
            let mut words: Vec<String> = old.collect();
            let before = words.clone();
            let mut tell = |text| done.push(format!("/{path}: {text}"));
            match command_line {
                Some(_) => repair(machine, &mut words, &mut tell),
                None => words.retain_mut(|word| keep_device(machine, word, &mut tell)),
            }
            if words == before {
                return Line::Keep;
            }
            // Blanks part it from what other lines add.
            Line::Is(splice(line, &[(place, format!(" {} ", words.join(" ")))]))
        })?;
    }
    Ok(())
}

/// Gives a device its new name; false for one that did not come along.
fn keep_device(machine: &Machine, word: &mut String, tell: &mut dyn FnMut(String)) -> bool {
    match machine.resolve(word) {
        Resolved::NoDevice | Resolved::Right(_) => true,
        Resolved::Renamed(_, new) => {
            tell(format!("{word} is now {new}"));
            *word = new;
            true
        }
        Resolved::Gone | Resolved::Unknown => {
            tell(format!("{word} is gone: it did not come along"));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{machine, run as run_fix};

    const MACHINE: &str = r#"{"volumes": [
        {"device": "/dev/vda1", "kind": "ext4", "uuid": "aaaa", "partuuid": "01", "mount_point": "/",
         "was": ["/dev/sda1", "/dev/mapper/vg-root", "UUID=aaaa"]},
        {"device": "/dev/vda3", "kind": "swap", "uuid": "cccc", "was": ["/dev/sda2"]}],
        "gone": ["UUID=dead"]}"#;

    #[test]
    fn words_of_the_command_line() {
        for (words, expected) in [
            (
                "root=/dev/sda1 ro resume=/dev/sda2 quiet",
                "root=UUID=aaaa ro resume=UUID=cccc quiet",
            ),
            (
                "root=/dev/mapper/vg-root rd.lvm.lv=vg/root rd.lvm.lv=vg/swap rhgb",
                "root=UUID=aaaa rhgb",
            ),
            ("root=UUID=dead ro resume=UUID=dead", "root=UUID=aaaa ro"),
            ("root=PARTUUID=99 rootwait", "root=PARTUUID=01 rootwait"),
            (
                "root=UUID=aaaa resume=UUID=aaaa resume_offset=123",
                "root=UUID=aaaa",
            ),
            (
                "root=UUID=aaaa resume=UUID=who",
                "root=UUID=aaaa resume=UUID=cccc",
            ),
            (
                "rd.md.uuid=1:2:3 rd.luks.uuid=luks-4 root=UUID=aaaa",
                "root=UUID=aaaa",
            ),
        ] {
            let path = "boot/grub2/grub.cfg";
            let text = format!("\tlinux16 /vmlinuz-3.10 {words}\n");
            let outcome = run_fix(run, &machine(MACHINE), &[(path, &text)]).unwrap();
            assert_eq!(outcome.file(path), text.replace(words, expected));
        }
    }

    #[test]
    fn right_ones_stay() {
        for text in [
            "root=UUID=aaaa resume=UUID=cccc ro\n",
            "root=/dev/nfs nfsroot=1.2.3.4:/x\n",
            "root=ZFS=pool/root\n",
        ] {
            let outcome = run_fix(run, &machine(MACHINE), &[("etc/kernel/cmdline", text)]);
            let verdict = outcome.unwrap().verdict;
            assert!(matches!(verdict, Verdict::Right(_)), "{text} {verdict:?}");
        }
    }

    #[test]
    fn what_dracut_is_told() {
        let path = "etc/dracut.conf.d/10-machine.conf";
        for (text, expected) in [
            (
                "hostonly=\"yes\"\nkernel_cmdline+=\" rd.lvm.lv=vg/root root=/dev/sda1 \"\n",
                "hostonly=\"yes\"\nkernel_cmdline+=\" root=UUID=aaaa \"\n",
            ),
            (
                "add_device+=\" /dev/sda2 /dev/disk/by-id/ata-X \"\n",
                "add_device+=\" UUID=cccc \"\n",
            ),
        ] {
            let outcome = run_fix(run, &machine(MACHINE), &[(path, text)]).unwrap();
            assert_eq!(outcome.file(path), expected);
        }
    }

    #[test]
    fn resume_of_initramfs_tools() {
        let path = "etc/initramfs-tools/conf.d/resume";
        for (text, expected) in [
            ("RESUME=/dev/sda2\n", "RESUME=UUID=cccc\n"),
            ("# x\nRESUME=UUID=dead # y\n", "# x\nRESUME=none # y\n"),
        ] {
            let outcome = run_fix(run, &machine(MACHINE), &[(path, text)]).unwrap();
            assert_eq!(outcome.file(path), expected);
        }
        for text in ["RESUME=none\n", "RESUME=UUID=cccc\n", "RESUME=auto"] {
            let outcome = run_fix(run, &machine(MACHINE), &[(path, text)]).unwrap();
            assert!(!matches!(outcome.verdict, Verdict::Changed(_)));
        }
    }
}
