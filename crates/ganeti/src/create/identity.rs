//! What makes the root this instance's own: its names, its resolver, its
//! machine id, and who may log in.

use anyhow::{Context, Result};
use p2v_sys::Root;

/// Keys only, in sshd's own drop-in directory, before Debian's defaults.
const SSHD_DROP_IN: &str = "/etc/ssh/sshd_config.d/10-p2v-target.conf";
const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";
const SSHD_SETTINGS: &str = "\
# Written by p2v-target: the target is reached with a key or not at all.
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no
PermitRootLogin prohibit-password
";

/// systemd-resolved's list of the real servers; /etc/resolv.conf names only
/// its own stub then.
const RESOLVED_SERVERS: &str = "/run/systemd/resolve/resolv.conf";

/// Writes the instance's identity into the root. `instance` is its full name,
/// `filesystem` the type and `uuid` the UUID of its root filesystem.
pub fn write(root: &Root, instance: &str, filesystem: &str, uuid: &str) -> Result<()> {
    root.write("/etc/hostname", format!("{instance}\n"), 0o644)?;
    root.write("/etc/mailname", format!("{instance}\n"), 0o644)?;
    root.write("/etc/hosts", hosts(instance), 0o644)?;
    root.write("/etc/fstab", fstab(filesystem, uuid), 0o644)?;
    root.write("/etc/machine-id", machine_id()?, 0o444)?;
    root.write("/etc/resolv.conf", resolv_conf()?, 0o644)
}

/// Writes who may log in by SSH, as root and with a key only.
pub fn authorize(root: &Root, authorized_keys: &str) -> Result<()> {
    root.create_dir("/root/.ssh", 0o700)?;
    root.write("/root/.ssh/authorized_keys", authorized_keys, 0o600)?;
    root.write(SSHD_DROP_IN, SSHD_SETTINGS, 0o644)?;
    // Before OpenSSH 8.2 there was no Include, and the first value of a
    // setting counts: then the settings go to the top of the file itself.
    let config = root.read_text(SSHD_CONFIG)?.unwrap_or_default();
    let includes = |line: &str| {
        line.split_whitespace()
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("include"))
    };
    if !config.lines().any(includes) && !config.starts_with(SSHD_SETTINGS) {
        root.write(SSHD_CONFIG, format!("{SSHD_SETTINGS}\n{config}"), 0o644)?;
    }
    Ok(())
}

fn hosts(instance: &str) -> String {
    let short = instance.split('.').next().unwrap_or(instance);
    let names = if short == instance {
        instance.to_owned()
    } else {
        format!("{instance} {short}")
    };
    format!(
        "127.0.0.1\tlocalhost\n\
         127.0.1.1\t{names}\n\
         \n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n"
    )
}

/// As long as no hook says otherwise, the disk is the root.
fn fstab(filesystem: &str, uuid: &str) -> String {
    format!(
        "# <file system> <mount point> <type> <options> <dump> <pass>\n\
         UUID={uuid} / {filesystem} defaults 0 1\n"
    )
}

/// A new machine id. One made at create stays the same from boot to boot,
/// although nothing that the RAM system writes survives.
fn machine_id() -> Result<String> {
    let uuid = p2v_sys::filesystem::new_uuid().context("making the machine id")?;
    Ok(format!("{}\n", uuid.replace('-', "")))
}

/// The node's resolvers, except those that only the node itself can reach.
fn resolv_conf() -> Result<String> {
    let path = [RESOLVED_SERVERS, "/etc/resolv.conf"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists());
    let Some(path) = path else {
        return Ok(String::new());
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    Ok(reachable_resolvers(&text))
}

fn reachable_resolvers(text: &str) -> String {
    let local = |line: &&str| {
        let mut words = line.split_whitespace();
        words.next() == Some("nameserver")
            && words.next().is_some_and(|address| {
                address.starts_with("127.") || address == "::1" || address == "localhost"
            })
    };
    text.lines()
        .filter(|line| !local(line) && !line.trim_start().starts_with(['#', ';']))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_stands_once_in_hosts() {
        assert!(hosts("web").contains("127.0.1.1\tweb\n"));
        assert!(hosts("web.example.org").contains("127.0.1.1\tweb.example.org web\n"));
    }

    #[test]
    fn the_nodes_own_stub_resolver_is_left_out() {
        let text = "# stub\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch example.org\n";
        let expected = "nameserver 192.0.2.1\nsearch example.org\n";
        assert_eq!(reachable_resolvers(text), expected);
    }

    #[test]
    fn machine_ids_are_32_hex_digits_and_differ() {
        let (one, two) = (machine_id().unwrap(), machine_id().unwrap());
        assert_eq!(one.trim().len(), 32);
        assert!(one.trim().bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(one, two);
    }

    #[test]
    fn old_sshd_without_include_gets_the_settings_at_the_top_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.write(SSHD_CONFIG, "Port 22\nPasswordAuthentication yes\n", 0o644)
            .unwrap();
        for _ in 0..2 {
            authorize(&root, "ssh-ed25519 AAAA\n").unwrap();
        }
        let config = root.read_text(SSHD_CONFIG).unwrap().unwrap();
        assert!(config.starts_with(SSHD_SETTINGS));
        assert_eq!(config.matches("PasswordAuthentication no").count(), 1);
    }
}
