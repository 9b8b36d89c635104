//! Network configuration: the cards' new names and hardware addresses, in
//! whatever the system configures its network with. Addresses stay.
//!
//! Where the machine does not say what its cards were called, one card and one
//! name in the configuration belong together; more are left to somebody who
//! knows.

mod ifcfg;
mod ifupdown;
mod keyfile;
mod names;
mod netplan;
mod record;

use std::collections::BTreeSet;

use anyhow::Result;

use crate::cmdline::CommandLines;
use crate::machine::Machine;
use crate::{Draft, Verdict};
pub use names::{Names, Words, normal_mac};
use names::{is_cards_name, split_derived};

/// Files in which a card's name may stand, in a language of their own.
const MENTIONS: [&str; 16] = [
    "etc/iptables/rules.v4",
    "etc/iptables/rules.v6",
    "etc/sysconfig/iptables",
    "etc/nftables.conf",
    "etc/shorewall/interfaces",
    "etc/ufw/user.rules",
    "etc/firewalld/zones/public.xml",
    "etc/default/isc-dhcp-server",
    "etc/sysconfig/dhcpd",
    "etc/dnsmasq.conf",
    "etc/keepalived/keepalived.conf",
    "etc/sysctl.conf",
    "etc/rc.local",
    "etc/dhcpcd.conf",
    "etc/ntp.conf",
    "etc/network/if-up.d/local",
];

/// Directories of such files.
const MENTION_DIRECTORIES: [&str; 3] = ["etc/sysctl.d", "etc/netctl", "etc/dnsmasq.d"];

/// Words of the kernel's command line that configure a card.
const CMDLINE: [&str; 5] = ["ip", "vlan", "bond", "bridge", "bootdev"];

/// Renames the cards.
pub fn run(machine: &Machine, draft: &mut Draft) -> Result<Verdict> {
    if machine.nics.is_empty() {
        return Ok(Verdict::not_needed("the machine has no network card"));
    }
    let files = configuration(draft)?;
    let names = known_or_guessed(machine, draft, &files)?;
    let mut done = Vec::new();
    if !names.is_empty() {
        if !record::says_renamed(draft, &names)? {
            done = described(&names, renamed(draft, &names)?);
        }
        warn_mentions(draft, &names)?;
    }
    let absent = absent(machine, draft)?;
    let demoted = ifupdown::demote(draft, &absent)?;
    let demoted = demoted.into_iter().chain(ifcfg::demote(draft, &absent)?);
    done.extend(demoted.map(|path| format!("/{path}: {} not waited for", absent.join(", "))));
    pin(machine, draft, &mut done)?;
    Ok(Verdict::of(
        done,
        "the configuration names the cards that are there",
    ))
}

/// Renames in all files; returns those that changed.
fn renamed(draft: &mut Draft, names: &Names) -> Result<Vec<String>> {
    let before = draft.mark();
    let mut changed = ifupdown::edit(draft, names)?;
    changed.extend(netplan::edit(draft, names)?);
    changed.extend(keyfile::edit_networkd(draft, names)?);
    changed.extend(keyfile::edit_network_manager(draft, names)?);
    changed.extend(ifcfg::edit(draft, names)?);
    changed.extend(edit_cmdline(draft, names)?);
    if !changed.is_empty() {
        record::keep(draft, names, &before)?;
    }
    Ok(changed)
}

/// Every file that configures the network.
fn configuration(draft: &Draft) -> Result<Vec<String>> {
    let mut files = ifupdown::files(draft)?;
    files.extend(netplan::files(draft)?);
    files.extend(keyfile::files(draft)?);
    files.extend(ifcfg::files(draft)?);
    Ok(files)
}

/// Cards that are configured and that the instance has not: the boot must not
/// fail for them. Nothing is known of that as long as no card of the machine is
/// in the configuration.
fn absent(machine: &Machine, draft: &Draft) -> Result<Vec<String>> {
    let mut files = ifupdown::files(draft)?;
    files.extend(ifcfg::files(draft)?);
    let is_here = |name: &String| machine.nics.iter().any(|nic| nic.name == *name);
    let (found, _) = words_in(draft, &files)?;
    let (here, absent): (Vec<_>, Vec<_>) = found.into_iter().partition(is_here);
    Ok(if here.is_empty() { Vec::new() } else { absent })
}

fn described(names: &Names, changed: Vec<String>) -> Vec<String> {
    if changed.is_empty() {
        return Vec::new();
    }
    let of = |change: &names::Change| {
        let old = change.old_name.as_deref().or(change.old_mac.as_deref());
        Some(format!("{} is now {} ({})", old?, change.name, change.mac))
    };
    let mut lines: Vec<String> = names.changes.iter().filter_map(of).collect();
    lines.extend(changed.into_iter().map(|path| format!("/{path}")));
    lines
}

/// What the machine says, or what one card and one name leave no doubt about.
fn known_or_guessed(machine: &Machine, draft: &mut Draft, files: &[String]) -> Result<Names> {
    let mut names = Names::of(machine);
    let (found, macs) = words_in(draft, files)?;
    let [change] = names.changes.as_mut_slice() else {
        let unknown = names.changes.iter().all(|change| change.old_name.is_none());
        let missing = found
            .iter()
            .any(|name| !names.changes.iter().any(|change| change.name == *name));
        if unknown && missing {
            draft.warn(
                "it is not known which of the cards is which: put their names into the \
                 machine's file (old_name, old_mac), or into the configuration",
            );
        }
        return Ok(names);
    };
    if let (None, [name]) = (&change.old_name, found.as_slice()) {
        change.old_name = Some(name.clone());
    }
    if let (None, [mac]) = (&change.old_mac, macs.as_slice()) {
        change.old_mac = Some(mac.clone());
    }
    Ok(names)
}

/// The cards' names and hardware addresses in these files.
fn words_in(draft: &Draft, files: &[String]) -> Result<(Vec<String>, Vec<String>)> {
    let (mut names, mut macs) = (BTreeSet::new(), BTreeSet::new());
    for path in files {
        let text = draft.text(path)?.unwrap_or_default();
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with(['#', ';']));
        // SUSE's files say it in their names alone.
        let file = path.rsplit('/').next().unwrap_or(path);
        let lines = lines.chain(file.strip_prefix("ifcfg-"));
        for word in lines.flat_map(|line| line.split(|l: char| !is_part(l))) {
            let word = word.trim_matches(['.', ':', '-']);
            let (base, _) = split_derived(word);
            if let Some(mac) = normal_mac(word) {
                macs.insert(mac);
            } else if is_cards_name(base) {
                names.insert(base.to_owned());
            }
        }
    }
    Ok((names.into_iter().collect(), macs.into_iter().collect()))
}

fn is_part(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':')
}

fn edit_cmdline(draft: &mut Draft, names: &Names) -> Result<Vec<String>> {
    CommandLines::find(draft)?.edit(draft, |_, words| {
        for word in words.iter_mut() {
            let key = word.split('=').next().unwrap_or_default();
            if CMDLINE.contains(&key) {
                // ip= joins its fields with colons.
                let fields = word.split_inclusive([':', '=', ',']).map(|field| {
                    let name = field.trim_end_matches([':', '=', ',']);
                    let new = names.word(name, Words::Derived);
                    new.unwrap_or_else(|| name.to_owned()) + &field[name.len()..]
                });
                *word = fields.collect();
            }
        }
        // dracut would give an old card's name to an address that is gone.
        words.retain(|word| {
            let card = word.strip_prefix("ifname=");
            let mac = card
                .and_then(|card| card.split_once(':'))
                .map(|(_, mac)| mac);
            mac.is_none_or(|mac| names.by_old_mac(mac).is_none())
        });
    })
}

fn warn_mentions(draft: &mut Draft, names: &Names) -> Result<()> {
    let mut files: Vec<String> = MENTIONS.iter().map(|path| (*path).to_owned()).collect();
    for directory in MENTION_DIRECTORIES {
        files.extend(draft.list_paths(directory, "")?);
    }
    for path in files {
        // A directory in such a place, or a device, is none of ours.
        let Ok(Some(text)) = draft.text(&path) else {
            continue;
        };
        let code = |line: &&str| !line.trim_start().starts_with('#');
        if text.lines().filter(code).any(|line| mentions(line, names)) {
            draft.warn(format!(
                "/{path} names an old card: look whether it must change"
            ));
        }
    }
    Ok(())
}

/// Also as a part of a word: `net.ipv4.conf.eth0.rp_filter`.
fn mentions(line: &str, names: &Names) -> bool {
    let mut words = line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.any(|word| {
        let is = |change: &names::Change| {
            let old = change.old_name.as_deref();
            old == Some(word) && old != Some(change.name.as_str())
        };
        names.changes.iter().any(is)
    })
}

/// Makes sure that a card gets the name that the configuration now has: which
/// one udev would choose depends on its version. Not for `eth0` and the like,
/// which are the kernel's to give, nor where udev knows no such files.
fn pin(machine: &Machine, draft: &mut Draft, done: &mut Vec<String>) -> Result<()> {
    let defaults = ["lib", "usr/lib"].map(|lib| format!("{lib}/systemd/network/99-default.link"));
    if !defaults.iter().any(|path| draft.exists(path)) {
        return Ok(());
    }
    for nic in &machine.nics {
        let mac = nic.mac.to_ascii_lowercase();
        if nic.name.starts_with("eth") || nic.name.is_empty() || is_pinned(draft, &mac)? {
            continue;
        }
        let path = format!("etc/systemd/network/10-p2v-{}.link", nic.name);
        // A bridge has its card's address, but another type.
        let text = format!(
            "[Match]\nMACAddress={mac}\nType=ether\n\n[Link]\nName={}\n",
            nic.name
        );
        if draft.text(&path)?.as_deref() != Some(text.as_str()) {
            draft.write(&path, text)?;
            done.push(format!("/{path}: the card {mac} is called {}", nic.name));
        }
    }
    Ok(())
}

fn is_pinned(draft: &Draft, mac: &str) -> Result<bool> {
    for path in draft.list_paths("etc/systemd/network", ".link")? {
        let text = draft.text(&path)?.unwrap_or_default();
        let ours = path.contains("/10-p2v-");
        let has = |line: &str| {
            line.split(['=', ' '])
                .any(|word| normal_mac(word).as_deref() == Some(mac))
        };
        if !ours && text.lines().any(has) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
