//! The list of what was found, for people and for programs.

use std::collections::BTreeSet;

use p2v_transfer::preflight::{Finding, Weight};
use serde::Serialize;

use crate::Role;

/// The version of [`Report`] as JSON.
pub const VERSION: u32 = 1;

/// A finding, and what was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// In which of its roles the machine was looked at.
    pub role: Role,
    /// What was looked at, in a word: `keys`.
    pub subject: &'static str,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// What was found on a machine.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// p2v's version.
    pub p2v: &'static str,
    /// The machine's name.
    pub hostname: String,
    /// In which roles it was looked at.
    pub roles: Vec<Role>,
    /// What the command's exit status is: see [`Report::status`].
    pub status: u8,
    /// What was found, a role after the other, in each the gravest first.
    pub findings: Vec<Entry>,
}

impl Report {
    pub(crate) fn new(roles: &[Role], mut findings: Vec<Entry>) -> Self {
        let place = |role: Role| roles.iter().position(|one| *one == role);
        findings.sort_by_key(|entry| (place(entry.role), std::cmp::Reverse(entry.finding.weight)));
        let mut known = BTreeSet::new();
        findings.retain(|entry| known.insert((entry.role.name(), entry.finding.to_string())));
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        let gravest = findings.iter().map(|entry| entry.finding.weight).max();
        Self {
            version: VERSION,
            p2v: env!("CARGO_PKG_VERSION"),
            hostname: hostname.to_string_lossy().into_owned(),
            roles: roles.to_vec(),
            status: match gravest {
                None | Some(Weight::Good) => 0,
                Some(Weight::Warning) => 1,
                Some(Weight::Error) => 2,
            },
            findings,
        }
    }

    /// As JSON, for people to read too.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("a report is plain data");
        text + "\n"
    }

    /// In lines: a heading a role, each finding with its remedy below it, and
    /// how many there are of each weight.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for role in &self.roles {
            text += &format!("{} as {}:\n", self.hostname, role.name());
            let of_role = self.findings.iter().filter(|entry| entry.role == *role);
            for Entry {
                subject, finding, ..
            } in of_role
            {
                let said = indented(&finding.text);
                text += &format!("  {:<8} {subject}: {said}\n", finding.weight);
                if let Some(remedy) = &finding.remedy {
                    text += &format!("{:11}-> {}\n", "", indented(remedy));
                }
            }
        }
        text + &self.summary()
    }

    fn summary(&self) -> String {
        let count = |weight| {
            let of_weight = |entry: &&Entry| entry.finding.weight == weight;
            self.findings.iter().filter(of_weight).count()
        };
        let (errors, warnings) = (count(Weight::Error), count(Weight::Warning));
        let plural = |count, one| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        format!(
            "{}, {}, {} ok\n",
            plural(errors, "error"),
            plural(warnings, "warning"),
            count(Weight::Good)
        )
    }
}

/// Further lines below the first one, and nothing that a terminal would obey.
fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let safe = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        line.chars().map(safe).collect::<String>()
    });
    lines.collect::<Vec<_>>().join("\n           ")
}
