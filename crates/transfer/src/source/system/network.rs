//! What configures the network, and which cards it knows.

use std::path::Path;

use p2v_fixes::lines::shell_value;

use super::Files;
use crate::source::Nic;
use crate::source::running::names_in;

/// Where network-scripts are, Red Hat's and SUSE's.
const IFCFG: [&str; 2] = ["etc/sysconfig/network-scripts", "etc/sysconfig/network"];
const CONNECTIONS: &str = "etc/NetworkManager/system-connections";
const RULES: &str = "etc/udev/rules.d/70-persistent-net.rules";

/// What configures it.
pub fn systems(files: &mut Files) -> Vec<String> {
    let interfaces = !interfaces(files).is_empty();
    let netplan = !files.paths("etc/netplan", ".yaml").is_empty();
    let networkd = !files.paths("etc/systemd/network", ".network").is_empty();
    let manager = !files.paths(CONNECTIONS, "").is_empty()
        || files.has("etc/systemd/system/multi-user.target.wants/NetworkManager.service");
    let ifcfg = !ifcfg_files(files).is_empty();
    let all = [
        ("ifupdown", interfaces),
        ("netplan", netplan),
        ("networkd", networkd),
        ("networkmanager", manager),
        ("ifcfg", ifcfg),
    ];
    let used = all.into_iter().filter(|(_, used)| *used);
    used.map(|(name, _)| name.to_owned()).collect()
}

/// The cards, in the order in which the configuration names them.
pub fn nics(files: &mut Files) -> Vec<Nic> {
    let mut nics = Vec::new();
    for nic in interfaces(files) {
        add(&mut nics, nic);
    }
    for path in ifcfg_files(files) {
        let text = files.text(&path).unwrap_or_default();
        ifcfg(&path, &text)
            .into_iter()
            .for_each(|nic| add(&mut nics, nic));
    }
    for path in files.paths("etc/netplan", ".yaml") {
        let text = files.text(&path).unwrap_or_default();
        netplan(&text)
            .into_iter()
            .for_each(|nic| add(&mut nics, nic));
    }
    for (directory, end) in [("etc/systemd/network", ".network"), (CONNECTIONS, "")] {
        for path in files.paths(directory, end) {
            let text = files.text(&path).unwrap_or_default();
            keyfile(&text)
                .into_iter()
                .for_each(|nic| add(&mut nics, nic));
        }
    }
    for path in files.paths("etc/systemd/network", ".link") {
        let text = files.text(&path).unwrap_or_default();
        link(&text)
            .into_iter()
            .for_each(|nic| complete(&mut nics, nic));
    }
    let rules = files.text(RULES).unwrap_or_default();
    for nic in rules.lines().filter_map(rule) {
        complete(&mut nics, nic);
    }
    nics.retain(|nic| !nic.name.is_empty() || nic.mac.is_some());
    nics
}

/// The cards of the machine that this runs on.
pub fn here() -> Vec<Nic> {
    let directory = Path::new("/sys/class/net");
    let is_card = |name: &String| directory.join(name).join("device").exists();
    let mac = |name: &str| {
        let text = std::fs::read_to_string(directory.join(name).join("address")).ok()?;
        hardware_address(text.trim())
    };
    let cards = names_in(directory).into_iter().filter(is_card);
    cards
        .map(|name| Nic {
            mac: mac(&name),
            name,
        })
        .collect()
}

/// Adds a card, or what is not known yet of one that is there.
fn add(nics: &mut Vec<Nic>, nic: Nic) {
    if nic.name.is_empty() && nic.mac.is_none() {
        return;
    }
    let same = |known: &&mut Nic| {
        let mac = nic.mac.is_some() && known.mac == nic.mac;
        let name = !nic.name.is_empty() && known.name == nic.name;
        mac || name
    };
    match nics.iter_mut().find(same) {
        Some(known) => {
            if known.name.is_empty() {
                known.name = nic.name;
            }
            known.mac = known.mac.take().or(nic.mac);
        }
        None => nics.push(nic),
    }
}

/// What udev says of a card counts only with a name.
fn complete(nics: &mut Vec<Nic>, nic: Nic) {
    if !nic.name.is_empty() && nic.mac.is_some() {
        add(nics, nic);
    }
}

fn hardware_address(text: &str) -> Option<String> {
    let text = text.trim().trim_matches(['"', '\'']);
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let hex = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let sound = parts.len() == 6 && parts.iter().all(hex);
    let text = text.to_ascii_lowercase().replace('-', ":");
    (sound && text != "00:00:00:00:00:00").then_some(text)
}

/// Whether it may be a card's: no pattern, no alias, no VLAN, nothing made.
fn is_card(name: &str) -> bool {
    const MADE: [&str; 12] = [
        "lo", "br", "bond", "tun", "tap", "dummy", "virbr", "docker", "veth", "vlan", "wg", "team",
    ];
    let made = |kind: &&str| {
        let rest = name.strip_prefix(*kind);
        rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let odd = |letter: char| {
        letter.is_ascii_whitespace() || letter.is_control() || "*?[]:.!/@%".contains(letter)
    };
    !name.is_empty() && name.len() < 16 && !name.contains(odd) && !MADE.iter().any(made)
}

fn card(name: &str, mac: Option<String>) -> Nic {
    Nic {
        name: match is_card(name) {
            true => name.to_owned(),
            false => String::new(),
        },
        mac,
    }
}

/// ifupdown's: what `iface` names, and the ports of its bridges and bonds.
fn interfaces(files: &mut Files) -> Vec<Nic> {
    let mut texts = vec![files.text("etc/network/interfaces").unwrap_or_default()];
    for path in files.paths("etc/network/interfaces.d", "") {
        texts.extend(files.text(&path));
    }
    let mut nics = Vec::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        let mut words = line.split_ascii_whitespace();
        let key = words.next().unwrap_or_default().replace('_', "-");
        match key.as_str() {
            "iface" => add(&mut nics, card(words.next().unwrap_or_default(), None)),
            "bridge-ports" | "bond-slaves" | "slaves" | "vlan-raw-device" => words
                .filter(|word| !["none", "all", "regex", "noregex"].contains(word))
                .for_each(|word| add(&mut nics, card(word, None))),
            _ => {}
        }
    }
    nics
}

fn ifcfg_files(files: &mut Files) -> Vec<String> {
    let mut all = Vec::new();
    for directory in IFCFG {
        let paths = files.paths(directory, "").into_iter();
        let start = format!("{directory}/ifcfg-");
        all.extend(paths.filter(|path| {
            let name = path.strip_prefix(&start);
            name.is_some_and(|name| name != "lo" && !name.contains('.') && !name.ends_with('~'))
        }));
    }
    all
}

fn ifcfg(path: &str, text: &str) -> Option<Nic> {
    let value = |name: &str| shell_value(text, name).filter(|value| !value.is_empty());
    let kind = value("TYPE").unwrap_or_else(|| "Ethernet".to_owned());
    if !kind.eq_ignore_ascii_case("ethernet") {
        return None;
    }
    let name = value("DEVICE").or_else(|| Some(path.rsplit_once("ifcfg-")?.1.to_owned()))?;
    let mac = value("HWADDR").and_then(|mac| hardware_address(&mac));
    Some(card(&name, mac))
}

/// netplan's: what stands one step below `ethernets:`. Only blocks, the form
/// that all installers write; flow style in braces is not looked into.
fn netplan(text: &str) -> Vec<Nic> {
    let mut nics: Vec<Nic> = Vec::new();
    let mut section: Option<(usize, Option<usize>)> = None;
    for line in text.lines() {
        let code = line.split(" #").next().unwrap_or(line).trim_end();
        let word = code.trim_start();
        if word.is_empty() || word.starts_with('#') {
            continue;
        }
        let depth = code.len() - word.len();
        let Some((key, value)) = word.split_once(':') else {
            continue;
        };
        let (key, value) = (key.trim_matches(['"', '\'']), value.trim());
        match section {
            _ if key == "ethernets" => section = Some((depth, None)),
            Some((outer, _)) if depth <= outer => section = None,
            Some((outer, inner)) if inner.is_none_or(|inner| inner == depth) => {
                section = Some((outer, Some(depth)));
                nics.push(card(key, None));
            }
            Some(_) => {
                let value = value.trim_matches(['"', '\'']);
                let Some(nic) = nics.last_mut() else {
                    continue;
                };
                match key {
                    "macaddress" => nic.mac = nic.mac.take().or(hardware_address(value)),
                    // Then the block's own name is nobody's.
                    "match" => nic.name.clear(),
                    "set-name" => nic.name = card(value, None).name,
                    "name" if is_card(value) => nic.name = value.to_owned(),
                    _ => {}
                }
            }
            None => {}
        }
    }
    nics
}

/// The value of a key in a section of a file in the form of INI.
fn ini<'a>(text: &'a str, section: &str, keys: &[&str]) -> Option<&'a str> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            inside = name.trim_end_matches(']').eq_ignore_ascii_case(section);
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
            if keys.contains(&key.trim()) && !value.trim().is_empty() {
                return Some(value.trim());
            }
        }
    }
    None
}

/// networkd's `.network` and NetworkManager's keyfiles.
fn keyfile(text: &str) -> Option<Nic> {
    let kind = ini(text, "connection", &["type"]).unwrap_or("ethernet");
    if !["ethernet", "802-3-ethernet"].contains(&kind) {
        return None;
    }
    let of_match = ini(text, "Match", &["Name"]);
    let of_connection = ini(text, "connection", &["interface-name"]);
    let mac = ini(text, "Match", &["MACAddress", "PermanentMACAddress"])
        .or_else(|| ini(text, "ethernet", &["mac-address"]))
        .or_else(|| ini(text, "802-3-ethernet", &["mac-address"]));
    let name = of_match.or(of_connection).unwrap_or_default();
    Some(card(name, mac.and_then(hardware_address)))
}

fn link(text: &str) -> Option<Nic> {
    let mac = ini(text, "Match", &["MACAddress", "PermanentMACAddress"])?;
    let name = ini(text, "Link", &["Name"])?;
    Some(card(name, hardware_address(mac)))
}

/// A line that an old udev wrote.
fn rule(line: &str) -> Option<Nic> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let value = |key: &str| line.split_once(key)?.1.split('"').next();
    let mac = value("ATTR{address}==\"").or_else(|| value("SYSFS{address}==\""))?;
    Some(card(value("NAME=\"")?, hardware_address(mac)))
}

#[cfg(test)]
mod tests;
