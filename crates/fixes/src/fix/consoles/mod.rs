//! Consoles: the kernel's messages and a login on what the instance has, and
//! none on serial ports that stayed behind.
//!
//! systemd starts a login on each of the kernel's consoles by itself; the
//! older inits must be told.

mod inits;

use anyhow::Result;

use crate::cmdline::CommandLines;
use crate::lines::{Line, assigned, shell_value, splice};
use crate::machine::Machine;
use crate::{Draft, Verdict};

const GRUB: &str = "etc/default/grub";
/// In it: words for the kernel in every entry.
const KERNEL_WORDS: &str = "GRUB_CMDLINE_LINUX";

/// Sets the consoles.
pub fn run(machine: &Machine, draft: &mut Draft) -> Result<Verdict> {
    let consoles = machine.consoles();
    let mut done = Vec::new();
    let speed = machine.serial_speed();
    edit_cmdlines(draft, &consoles, speed, &mut done)?;
    edit_grub_terminal(draft, &consoles, speed, &mut done)?;
    if crate::system::has_systemd(draft) {
        inits::disable_systemd_gettys(draft, &consoles, &mut done)?;
    } else {
        inits::edit_inittab(draft, &consoles, speed, &mut done)?;
        inits::edit_upstart(draft, &consoles, speed, &mut done)?;
    }
    inits::allow_root(draft, &consoles, &mut done)?;
    Ok(Verdict::of(done, "the consoles are those of the instance"))
}

/// The word that names a console to the kernel.
fn word(console: &str, speed: u32) -> String {
    match console.starts_with("ttyS") {
        true => format!("console={console},{speed}"),
        false => format!("console={console}"),
    }
}

fn edit_cmdlines(
    draft: &mut Draft,
    consoles: &[&str],
    speed: u32,
    done: &mut Vec<String>,
) -> Result<()> {
    let right: Vec<String> = consoles
        .iter()
        .map(|console| word(console, speed))
        .collect();
    let lines = CommandLines::find(draft)?;
    let mut changed = lines.edit(draft, |place, words| {
        let is_console = |word: &String| word.starts_with("console=");
        let first = words.iter().position(is_console);
        let mut new: Vec<String> = words.iter().filter(|w| !is_console(w)).cloned().collect();
        if place.is_of_system(words) {
            let at = first.unwrap_or(new.len());
            new.splice(at..at, right.iter().cloned());
        }
        *words = new;
    })?;
    changed.extend(add_kernel_words(draft, &right.join(" "))?);
    changed.dedup();
    let words = right.join(" ");
    done.extend(changed.iter().map(|path| format!("/{path}: {words}")));
    Ok(())
}

/// Adds these words to GRUB's settings, if no line there can be edited. The file
/// that changed.
fn add_kernel_words(draft: &mut Draft, words: &str) -> Result<Option<String>> {
    let Some(mut bytes) = draft.read(GRUB)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    if shell_value(&text, KERNEL_WORDS).is_some() {
        return Ok(None);
    }
    // What another line says, in a way that is not edited, stays in it.
    let has_other = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix(KERNEL_WORDS))
        .any(|rest| rest.starts_with('='));
    let line = match has_other {
        true => format!("{KERNEL_WORDS}=\"${KERNEL_WORDS} {words}\""),
        false => format!("{KERNEL_WORDS}=\"{words}\""),
    };
    crate::lines::append_line(&mut bytes, &line);
    draft.write(GRUB, bytes)?;
    Ok(Some(GRUB.to_owned()))
}

/// The boot loader's own menu on a serial port.
fn edit_grub_terminal(
    draft: &mut Draft,
    consoles: &[&str],
    speed: u32,
    done: &mut Vec<String>,
) -> Result<()> {
    let serial = consoles.contains(&"ttyS0");
    let changed = draft.edit(GRUB, |line| {
        if let Some(place) = assigned(line, "GRUB_SERIAL_COMMAND") {
            let words = line[place.clone()].split(' ').map(|word| {
                match word.split_once('=').map_or(word, |(key, _)| key) {
                    "--unit" => "--unit=0".to_owned(),
                    "--speed" => format!("--speed={speed}"),
                    _ => word.to_owned(),
                }
            });
            let new = words.collect::<Vec<_>>().join(" ");
            return Line::of(line, splice(line, &[(place, new)]));
        }
        for name in [
            "GRUB_TERMINAL",
            "GRUB_TERMINAL_INPUT",
            "GRUB_TERMINAL_OUTPUT",
        ] {
            let place = assigned(line, name).filter(|_| !serial);
            if let Some(place) = place.filter(|place| line[place.clone()].contains("serial")) {
                return Line::Is(splice(line, &[(place, "console".to_owned())]));
            }
        }
        Line::Keep
    })?;
    done.extend(changed.then(|| format!("/{GRUB}: the menu's own terminal")));
    Ok(())
}

#[cfg(test)]
mod tests;
