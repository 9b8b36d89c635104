//! The fingerprints of this machine's SSH host keys.

use std::path::Path;

use anyhow::{Context, Result};
use p2v_sys::{Cmd, Root};

/// The fingerprints of the keys in `directory`, as in "SHA256:... (ED25519)",
/// sorted by the files' names; none if there are no keys.
///
/// ssh-keygen makes them: where sshd is, it is, and it writes them exactly as
/// the migrator's own ssh will show them.
pub fn fingerprints(directory: &Path) -> Result<Vec<String>> {
    let root = Root::open(directory)?;
    let mut keys = Vec::new();
    for name in root.list("/")? {
        let text = name.to_string_lossy();
        if text.starts_with("ssh_host_") && text.ends_with("_key.pub") {
            keys.extend(root.read(&name)?.unwrap_or_default());
            keys.push(b'\n');
        }
    }
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let listed = Cmd::new("ssh-keygen", "taking the host keys' fingerprints")
        .args(["-l", "-E", "sha256", "-f", "-"])
        .stdin(keys)
        .read()?;
    listed.lines().map(short).collect()
}

/// "256 SHA256:... a comment (ED25519)" without the length and the comment.
fn short(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let fingerprint = words.find(|word| word.starts_with("SHA256:"));
    let kind = words.next_back().filter(|word| word.starts_with('('));
    let (fingerprint, kind) = fingerprint
        .zip(kind)
        .with_context(|| format!("reading ssh-keygen's line {line:?}"))?;
    Ok(format!("{fingerprint} {kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a key as create does and returns ssh-keygen's own line for it.
    fn key(directory: &Path, kind: &str, comment: &str) -> String {
        let path = directory.join(format!("ssh_host_{kind}_key"));
        Cmd::new("ssh-keygen", "making a key")
            .args(["-q", "-t", kind, "-N", "", "-C", comment, "-f"])
            .arg(&path)
            .run()
            .unwrap();
        let listing = Cmd::new("ssh-keygen", "listing a key");
        listing.arg("-lf").arg(&path).read().unwrap()
    }

    #[test]
    fn fingerprints_are_those_of_each_key() {
        if Cmd::new("ssh", "looking for ssh").arg("-V").run().is_err() {
            p2v_testing::skip("needs openssh-client");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let listed = [
            key(directory.path(), "ecdsa", "root@instance1 (new)"),
            key(directory.path(), "ed25519", ""),
        ];
        std::fs::write(directory.path().join("sshd_config"), "Port 22\n").unwrap();
        let found = fingerprints(directory.path()).unwrap();
        assert_eq!(found.len(), 2);
        for (found, line) in found.iter().zip(listed) {
            let (fingerprint, kind) = found.split_once(' ').unwrap();
            assert_eq!(line.split_whitespace().nth(1), Some(fingerprint));
            assert!(line.ends_with(kind), "{line}: {found}");
        }
        assert!(found[0].ends_with("(ECDSA)") && found[1].ends_with("(ED25519)"));
    }

    #[test]
    fn no_keys_are_no_error_and_a_broken_one_is() {
        let directory = tempfile::tempdir().unwrap();
        assert!(fingerprints(directory.path()).unwrap().is_empty());
        let path = directory.path().join("ssh_host_rsa_key.pub");
        std::fs::write(path, "ssh-rsa not-base64\n").unwrap();
        assert!(fingerprints(directory.path()).is_err());
    }
}
