//! The instance's SSH host keys, made while its root is unpacked, so that the
//! node knows their fingerprints before the instance first runs.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use p2v_sys::{Cmd, Root};
use serde::Serialize;

/// No RSA: a client that knows neither of these (before OpenSSH 5.7) knows RSA
/// only with SHA-1, which today's sshd refuses; and its primes can take longer
/// to find than all the rest of a create.
const KINDS: &[&str] = &["ed25519", "ecdsa"];

/// A host key's public half.
#[derive(Debug, Clone, Serialize)]
pub struct HostKey {
    /// ed25519 or ecdsa.
    pub kind: String,
    /// As ssh prints it: `SHA256:` and 43 characters of base64.
    pub fingerprint: String,
    /// The line that a known_hosts file holds after the host's name.
    pub public_key: String,
}

/// Host keys in the making, in a thread of their own.
#[derive(Debug)]
pub struct HostKeys {
    directory: PathBuf,
    worker: JoinHandle<Result<Vec<HostKey>>>,
}

impl HostKeys {
    /// Starts making keys in the empty, private directory `directory`.
    pub fn start(directory: &Path, instance: &str) -> Self {
        let (place, comment) = (directory.to_owned(), format!("root@{instance}"));
        Self {
            directory: directory.to_owned(),
            worker: std::thread::spawn(move || {
                KINDS
                    .iter()
                    .map(|kind| make(&place, kind, &comment))
                    .collect()
            }),
        }
    }

    /// Waits for the keys and writes them into the root.
    pub fn install(self, root: &Root) -> Result<Vec<HostKey>> {
        let keys = self
            .worker
            .join()
            .map_err(|_| anyhow!("making the SSH host keys: its thread panicked"))??;
        for key in &keys {
            for (suffix, mode) in [("", 0o600), (".pub", 0o644)] {
                let name = format!("{}{suffix}", file_name(&key.kind));
                let from = self.directory.join(&name);
                let bytes = std::fs::read(&from)
                    .with_context(|| format!("reading the host key {}", from.display()))?;
                root.write(format!("/etc/ssh/{name}"), bytes, mode)?;
            }
        }
        Ok(keys)
    }
}

fn file_name(kind: &str) -> String {
    format!("ssh_host_{kind}_key")
}

fn make(directory: &Path, kind: &str, comment: &str) -> Result<HostKey> {
    let path = directory.join(file_name(kind));
    let public = path.with_extension("pub");
    Cmd::new("ssh-keygen", format!("making the {kind} host key"))
        .args(["-q", "-N", "", "-t", kind, "-C", comment, "-f"])
        .arg(&path)
        .run()?;
    let listed = Cmd::new(
        "ssh-keygen",
        format!("taking the {kind} host key's fingerprint"),
    )
    .args(["-l", "-E", "sha256", "-f"])
    .arg(&public)
    .read()?;
    let fingerprint = listed
        .split_whitespace()
        .nth(1)
        .with_context(|| format!("reading ssh-keygen's line {listed:?}"))?;
    let public_key = std::fs::read_to_string(&public)
        .with_context(|| format!("reading {}", public.display()))?;
    Ok(HostKey {
        kind: kind.to_owned(),
        fingerprint: fingerprint.to_owned(),
        public_key: public_key.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_private_and_their_fingerprints_known() {
        let (scratch, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = Root::open(dir.path()).unwrap();
        let keys = HostKeys::start(scratch.path(), "web.example.org")
            .install(&root)
            .unwrap();
        assert_eq!(keys.len(), KINDS.len());
        for key in keys {
            assert!(key.fingerprint.starts_with("SHA256:"), "{key:?}");
            let path = dir.path().join("etc/ssh").join(file_name(&key.kind));
            let mode = std::fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
