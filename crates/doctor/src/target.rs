//! The instance that the machine moves into, booted into RAM.

use std::path::Path;

use p2v_ganeti::authorized_keys;
use p2v_ramboot::ready;
use p2v_transfer::agent::{self, FILESYSTEMS};
use p2v_transfer::preflight::{self, Finding};

use crate::{Checked, failed, source};

/// Where create puts the keys.
const KEYS: &str = "/root/.ssh/authorized_keys";

/// Looks at memory, disks, network, SSH server, keys and the kernel.
pub fn check() -> Checked {
    let (machine, ram_booted) = machine();
    vec![
        ("machine", machine),
        ("disks", if ram_booted { disks() } else { Vec::new() }),
        ("network", vec![source::network(), server()]),
        ("host keys", vec![host_keys()]),
        ("keys", vec![keys()]),
        ("kernel", kernel()),
    ]
}

/// What its agent answers to a transfer; and whether it runs in RAM.
fn machine() -> (Vec<Finding>, bool) {
    match agent::look(&agent::Place::this_machine()) {
        Ok(target) => (preflight::of_target(&target), target.ram_booted),
        Err(error) => (vec![failed(&error, "restart the instance")], false),
    }
}

/// The kernel is asked: swap, holders, programs that have a disk open.
fn disks() -> Vec<Finding> {
    let found = ready::check_free();
    let remedy = "end what uses it (swapoff, umount), or restart the instance";
    found
        .err()
        .map(|error| failed(&error, remedy))
        .into_iter()
        .collect()
}

fn server() -> Finding {
    let ports = ready::ssh_ports();
    let named: Vec<_> = ports.iter().map(u16::to_string).collect();
    let named = named.join(" or ");
    match ready::listens(&ports) {
        Ok(true) => Finding::good(format!("an SSH server answers on port {named}")),
        Ok(false) => Finding::error(format!("no SSH server listens on port {named}"))
            .remedy("systemctl restart ssh; journalctl -u ssh says why it ended"),
        Err(error) => failed(&error, "look at it with `ss -ltn`"),
    }
}

fn host_keys() -> Finding {
    match ready::fingerprints(Path::new("/etc/ssh")) {
        Ok(keys) if keys.is_empty() => Finding::error("the SSH server has no host key")
            .remedy("ssh-keygen -A; then systemctl restart ssh"),
        Ok(keys) => Finding::good(format!("host keys: {}", keys.join(", "))),
        Err(error) => failed(&error, "ssh-keygen -A makes the missing ones"),
    }
}

fn keys() -> Finding {
    match authorized_keys::in_file(Path::new(KEYS)) {
        Ok(Some(keys)) if !keys.is_empty() => {
            let plural = if keys.len() == 1 { "" } else { "s" };
            Finding::good(format!("{} key{plural} may log in as root", keys.len()))
        }
        Ok(_) => Finding::error(format!("there is no key in {KEYS}: nobody can log in")).remedy(
            "put a public key there, or on the node into authorized_keys, and reinstall the \
             instance",
        ),
        Err(error) => failed(&error, "mend or remove the line that it names"),
    }
}

fn kernel() -> Vec<Finding> {
    match agent::mountable() {
        Ok(known) => {
            let lacks = |kind: &&&str| !known.iter().any(|one| one == *kind);
            let lacking: Vec<_> = FILESYSTEMS.iter().filter(lacks).copied().collect();
            if lacking.is_empty() {
                let all = FILESYSTEMS.join(", ");
                return vec![Finding::good(format!("the kernel can mount {all}"))];
            }
            let text = format!("the kernel cannot mount {}", lacking.join(", "));
            let remedy = "for a machine that has one, make the instance with another kernel \
                          (EXTRA_PKGS)";
            vec![Finding::warning(text).remedy(remedy)]
        }
        Err(error) => vec![failed(&error, "restart the instance")],
    }
}
