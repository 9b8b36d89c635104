//! Which host keys are the target's: those whose fingerprints somebody gave, or
//! those that a person has looked at. Fetching them proves nothing; ssh then
//! insists on one of those that were accepted.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use p2v_sys::Cmd;
use tempfile::TempDir;

use super::program::Program;
use super::{Address, Confirm};

/// The name under which the target's keys are known, whatever its address.
pub(super) const ALIAS: &str = "p2v-target";

/// How long a server may take to show its key, in seconds.
const PATIENCE: u32 = 10;

/// The kinds of key that sshd makes, the one that all have first.
const KINDS: [&str; 3] = ["ed25519", "ecdsa", "rsa"];

/// A host key as a server showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostKey {
    /// `ssh-ed25519 AAAA...`.
    pub key: String,
    /// `SHA256:...`.
    pub fingerprint: String,
    /// `ED25519`.
    pub kind: String,
}

/// A directory that only this user may look into.
pub(super) fn directory() -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("p2v-link-")
        .permissions(PermissionsExt::from_mode(0o700))
        .tempdir()
        .context("making a directory for the target's host keys")
}

/// The file of known hosts in that directory.
pub(super) fn file(directory: &Path) -> PathBuf {
    directory.join("known_hosts")
}

/// Makes these the only keys that ssh takes for the target's.
pub(super) fn save(directory: &Path, keys: &[HostKey]) -> Result<()> {
    let lines = keys.iter().map(|key| format!("{ALIAS} {}\n", key.key));
    std::fs::write(file(directory), lines.collect::<String>()).context("keeping the host keys")
}

/// Fetches the host keys and returns those that are vouched for.
pub(super) fn accept(
    address: &Address,
    unanswered: impl Fn() -> Result<Program>,
    confirm: Confirm,
) -> Result<Vec<HostKey>> {
    if address.host_keys.is_empty() {
        let found = fetch(address, &KINDS)?;
        if found.is_empty() {
            return Err(why_unanswered(address, &unanswered));
        }
        let shown: Vec<String> = found
            .iter()
            .map(|key| format!("{} ({})", key.fingerprint, key.kind))
            .collect();
        if !confirm(&shown)? {
            bail!(
                "connecting to {address}: nobody vouches for its host key {}; compare it with what create printed, or with host_keys in the instance's file below /var/lib/ganeti-instance-p2v-target on the node, and give it with --host-key",
                shown.join(", ")
            );
        }
        return Ok(found);
    }
    // One kind at a time: newer servers count connections without a login
    // against their client.
    let mut seen = Vec::new();
    for kind in KINDS {
        for key in fetch(address, &[kind])? {
            if address.host_keys.contains(&key.fingerprint) {
                return Ok(vec![key]);
            }
            seen.push(key);
        }
    }
    if seen.is_empty() {
        return Err(why_unanswered(address, &unanswered));
    }
    Err(mismatch(address, &seen))
}

fn mismatch(address: &Address, seen: &[HostKey]) -> anyhow::Error {
    let found: Vec<String> = seen
        .iter()
        .map(|key| format!("{} ({})", key.fingerprint, key.kind))
        .collect();
    anyhow::anyhow!(
        "connecting to {address}: WARNING: its host key is not the expected one, so this is another machine, or somebody in between listens; nothing was sent to it. Expected {}, found {}. If the instance was made anew since, take the fingerprint that create printed then",
        address.host_keys.join(" or "),
        found.join(", ")
    )
}

/// The fingerprints of all keys that the server shows; none if nobody answers.
pub(super) fn fingerprints(address: &Address) -> Result<Vec<String>> {
    let found = fetch(address, &KINDS)?;
    Ok(found.into_iter().map(|key| key.fingerprint).collect())
}

/// The server's keys of these kinds; empty if nothing answers or it has none.
fn fetch(address: &Address, kinds: &[&str]) -> Result<Vec<HostKey>> {
    let doing = format!("fetching the host keys of {address}");
    let scan = Cmd::new("ssh-keyscan", &doing)
        .args(["-T", &PATIENCE.to_string(), "-p", &address.port.to_string()])
        .args(["-t", &kinds.join(","), "--", &address.host])
        .timeout(Duration::from_secs(u64::from(PATIENCE) * 3));
    // It ends with 1 if it got none.
    let (_, text) = scan.read_answer(&[1])?;
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(key_of)
        .take(KINDS.len() * 2)
        .map(|key| fingerprinted(key, &doing))
        .collect()
}

/// The key in a line `host kind base64`; nothing of what else a server may have
/// made of the line.
fn key_of(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (_, kind, key) = (words.next()?, words.next()?, words.next()?);
    let good = |c: char| c.is_ascii_alphanumeric() || "+/=-@.".contains(c);
    let fine = words.next().is_none() && kind.chars().chain(key.chars()).all(good);
    fine.then(|| format!("{kind} {key}"))
}

fn fingerprinted(key: String, doing: &str) -> Result<HostKey> {
    let listed = Cmd::new("ssh-keygen", doing)
        .args(["-l", "-E", "sha256", "-f", "/dev/stdin"])
        .stdin(format!("{key}\n"))
        .read()?;
    let fingerprint = listed
        .split_whitespace()
        .find(|word| word.starts_with("SHA256:"))
        .with_context(|| format!("{doing}: ssh-keygen shows no fingerprint: {listed}"))?;
    let kind = listed.rsplit('(').next().unwrap_or_default();
    Ok(HostKey {
        fingerprint: fingerprint.to_owned(),
        kind: kind.trim_end_matches(')').to_owned(),
        key,
    })
}

/// Why nothing answers: ssh-keyscan is silent on that, ssh is not. Without any
/// known key it gets no further than the server's.
fn why_unanswered(address: &Address, connect: &impl Fn() -> Result<Program>) -> anyhow::Error {
    match connect().and_then(|ssh| ssh.finish(Duration::from_secs(60))) {
        Ok(()) => anyhow::anyhow!("connecting to {address}: it shows no host key"),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_keys_are_left_out() {
        assert_eq!(
            key_of("[127.0.0.1]:22 ssh-ed25519 AAAA+/=").as_deref(),
            Some("ssh-ed25519 AAAA+/=")
        );
        for line in [
            "",
            "a b",
            "a ssh-rsa AAAA comment",
            "a ssh-rsa \u{1b}[2J",
            "* @x y z",
        ] {
            assert_eq!(key_of(line), None, "{line}");
        }
    }

    #[test]
    fn fingerprints_are_those_of_ssh_keygen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        Cmd::new("ssh-keygen", "making a key")
            .args(["-q", "-t", "ecdsa", "-N", "", "-C", "x", "-f"])
            .arg(&path)
            .run()
            .unwrap();
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let key = key_of(&format!("host {}", public.trim().trim_end_matches(" x"))).unwrap();
        let found = fingerprinted(key, "trying").unwrap();
        let listed = Cmd::new("ssh-keygen", "listing").arg("-lf").arg(&path);
        assert!(listed.read().unwrap().contains(&found.fingerprint));
        assert_eq!(found.kind, "ECDSA");
    }
}
