//! The names and hardware addresses of network cards within texts: which words
//! they are, and what takes their place.

use p2v_sys::pattern::matches;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// How much of a word a card's name may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// All of it.
    Whole,
    /// Or what stands before a VLAN's number or an alias: `eth0.5`, `eth0:1`.
    Derived,
}

/// A card's old and new name and address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub old_name: Option<String>,
    pub old_mac: Option<String>,
    pub name: String,
    pub mac: String,
}

/// All cards' changes.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub changes: Vec<Change>,
}

impl Names {
    /// What the machine says. An address that a card here has is that card's,
    /// whatever else had it: it stays.
    pub fn of(machine: &Machine) -> Self {
        let is_here = |mac: &String| {
            let mut cards = machine.nics.iter();
            cards.any(|card| normal_mac(&card.mac) == normal_mac(mac))
        };
        let change = |nic: &crate::machine::Nic| Change {
            old_name: nic.old_name.clone(),
            old_mac: nic.old_mac.clone().filter(|mac| !is_here(mac)),
            name: nic.name.clone(),
            mac: nic.mac.to_ascii_lowercase(),
        };
        Self {
            changes: machine.nics.iter().map(change).collect(),
        }
    }

    /// The text with every name and address of an old card replaced. Words are
    /// replaced at once, so that cards can swap names.
    pub fn replace(&self, text: &str, words: Words) -> String {
        let mut new = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(is_word) {
            new += &rest[..start];
            rest = &rest[start..];
            let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
            let whole = &rest[..end];
            let word = whole.trim_end_matches([':', '.', '-']);
            new += &self.word(word, words).unwrap_or_else(|| word.to_owned());
            new += &whole[word.len()..];
            rest = &rest[end..];
        }
        new + rest
    }

    /// What takes this word's place, if it is an old card's.
    pub fn word(&self, word: &str, words: Words) -> Option<String> {
        if let Some(mac) = normal_mac(word) {
            return self.by_old_mac(&mac).map(|change| change.mac.clone());
        }
        let (base, rest) = match words {
            Words::Whole => (word, ""),
            Words::Derived => split_derived(word),
        };
        let old = |change: &&Change| change.old_name.as_deref() == Some(base);
        let change = self.changes.iter().find(old)?;
        Some(format!("{}{rest}", change.name))
    }

    /// The card whose old address this is.
    pub fn by_old_mac(&self, mac: &str) -> Option<&Change> {
        let mac = normal_mac(mac)?;
        let is_old = |change: &&Change| {
            let old = change.old_mac.as_deref().and_then(normal_mac);
            old.as_ref() == Some(&mac)
        };
        self.changes.iter().find(is_old)
    }

    /// What takes the place of a pattern that matched an old card and does not
    /// match its new name.
    pub fn pattern(&self, pattern: &str) -> Option<&str> {
        let missed = |change: &&Change| {
            let old = change.old_name.as_deref();
            old.is_some_and(|old| matches(pattern, old)) && !matches(pattern, &change.name)
        };
        self.changes
            .iter()
            .find(missed)
            .map(|change| change.name.as_str())
    }

    /// Whether a card takes a name that another one gives up: then a text does
    /// not tell whether the names in it are the old or the new ones.
    pub fn are_exchanged(&self) -> bool {
        let given_up = |name: &str| {
            let gives = |change: &Change| change.old_name.as_deref() == Some(name);
            let stays = |change: &Change| change.name == name;
            let mut changes = self.changes.iter();
            changes.any(|change| gives(change) && !stays(change))
        };
        self.changes.iter().any(|change| given_up(&change.name))
    }

    /// Whether anything is to be replaced.
    pub fn is_empty(&self) -> bool {
        let moves = |change: &Change| {
            let name = change
                .old_name
                .as_ref()
                .is_some_and(|old| *old != change.name);
            let mac = change.old_mac.as_ref();
            name || mac.is_some_and(|old| !old.eq_ignore_ascii_case(&change.mac))
        };
        !self.changes.iter().any(moves)
    }
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':' | '@')
}

/// `eth0.5` and `eth0:1` are made of `eth0`; `eth0.bak` is not.
pub fn split_derived(word: &str) -> (&str, &str) {
    let Some(at) = word.find(['.', ':']) else {
        return (word, "");
    };
    let (base, rest) = word.split_at(at);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let vlan = rest
        .strip_prefix('.')
        .map(|rest| rest.split(':').next().unwrap_or(rest));
    if vlan.is_some_and(number) || rest.starts_with(':') {
        (base, rest)
    } else {
        (word, "")
    }
}

/// A hardware address as the kernel writes it; `None` for another word.
pub fn normal_mac(word: &str) -> Option<String> {
    let mac = word.replace('-', ":").to_ascii_lowercase();
    let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    (mac.split(':').count() == 6 && mac.split(':').all(pair)).then_some(mac)
}

/// Whether the word is what kernels and udev call cards of real hardware.
pub fn is_cards_name(word: &str) -> bool {
    let number_after = |prefix: &str| {
        let rest = word.strip_prefix(prefix);
        rest.is_some_and(|rest| {
            !rest.is_empty() && rest.len() < 13 && rest.starts_with(|l: char| l.is_ascii_digit())
        })
    };
    let port = word.strip_prefix('p').is_some_and(|rest| {
        let mut parts = rest.split('p');
        let number = |part: Option<&str>| {
            part.is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
        };
        number(parts.next()) && number(parts.next())
    });
    ["eth", "eno", "ens", "enp", "em", "enP", "enx", "lan"]
        .iter()
        .any(|prefix| number_after(prefix))
        || word.strip_prefix("enx").is_some_and(|mac| mac.len() == 12)
        || port
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let change = |old: &str, name: &str| Change {
            old_name: Some(old.to_owned()),
            old_mac: Some("00:11:22:33:44:55".to_owned()),
            name: name.to_owned(),
            mac: "aa:00:00:00:00:01".to_owned(),
        };
        Names {
            changes: vec![change("eth0", "eth1"), change("eth1", "eth0")],
        }
    }

    #[test]
    fn whole_words_alone() {
        let names = names();
        for (text, expected) in [
            ("eth0 eth1,eth10 veth0", "eth1 eth0,eth10 veth0"),
            (
                "eth0.5 eth0:1 eth0.bak x.eth0",
                "eth1.5 eth1:1 eth0.bak x.eth0",
            ),
            ("/conf/eth0/x eth0: [eth1]", "/conf/eth1/x eth1: [eth0]"),
            (
                "00:11:22:33:44:55: 00-11-22-33-44-55",
                "aa:00:00:00:00:01: aa:00:00:00:00:01",
            ),
            ("\u{e9}eth0\u{e9}", "\u{e9}eth1\u{e9}"),
        ] {
            assert_eq!(names.replace(text, Words::Derived), expected);
        }
        assert_eq!(names.replace("eth0 eth0.5", Words::Whole), "eth1 eth0.5");
    }

    #[test]
    fn cards_names() {
        for name in [
            "eth0",
            "eno1",
            "ens192",
            "enp0s25",
            "em1",
            "p2p1",
            "enx001122334455",
            "enP2p1s0",
        ] {
            assert!(is_cards_name(name), "{name}");
        }
        for name in [
            "lo", "br0", "bond0", "eth", "ethernet", "vlan5", "ppp0", "end", "p2p",
        ] {
            assert!(!is_cards_name(name), "{name}");
        }
    }

    #[test]
    fn patterns() {
        assert_eq!(names().pattern("eth0"), Some("eth1"));
        assert_eq!(names().pattern("eth*"), None);
        // Tried in every way, this one takes longer than a life.
        let stars = "*e".repeat(100_000);
        assert_eq!(names().pattern(&stars), None);
    }
}
