//! /etc/fstab: every line that names a device names the one that is there now,
//! and none that did not come along holds up the boot.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::Result;

use crate::lines::{Line, append_line, splice, words};
use crate::machine::{Machine, Resolved, Spec, Volume};
use crate::{Draft, Verdict};

const FSTAB: &str = "etc/fstab";

/// Filesystems that mount each other's names.
const EXT: [&str; 3] = ["ext2", "ext3", "ext4"];

/// What mount(8) does not wait for anyway.
const NO_WAIT: [&str; 4] = ["noauto", "nofail", "nobootwait", "x-systemd.automount"];

/// Without these a system does not get far.
const VITAL: [&str; 3] = ["/", "/usr", "/var"];

/// Repairs fstab.
pub fn run(machine: &Machine, draft: &mut Draft) -> Result<Verdict> {
    let Some(old) = draft.read(FSTAB)? else {
        return Ok(Verdict::not_needed("there is no /etc/fstab"));
    };
    let text = String::from_utf8_lossy(&old).into_owned();
    let mut repair = Repair {
        machine,
        named: named(machine, &text),
        upstart: draft.exists("etc/init/mountall.conf"),
        files: missing_files(draft, &text),
        done: Vec::new(),
        obstacles: Vec::new(),
    };
    let mut new = crate::lines::edit_lines(&old, |line| repair.line(line));
    repair.add_root(&text, &mut new);
    let Repair {
        done, obstacles, ..
    } = repair;
    if new != old {
        draft.write(FSTAB, new)?;
    }
    obstacles.into_iter().for_each(|text| draft.obstacle(text));
    Ok(Verdict::of(done, "every line names what is there"))
}

struct Repair<'a> {
    machine: &'a Machine,
    /// The devices that some line names for sure.
    named: BTreeSet<&'a str>,
    /// Ubuntu's mountall, which has a word of its own for `nofail`.
    upstart: bool,
    /// Swap files that are not there.
    files: BTreeSet<String>,
    done: Vec<String>,
    obstacles: Vec<String>,
}

/// What is to become of a line's device.
enum Fate<'a> {
    Leave,
    Is(&'a Volume, Option<String>),
    Gone,
}

impl<'a> Repair<'a> {
    fn line(&mut self, line: &str) -> Line {
        let places = words(line);
        let field = |index: usize| places.get(index).map(|place| &line[place.clone()]);
        let (Some(spec), Some(point)) = (field(0), field(1)) else {
            return Line::Keep;
        };
        let kind = field(2).unwrap_or_default();
        let called = called(point, kind);
        let mut changes = Vec::new();
        match self.fate(spec, point, kind) {
            Fate::Leave => return Line::Keep,
            Fate::Is(volume, name) => {
                if let Some(name) = name {
                    self.done.push(format!("{called}: {spec} is now {name}"));
                    changes.push((places[0].clone(), name));
                }
                if let Some(other) = other_kind(kind, volume) {
                    self.done
                        .push(format!("{called}: its type {kind} is now {other}"));
                    changes.push((places[2].clone(), other));
                }
            }
            Fate::Gone => {
                let Some(options) = self.optional(field(3)) else {
                    return Line::Keep;
                };
                self.gone(spec, point, called);
                let after = |place: &Range<usize>| place.end..place.end;
                changes.push(match places.as_slice() {
                    [_, _, _, place, ..] => (place.clone(), options),
                    [_, _, kind] => (after(kind), format!(" {options}")),
                    _ => (after(&places[1]), format!(" auto {options}")),
                });
            }
        }
        Line::of(line, splice(line, &changes))
    }

    fn fate(&self, spec: &str, point: &str, kind: &str) -> Fate<'a> {
        if kind == "swap" && self.files.contains(spec) {
            return Fate::Gone;
        }
        match self.machine.resolve(spec) {
            Resolved::NoDevice => Fate::Leave,
            Resolved::Right(volume) => Fate::Is(volume, None),
            Resolved::Renamed(volume, name) => Fate::Is(volume, Some(name)),
            Resolved::Gone => Fate::Gone,
            Resolved::Unknown => match self.guess(point, kind) {
                Some(volume) => Fate::Is(volume, Some(self.machine.rename(spec, volume))),
                None => Fate::Gone,
            },
        }
    }

    /// By its place in the tree, or as the only swap area: what a machine that
    /// knows no old names can tell.
    fn guess(&self, point: &str, kind: &str) -> Option<&'a Volume> {
        if kind == "swap" {
            let mut free = self
                .machine
                .swaps()
                .filter(|swap| !self.named.contains(swap.device.as_str()));
            return free.next().filter(|_| free.next().is_none());
        }
        self.machine.mounted_on(point)
    }

    /// The options with those that make the boot go on without the device;
    /// `None` if it does so already.
    fn optional(&self, options: Option<&str>) -> Option<String> {
        let options = options.unwrap_or("defaults");
        let mut words = options.split(',');
        if words.any(|option| NO_WAIT.contains(&option)) {
            return None;
        }
        let more = if self.upstart { ",nobootwait" } else { "" };
        Some(format!("{options},nofail{more}"))
    }

    fn gone(&mut self, spec: &str, point: &str, called: &str) {
        if VITAL.contains(&point) {
            self.obstacles.push(format!(
                "{spec}, to be mounted on {point}, did not come along; put its new name into /etc/fstab"
            ));
        }
        self.done.push(format!(
            "{called}: {spec} did not come along, the boot goes on without it"
        ));
    }

    /// A system whose fstab has no root mounts it read-only, or as the kernel
    /// was told: it gets a line only where there is none and fsck would miss
    /// it, on old ones whose init scripts need it.
    fn add_root(&mut self, text: &str, new: &mut Vec<u8>) {
        let has = |line: &str| {
            words(line)
                .get(1)
                .is_some_and(|place| &line[place.clone()] == "/")
        };
        let none = !text.lines().any(has);
        let lines = text.lines().any(|line| !words(line).is_empty());
        let Some(root) = self.machine.mounted_on("/").filter(|_| none && lines) else {
            return;
        };
        let name = self.machine.rename("UUID=", root);
        append_line(new, &format!("{name} / {} defaults 0 1", root.kind));
        self.done
            .push(format!("/: there was no line for the root {name}"));
    }
}

/// What messages call a line: a swap area's `none` is no place.
fn called<'a>(point: &'a str, kind: &str) -> &'a str {
    if kind == "swap" { "swap" } else { point }
}

/// What the lines name for sure.
fn named<'a>(machine: &'a Machine, text: &str) -> BTreeSet<&'a str> {
    let specs = text.lines().filter_map(|line| {
        let place = words(line).first()?.clone();
        Some(machine.resolve(&line[place]))
    });
    specs
        .filter_map(|resolved| match resolved {
            Resolved::Right(volume) | Resolved::Renamed(volume, _) => Some(volume.device.as_str()),
            _ => None,
        })
        .collect()
}

/// The type to write, where the filesystem is of another one than fstab says.
fn other_kind(kind: &str, volume: &Volume) -> Option<String> {
    let same = kind == volume.kind
        || EXT.contains(&kind) && EXT.contains(&volume.kind.as_str())
        || ["", "auto", "none", "bind"].contains(&kind)
        || kind.contains(',')
        || volume.kind.is_empty()
        || (kind == "msdos" || kind == "umsdos") && volume.kind == "vfat"
        || kind == "ntfs-3g" && volume.kind == "ntfs";
    (!same).then(|| volume.kind.clone())
}

/// The swap files that fstab names and the root has not.
fn missing_files(draft: &Draft, text: &str) -> BTreeSet<String> {
    let file = |line: &str| {
        let places = words(line);
        let (spec, kind) = (places.first()?, places.get(2)?);
        let spec = &line[spec.clone()];
        let is_file = spec.starts_with('/') && Spec::parse(spec).is_none();
        (is_file && &line[kind.clone()] == "swap" && !draft.exists(spec)).then(|| spec.to_owned())
    };
    text.lines().filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Outcome, machine, run as run_fix};

    const MACHINE: &str = r#"{"volumes": [
        {"device": "/dev/vda1", "kind": "ext4", "uuid": "aaaa", "mount_point": "/",
         "was": ["/dev/sda1", "UUID=old-a", "LABEL=cloudimg-rootfs"]},
        {"device": "/dev/vda2", "kind": "xfs", "uuid": "bbbb", "label": "ho me",
         "mount_point": "/home", "was": ["/dev/mapper/vg-home", "LABEL=home", "/dev/sda5"]},
        {"device": "/dev/vda3", "kind": "swap", "uuid": "cccc", "was": ["UUID=old-s"]}],
        "gone": ["UUID=dead", "/dev/sdb1"]}"#;

    fn repaired(text: &str) -> Outcome {
        run_fix(run, &machine(MACHINE), &[(FSTAB, text)]).unwrap()
    }

    #[test]
    fn only_the_device_changes() {
        for (line, expected) in [
            (
                "UUID=old-a / ext4 errors=remount-ro 0 1",
                "UUID=aaaa / ext4 errors=remount-ro 0 1",
            ),
            (
                "/dev/sda1\t/\text4\tdefaults\t0\t1",
                "UUID=aaaa\t/\text4\tdefaults\t0\t1",
            ),
            ("LABEL=home  /home  xfs", "LABEL=ho\\040me  /home  xfs"),
            (
                "/dev/mapper/vg-home /home xfs defaults",
                "UUID=bbbb /home xfs defaults",
            ),
            (
                "/dev/sda5 /home reiserfs notail",
                "UUID=bbbb /home xfs notail",
            ),
            (
                "/dev/sda1 / ext3 defaults 0 1",
                "UUID=aaaa / ext3 defaults 0 1",
            ),
            ("/dev/sda7 none swap sw 0 0", "UUID=cccc none swap sw 0 0"),
            ("LABEL=cloudimg-rootfs / ext4", "UUID=aaaa / ext4"),
            ("/dev/disk/by-id/x-part5 /home auto", "UUID=bbbb /home auto"),
            ("UUID=dead /srv ext4", "UUID=dead /srv ext4 defaults,nofail"),
            ("UUID=dead /srv", "UUID=dead /srv auto defaults,nofail"),
            (
                "UUID=dead /srv\\040x ext4 ro 0 2 # x",
                "UUID=dead /srv\\040x ext4 ro,nofail 0 2 # x",
            ),
            (
                "/dev/sdb1 swap swap sw 0 0",
                "/dev/sdb1 swap swap sw,nofail 0 0",
            ),
            (
                "/swapfile none swap sw 0 0",
                "/swapfile none swap sw,nofail 0 0",
            ),
            ("/dev/sdz9 /mnt vfat rw", "/dev/sdz9 /mnt vfat rw,nofail"),
        ] {
            let text = format!("# /etc/fstab\n\n{line}\r\n");
            let text = match line.contains(" / ") || line.contains("\t/\t") {
                true => text,
                false => text + "UUID=aaaa / ext4\n",
            };
            let outcome = repaired(&text);
            assert_eq!(outcome.file(FSTAB), text.replace(line, expected), "{line}");
        }
    }

    #[test]
    fn what_is_right_or_no_device_stays() {
        let text = "UUID=AAAA / ext4 defaults 0 1\n\
            UUID=\"bbbb\" /home xfs defaults 0 2\n\
            proc /proc proc defaults 0 0\n\
            tmpfs /tmp tmpfs size=1G\n\
            /srv/data /export none bind 0 0\n\
            nas:/export /mnt nfs defaults 0 0\n\
            //nas/share /mnt2 cifs credentials=/etc/x\n\
            /dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n\
            /swap.img none swap sw 0 0\n\
            pool/home /export/home zfs defaults\n\
            UUID=dead /backup ext4 defaults,nofail 0 2\n\
            broken\n";
        let files = [(FSTAB, text), ("swap.img", "x")];
        let outcome = run_fix(run, &machine(MACHINE), &files).unwrap();
        assert_eq!(
            outcome.verdict,
            Verdict::Right("every line names what is there".to_owned())
        );
    }

    #[test]
    fn a_swap_area_is_not_called_none() {
        let said = |line: &str| match repaired(&format!("UUID=aaaa / ext4\n{line}\n")).verdict {
            Verdict::Changed(said) => said,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(
            said("UUID=old-s none swap sw 0 0"),
            ["swap: UUID=old-s is now UUID=cccc"]
        );
        let gone = said("/dev/sdb1 none swap sw 0 0");
        assert!(gone[0].starts_with("swap: /dev/sdb1 did not"), "{gone:?}");
        let home = said("LABEL=home /home xfs");
        assert!(home[0].starts_with("/home: "), "{home:?}");
    }

    #[test]
    fn a_lost_root_is_a_warning_and_a_missing_line_is_added() {
        let mut machine = machine(MACHINE);
        let outcome = repaired("proc /proc proc");
        assert_eq!(
            outcome.file(FSTAB),
            "proc /proc proc\nUUID=aaaa / ext4 defaults 0 1\n"
        );
        machine.volumes.clear();
        let files = [
            (FSTAB, "/dev/sda1 / ext4\n"),
            ("etc/init/mountall.conf", ""),
        ];
        let outcome = run_fix(run, &machine, &files).unwrap();
        assert_eq!(
            outcome.file(FSTAB),
            "/dev/sda1 / ext4 defaults,nofail,nobootwait\n"
        );
        assert!(outcome.obstacles[0].contains("did not come along"));
        let outcome = run_fix(run, &machine, &[]).unwrap();
        assert!(matches!(outcome.verdict, Verdict::NotNeeded(_)));
    }
}
