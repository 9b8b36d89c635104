//! grub-pc's debconf answer: the disk that GRUB was installed on. With the old
//! one the next upgrade fails, or asks.

use anyhow::Result;

use crate::lines::Line;
use crate::machine::{BootMode, Machine};
use crate::{Draft, Verdict};

const DATABASE: &str = "var/cache/debconf/config.dat";

/// The questions whose answers are the old machine's.
const QUESTIONS: [&str; 3] = [
    "grub-pc/install_devices",
    "grub-pc/install_devices_disks_changed",
    REMOVABLE,
];

/// Whether upgrades write EFI's removable path too, by which an instance
/// starts: with an old loader there and new modules it would not.
const REMOVABLE: &str = "grub2/force_efi_extra_removable";

/// Resets the answer.
pub fn run(machine: &Machine, draft: &mut Draft) -> Result<Verdict> {
    let disk = match machine.boot {
        BootMode::Bios => machine.boot_disk.as_str(),
        BootMode::Efi | BootMode::Direct => "",
    };
    let mut question = String::new();
    let (mut seen, mut changed) = (false, false);
    draft.edit(DATABASE, |line| {
        let field = |name: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim());
        if line.trim().is_empty() {
            question.clear();
        } else if let Some(name) = field("Name") {
            question = name.to_owned();
        } else if let Some(value) =
            field("Value").filter(|_| QUESTIONS.contains(&question.as_str()))
        {
            seen = true;
            // The second is asked when the first is wrong, and then has none.
            let right = match question.as_str() {
                REMOVABLE if machine.boot == BootMode::Efi => "true",
                REMOVABLE => value,
                name if name == QUESTIONS[0] => disk,
                _ => "",
            };
            changed |= value != right;
            return match value == right {
                true => Line::Keep,
                false => Line::Is(format!("Value: {right}").trim_end().to_owned()),
            };
        }
        Line::Keep
    })?;
    if !seen {
        return Ok(Verdict::not_needed("debconf knows no disk of grub-pc's"));
    }
    let done = changed.then(|| match disk {
        "" => format!("/{DATABASE}: GRUB's answers are for EFI"),
        _ => format!("/{DATABASE}: GRUB's answers are for {disk}"),
    });
    Ok(Verdict::of(
        done.into_iter().collect(),
        "the answers fit the disk that is there",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{machine, run as run_fix};

    #[test]
    fn the_answer_is_the_new_disk() {
        let block = |question: &str, value: &str| {
            format!(
                "Name: {question}\nTemplate: {question}\nValue: {value}\nOwners: grub-pc\nFlags: seen\nVariables:\n RAW_CHOICES = /dev/sda\n\n"
            )
        };
        let other = block("grub-pc/timeout", "5");
        let old = block(QUESTIONS[0], "/dev/disk/by-id/ata-X, /dev/disk/by-id/ata-Y");
        let text = format!("{other}{old}{other}");
        let bios = machine(r#"{"boot_disk": "/dev/vda"}"#);
        let outcome = run_fix(run, &bios, &[(DATABASE, &text)]).unwrap();
        let expected = format!("{other}{}{other}", block(QUESTIONS[0], "/dev/vda"));
        assert_eq!(outcome.file(DATABASE), expected);
        let efi = machine(r#"{"boot": "efi"}"#);
        let text = block(REMOVABLE, "false");
        let outcome = run_fix(run, &efi, &[(DATABASE, &text)]).unwrap();
        assert_eq!(outcome.file(DATABASE), block(REMOVABLE, "true"));
        let outcome = run_fix(run, &bios, &[(DATABASE, &other)]).unwrap();
        assert!(matches!(outcome.verdict, Verdict::NotNeeded(_)));
    }
}
