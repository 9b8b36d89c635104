//! Where the target is.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// Where the target is, and what proves who is who.
#[derive(Debug, Clone, Default)]
pub struct Address {
    /// Name or address of the host; IPv6 without brackets.
    pub host: String,
    /// SSH's port.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// The private key; without it ssh's own choice.
    pub identity: Option<PathBuf>,
    /// Fingerprints of host keys that are good, `SHA256:...`.
    pub host_keys: Vec<String>,
}

impl Address {
    /// Fails if ssh would take a part of it for something else.
    pub(super) fn check(&self) -> Result<()> {
        let strange = |text: &str| {
            text.is_empty()
                || text.starts_with('-')
                || text
                    .contains(|c: char| c.is_whitespace() || c.is_control() || "@/[]".contains(c))
        };
        if strange(&self.host) {
            bail!(
                "connecting to {:?}: give the host's name or address alone, an IPv6 address without brackets",
                self.host
            );
        }
        if strange(&self.user) {
            bail!(
                "connecting to {}: {:?} is no user's name",
                self.host,
                self.user
            );
        }
        for key in &self.host_keys {
            let digest = key.strip_prefix("SHA256:").unwrap_or_default();
            let good = |c: char| c.is_ascii_alphanumeric() || "+/".contains(c);
            // 256 bits in base64 without padding.
            if digest.len() != 43 || !digest.chars().all(good) {
                bail!(
                    "connecting to {}: {key:?} is no host key's fingerprint; create prints them as SHA256: and 43 characters",
                    self.host
                );
            }
        }
        Ok(())
    }
}

/// For messages: host and port.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_would_misread_is_refused() {
        let address = |host: &str, user: &str, key: &str| Address {
            host: host.to_owned(),
            port: 22,
            user: user.to_owned(),
            identity: None,
            host_keys: vec![key.to_owned()],
        };
        let key = format!("SHA256:{}", "a".repeat(43));
        for host in ["web1.example", "192.0.2.1", "2001:db8::1", "fe80::1%eth0"] {
            address(host, "root", &key).check().unwrap();
        }
        for host in ["", "-oProxyCommand=id", "a b", "root@a", "[::1]", "ssh://a"] {
            assert!(address(host, "root", &key).check().is_err(), "{host}");
        }
        for user in ["", "-x", "a\nb"] {
            assert!(address("a", user, &key).check().is_err(), "{user}");
        }
        for key in ["", "MD5:aa:bb", "SHA256:abc", "aa:bb:cc"] {
            assert!(address("a", "root", key).check().is_err(), "{key}");
        }
        assert_eq!(address("::1", "root", &key).to_string(), "[::1]:22");
    }
}
