//! What a machine lacks for its part in a move, found before anything is
//! touched: one list, each finding with what to do.
//!
//! A machine's part is its [`Role`]. What is looked at is a module a role:
//! [`node`], [`source`], [`target`]. The checks are those that the programs
//! make themselves when they run; here they are made all at once.
//!
//! Nothing is changed, and nothing is written, anywhere.

mod node;
mod report;
mod role;
mod source;
mod target;

use std::path::{Path, PathBuf};

use p2v_ganeti::settings::SettingsPaths;
use p2v_transfer::preflight::Finding;

pub use report::{Entry, Report, VERSION};
pub use role::Role;

/// Where the things are that are looked at.
#[derive(Debug, Clone)]
pub struct Place {
    /// The OS definition, its configuration, cache and state.
    pub paths: SettingsPaths,
    /// The node's own kernels, and ramboot initrds for them.
    pub boot: PathBuf,
}

/// What was looked at, in a word, and what was found there.
type Checked = Vec<(&'static str, Vec<Finding>)>;

/// Looks at this machine in each of the roles. As root: as anybody else, much
/// cannot be seen, which is then a finding.
pub fn examine(roles: &[Role], place: &Place) -> Report {
    let mut entries = Vec::new();
    for role in roles {
        let mut checked: Checked = vec![("user", user())];
        checked.extend(match role {
            Role::Node => node::check(place),
            Role::Source => source::check(),
            Role::Target => target::check(),
        });
        let of_role = checked.into_iter().flat_map(|(subject, findings)| {
            let entry = |finding| Entry {
                role: *role,
                subject,
                finding,
            };
            findings.into_iter().map(entry)
        });
        entries.extend(of_role);
    }
    Report::new(roles, entries)
}

fn user() -> Vec<Finding> {
    if nix::unistd::geteuid().is_root() {
        return Vec::new();
    }
    vec![Finding::warning("not run by root: much cannot be looked at").remedy("run it as root")]
}

/// What could not be looked at, or is refused by its own check. The error's
/// text often says what to do; `remedy` is what holds for all of its kind.
fn failed(error: &anyhow::Error, remedy: &str) -> Finding {
    Finding::error(format!("{error:#}")).remedy(remedy)
}

fn install(package: &str) -> String {
    format!("apt-get install {package}")
}

/// The path as a shell takes it for one word.
fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    match text.chars().all(plain) && !text.is_empty() {
        true => text.into_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}
