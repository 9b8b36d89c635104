//! What makes the root this instance's own: its names, its resolver, its
//! machine id, and who may log in.

use std::path::Path;

use anyhow::{Context, Result, bail};
use p2v_sys::Root;

/// In sshd's own drop-in directory, before Debian's defaults.
const SSHD_DROP_IN: &str = "/etc/ssh/sshd_config.d/10-p2v-target.conf";
const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";
const SSHD_SETTINGS: &str = "\
# Written by p2v-target: the target is reached with a key or not at all.
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no
PermitRootLogin prohibit-password
# A client whose machine or network died is missed after two minutes. A transfer
# that it held does not keep the target from the next one then.
ClientAliveInterval 15
ClientAliveCountMax 8
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

/// Where time zones are, in a root and on the node.
const ZONES: &str = "/usr/share/zoneinfo";

/// Gives root this password, by its hash.
pub fn set_root_password(root: &Root, hash: &str) -> Result<()> {
    const SHADOW: &str = "/etc/shadow";
    let text = root.read_text(SHADOW)?.unwrap_or_default();
    let mut found = false;
    let lines = text.lines().map(|line| {
        let mut fields: Vec<&str> = line.split(':').collect();
        if fields.len() > 2 && fields[0] == "root" {
            fields[1] = hash;
            found = true;
        }
        fields.join(":") + "\n"
    });
    let changed: String = lines.collect();
    if !found {
        bail!("setting root's password: {SHADOW} in the root has no line for root");
    }
    root.rewrite(SHADOW, changed)
}

/// Fails if this node knows time zones, but not this one: the root will hardly
/// know it then.
pub fn check_timezone(zone: &str) -> Result<()> {
    let zones = Path::new(ZONES);
    if zones.is_dir() && !zones.join(zone).is_file() {
        bail!(
            "checking TIMEZONE: there is no time zone {zone} in {ZONES} on this node: name one of those \
             there"
        );
    }
    Ok(())
}

/// Sets the time zone: the root's own, or a copy of the node's.
pub fn set_timezone(root: &Root, zone: &str) -> Result<()> {
    let path = format!("{ZONES}/{zone}");
    if root.exists(&path) {
        root.symlink(&path, "/etc/localtime")?;
    } else {
        let bytes = std::fs::read(&path)
            .with_context(|| format!("reading {path} on the node: the root has no such zone"))?;
        root.write("/etc/localtime", bytes, 0o644)?;
    }
    root.write("/etc/timezone", format!("{zone}\n"), 0o644)
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
        .find(|path| Path::new(path).exists());
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
    fn root_gets_its_password_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(set_root_password(&root, "!").is_err());
        root.write(
            "/etc/shadow",
            "rooty:x:1:\nroot::19000:0:99999:7:::\nbin:*:1:\n",
            0o640,
        )
        .unwrap();
        set_root_password(&root, "$6$a$b").unwrap();
        let text = root.read_text("/etc/shadow").unwrap().unwrap();
        assert_eq!(
            text,
            "rooty:x:1:\nroot:$6$a$b:19000:0:99999:7:::\nbin:*:1:\n"
        );
    }

    #[test]
    fn the_roots_own_zone_goes_over_the_nodes() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(set_timezone(&root, "No/Where").is_err());
        root.write("/usr/share/zoneinfo/No/Where", "", 0o644)
            .unwrap();
        set_timezone(&root, "No/Where").unwrap();
        let link = std::fs::read_link(dir.path().join("etc/localtime")).unwrap();
        assert_eq!(link, Path::new("/usr/share/zoneinfo/No/Where"));
        assert_eq!(
            root.read_text("/etc/timezone").unwrap().unwrap(),
            "No/Where\n"
        );
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
