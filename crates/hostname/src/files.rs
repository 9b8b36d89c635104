//! The files of a root that hold the machine's name: what must change in them,
//! and the change.

use anyhow::{Context, Result, anyhow};
use p2v_sys::Root;

use crate::{Form, HostName, HostnamePolicy, Names, given_name, is_nobodys};

/// The files that give the machine its name, in the order in which they count:
/// today's, SUSE's, Red Hat's and Gentoo's old ones.
const SOURCES: &[(&str, Form)] = &[
    ("/etc/hostname", Form::Name),
    ("/etc/HOSTNAME", Form::Name),
    ("/etc/sysconfig/network", Form::Assignment("HOSTNAME")),
    ("/etc/conf.d/hostname", Form::Assignment("hostname")),
];

/// The files that hold it too.
const FOLLOWERS: &[(&str, Form)] = &[("/etc/mailname", Form::Name), ("/etc/hosts", Form::Hosts)];

/// The file that gets a name where none has one.
const HOSTNAME: &str = "/etc/hostname";

/// Gives a file's bytes; `None` where there is no such file.
pub type Read<'a> = &'a dyn Fn(&str) -> Result<Option<Vec<u8>>>;

/// What is to be done to a root.
#[derive(Debug, Default)]
pub struct Changes {
    /// The name that the machine has in its files, if it has one.
    pub machine: Option<String>,
    /// The machine has a name of its own, and keeps it.
    pub own_name: bool,
    /// The files' new contents.
    files: Vec<(&'static str, Vec<u8>)>,
    /// What could not be looked into.
    faults: Vec<anyhow::Error>,
}

impl Changes {
    /// Looks what must change in `root`. Writes nothing.
    pub fn find(root: &Root, names: &Names, policy: HostnamePolicy) -> Result<Self> {
        Self::find_in(&|path| root.read(path), names, policy)
    }

    /// The same for files that `read` gives.
    pub fn find_in(read: Read, names: &Names, policy: HostnamePolicy) -> Result<Self> {
        let machine = machine_name(read)?;
        let mut names = names.clone();
        let mut changes = Self {
            own_name: machine
                .as_ref()
                .is_some_and(|name| keeps(name, &names, policy)),
            machine,
            ..Self::default()
        };
        if changes.own_name {
            return Ok(changes);
        }
        if let Some(machine) = &changes.machine {
            names.take_from(machine);
        }
        for (path, form) in SOURCES.iter().chain(FOLLOWERS) {
            match read(path) {
                Ok(text) => {
                    let text = text.and_then(|text| names.change(*form, &text));
                    changes.files.extend(text.map(|text| (*path, text)));
                }
                Err(error) => changes.faults.push(error),
            }
        }
        if changes.machine.is_none() && policy == HostnamePolicy::Instance {
            let name = format!("{}\n", names.new_full());
            changes.files.push((HOSTNAME, name.into_bytes()));
        }
        Ok(changes)
    }

    /// The files' new contents.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.files
            .iter()
            .map(|(path, text)| (*path, text.as_slice()))
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Writes the files, each of them whatever becomes of the others, and
    /// returns which.
    pub fn make(&mut self, root: &Root) -> Vec<&'static str> {
        let mut written = Vec::new();
        for (path, text) in &self.files {
            match write(root, path, text) {
                Ok(()) => written.push(*path),
                Err(error) => self.faults.push(error),
            }
        }
        written
    }

    /// Whether a file could not be looked into or written.
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Fails if a file could not be looked into or written.
    pub fn finish(self) -> Result<()> {
        let mut faults = self.faults.iter().map(|fault| format!("{fault:#}"));
        match faults.next() {
            None => Ok(()),
            Some(first) => Err(anyhow!(
                "{}",
                faults.fold(first, |all, one| all + "; " + &one)
            )),
        }
    }
}

/// Whether the machine's name is its own to keep. What is no host's name, a
/// link's target perhaps, is not for us to change in any case.
fn keeps(name: &str, names: &Names, policy: HostnamePolicy) -> bool {
    let is_name = name.parse::<HostName>().is_ok();
    !names.follows(name) && (policy == HostnamePolicy::Keep || !is_name)
}

fn write(root: &Root, path: &str, text: &[u8]) -> Result<()> {
    if !root.exists(path) {
        return root.write(path, text, 0o644);
    }
    root.rewrite(path, text)
        .map_err(|error| match error.downcast_ref::<nix::errno::Errno>() {
            Some(nix::errno::Errno::EPERM) => {
                error.context("is it immutable? see `lsattr` and `chattr -i` in the instance")
            }
            _ => error,
        })
}

/// The name that the machine gives itself; none where it takes what its
/// network says. A file that is no file may hide one: then it is unknown,
/// which is an error.
fn machine_name(read: Read) -> Result<Option<String>> {
    for (path, form) in SOURCES {
        let text = read(path).context("looking for the machine's own name")?;
        let Some(name) = text.as_deref().and_then(|text| given_name(*form, text)) else {
            continue;
        };
        let name = String::from_utf8_lossy(name).into_owned();
        if !is_nobodys(&name) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
