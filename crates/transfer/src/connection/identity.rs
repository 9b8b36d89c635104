//! A private key that ssh could not use, told before ssh is asked: it would
//! only say that permission is denied.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use p2v_sys::Cmd;

/// Fails if the private key at `path` is missing, open to others, no key, or
/// has a passphrase that no ssh-agent knows.
pub(super) fn check(path: Option<&Path>) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    let shown = path.display();
    let doing = || format!("reading the private key {shown}");
    let meta = File::open(path)
        .and_then(|file| file.metadata())
        .with_context(doing)?;
    if !meta.is_file() {
        bail!("reading the private key {shown}: it is no file: name the private key's");
    }
    if meta.mode() & 0o077 != 0 && meta.uid() == nix::unistd::geteuid().as_raw() {
        bail!(
            "reading the private key {shown}: others may read it (mode {:03o}), so ssh does not use it; run: chmod 600 {shown}",
            meta.mode() & 0o777
        );
    }
    let derive = Cmd::new("ssh-keygen", doing())
        .args(["-y", "-P", "", "-f"])
        .arg(path);
    let Err(error) = derive.run() else {
        return Ok(());
    };
    let words = format!("{error:#}");
    if !words.contains("passphrase") {
        return Err(error.context(format!(
            "the file {shown} is no private key that ssh can use: give one with --identity"
        )));
    }
    if agent_has(path) {
        return Ok(());
    }
    bail!(
        "reading the private key {shown}: it has a passphrase, and ssh cannot ask for it here; run `eval $(ssh-agent)` and `ssh-add {shown}` first (sudo needs --preserve-env=SSH_AUTH_SOCK), or give a key without one"
    )
}

/// Whether a running ssh-agent holds the key.
fn agent_has(path: &Path) -> bool {
    let fingerprint = Cmd::new("ssh-keygen", "taking a key's fingerprint")
        .arg("-lf")
        .arg(path)
        .read();
    let held = Cmd::new("ssh-add", "asking the ssh-agent for its keys")
        .arg("-l")
        .read();
    let (Ok(fingerprint), Ok(held)) = (fingerprint, held) else {
        return false;
    };
    let digest = fingerprint.split_whitespace().nth(1);
    digest.is_some_and(|digest| held.split_whitespace().any(|word| word == digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn key(path: &Path, passphrase: &str) {
        Cmd::new("ssh-keygen", "making a key")
            .args(["-q", "-t", "ed25519", "-N", passphrase, "-f"])
            .arg(path)
            .run()
            .unwrap();
    }

    fn refusal(path: &Path) -> String {
        format!("{:#}", check(Some(path)).unwrap_err())
    }

    #[test]
    fn each_key_that_ssh_would_not_use_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        check(None).unwrap();
        key(&at("good"), "");
        check(Some(&at("good"))).unwrap();

        assert!(refusal(&at("missing")).contains("No such file"));
        assert!(refusal(dir.path()).contains("no file"));
        key(&at("open"), "");
        std::fs::set_permissions(at("open"), PermissionsExt::from_mode(0o644)).unwrap();
        assert!(refusal(&at("open")).contains("chmod 600"));
        key(&at("locked"), "hunter22");
        assert!(refusal(&at("locked")).contains("ssh-add"));
        std::fs::write(at("text"), "hello\n").unwrap();
        std::fs::set_permissions(at("text"), PermissionsExt::from_mode(0o600)).unwrap();
        assert!(refusal(&at("text")).contains("no private key"));
    }
}
