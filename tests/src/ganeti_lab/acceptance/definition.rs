//! What Ganeti shows of the OS definition, and OS parameters: wrong ones,
//! right ones, private and secret ones.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use p2v_sys::Cmd;

use super::backup::{SELF_BOOTING, SELF_BOOTING_NIC};
use super::machine::nic;
use crate::ganeti_lab::Cluster;
use crate::ganeti_lab::cluster::STORAGE;
use crate::{image, ssh};

/// Options that must be refused, with words that the message must have.
const WRONG: &[(&str, &[&str])] = &[
    (
        "-O filesystem=ntfs",
        &["filesystem", "ntfs", "ext2, ext3, ext4, xfs, btrfs"],
    ),
    (
        "-O partition_style=amiga",
        &["partition_style", "none, msdos, gpt"],
    ),
    (
        "-O mirror=gopher://example.org/",
        &["mirror", "http://..., https://..."],
    ),
    (
        "-O hostname_policy=yes",
        &["hostname_policy", "keep, instance"],
    ),
    ("-O filesystem=ext4,no_such_one=1", &["no_such_one"]),
    (
        "--os-parameters-private filesystem=ntfs",
        &["ext2, ext3, ext4, xfs, btrfs"],
    ),
    ("-o p2v-target+nosuch", &["nosuch"]),
];

/// `gnt-os list`, `diagnose` and `info`.
pub fn is_shown(cluster: &Cluster) -> Result<()> {
    let list = cluster.gnt("gnt-os list --no-headers")?;
    let names: Vec<&str> = list.split_whitespace().collect();
    ensure!(
        names == ["p2v-target+default", "p2v-target+gpt"],
        "gnt-os list shows {names:?}"
    );
    let diagnosed = cluster.gnt("gnt-os diagnose")?;
    let info = cluster.gnt("gnt-os info p2v-target")?;
    for words in [
        "[global status: valid]",
        "[API versions: 20, 15, 10]",
        "Variants: [default, gpt]",
    ] {
        ensure!(diagnosed.contains(words), "no {words:?} in:\n{diagnosed}");
    }
    for words in ["valid: True", "- 20", "- default", "- gpt", "filesystem: "] {
        ensure!(info.contains(words), "no {words:?} in:\n{info}");
    }
    // Every line of the installed list, so that none got lost on the way.
    let listed = cluster
        .node()
        .read("/usr/share/ganeti/os/p2v-target/parameters.list")?;
    for line in listed.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        ensure!(info.contains(&format!("- {name}: ")), "no {name} in {info}");
    }
    entry_points_resolve(cluster)
}

/// The links were made for the node, not for the place of the installation.
fn entry_points_resolve(cluster: &Cluster) -> Result<()> {
    for name in ["create", "import", "export", "rename", "verify"] {
        let link = format!("/usr/share/ganeti/os/p2v-target/{name}");
        let target = cluster.gnt(&format!("readlink -e {link}"))?;
        ensure!(target == "/usr/sbin/p2v", "{link} leads to {target}");
    }
    Ok(())
}

/// Each with the allowed values in the message, and before anything is made.
pub fn wrong_ones_are_refused(cluster: &Cluster) -> Result<()> {
    for (option, words) in WRONG {
        let line = cluster.add_line("wrong.lab", &format!("-s 1G {option}"));
        let said = cluster.gnt_refused(&line)?;
        for word in *words {
            ensure!(said.contains(word), "{option}: no {word:?} in:\n{said}");
        }
    }
    let known = cluster.instances()?;
    ensure!(known.is_empty(), "made all the same: {known:?}");
    let stored = cluster.gnt(&format!("ls {STORAGE}"))?;
    ensure!(stored.is_empty(), "in the storage: {stored}");
    ensure!(cluster.os_logs()?.is_empty(), "a script ran");
    Ok(())
}

/// Variant and parameters reach `create`.
pub fn parameters_count(cluster: &Cluster) -> Result<()> {
    let options = format!(
        "-s 2G -o p2v-target+gpt -O filesystem=xfs {}",
        nic(SELF_BOOTING_NIC)
    );
    cluster.add(SELF_BOOTING, &options)?;
    cluster.check_os_logs()?;
    let disk = cluster.disk(SELF_BOOTING)?;
    let label = image::label(&disk);
    ensure!(label.as_deref() == Some("gpt"), "the table is {label:?}");
    let last = image::partitions(&disk)?;
    let last = last.last().context("no partition")?;
    let kind = image::probe(&disk, last.extent)?.kind;
    ensure!(kind == "xfs", "the root is {kind}");
    Ok(())
}

/// A private and a secret parameter work, refused ones are not repeated, and
/// no log has any of them.
pub fn secrets_stay_secret(cluster: &Cluster) -> Result<()> {
    let key = ssh::Key::generate(&cluster.dir().join("private-key"))?;
    let key = key.public().trim();
    let hash = Cmd::new("openssl", "hashing a password")
        .args(["passwd", "-6", "a password"])
        .read()?;
    let private = format!("authorized_keys={key}");
    let secret = format!("root_password_hash={hash}");
    let line = cluster.add_line("secret.lab", "-s 2G");
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let hidden = [
        "--os-parameters-private",
        &private,
        "--os-parameters-secret",
        &secret,
    ];
    // Options come before the name.
    words.splice(2..2, hidden);
    cluster.gnt_words(&words)?;
    cluster.check_os_logs()?;
    let keys = file_of_root(cluster, "secret.lab", "root/.ssh/authorized_keys")?;
    ensure!(keys.contains(key), "the private key may not log in");
    let shadow = file_of_root(cluster, "secret.lab", "etc/shadow")?;
    ensure!(shadow.contains(&hash), "root has another password");
    for refused in [
        "root_password_hash=Hush4Hush4",
        "proxy=ftp://user:Hush4Hush4@198.51.100.9/",
    ] {
        let options = format!("-s 1G --os-parameters-secret {refused}");
        let said = cluster.gnt_refused(&cluster.add_line("wrong.lab", &options))?;
        ensure!(said.contains("allowed: "), "{said}");
        ensure!(!said.contains("Hush4Hush4"), "{said}");
    }
    cluster.gnt("gnt-instance remove -f secret.lab")?;
    let blob = key.split_whitespace().nth(1).context("no key")?;
    for needle in [blob, &hash, "Hush4Hush4"] {
        let found = holding(&cluster.node().path("/var/log/ganeti"), needle)?;
        ensure!(found.is_empty(), "{needle} is in {found:?}");
    }
    Ok(())
}

fn file_of_root(cluster: &Cluster, instance: &str, name: &str) -> Result<String> {
    let disk = cluster.disk(instance)?;
    let partitions = image::partitions(&disk)?;
    let root = partitions.last().context("no partition")?;
    let root = image::MountedPart::new(&disk, root.extent, "ext4", cluster.dir())?;
    let text = std::fs::read_to_string(root.path().join(name))
        .with_context(|| format!("reading {name} of {instance}"))?;
    root.close()?;
    Ok(text)
}

/// The files below `dir` that hold `needle`.
fn holding(dir: &Path, needle: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(path) = pending.pop() {
        let reading = || format!("reading {}", path.display());
        if path.is_dir() {
            for entry in std::fs::read_dir(&path).with_context(reading)? {
                pending.push(entry.with_context(reading)?.path());
            }
        } else {
            let text = std::fs::read(&path).with_context(reading)?;
            let text = String::from_utf8_lossy(&text);
            if text.contains(needle) {
                found.push(path);
            }
        }
    }
    Ok(found)
}
