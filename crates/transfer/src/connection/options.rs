//! What ssh is told: nobody's configuration, one set of good host keys, no
//! questions, and a dead link noticed soon.

use std::path::Path;

use p2v_sys::Cmd;

use super::Address;
use super::host_keys::ALIAS;

/// Ciphers in the order in which a processor with AES instructions is fast.
const WITH_AES: [&str; 6] = [
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "chacha20-poly1305@openssh.com",
    "aes192-ctr",
    "aes256-ctr",
];

/// All of them, with the good host keys in the directory `keys`.
pub(super) fn all(address: &Address, keys: &Path) -> Vec<String> {
    let known = super::host_keys::file(keys);
    let mut words: Vec<String> = ["-F", "/dev/null", "-T", "-x", "-a", "-e", "none"]
        .map(str::to_owned)
        .into();
    words.extend(["-p".to_owned(), address.port.to_string()]);
    words.extend(["-l".to_owned(), address.user.clone()]);
    let mut set = |option: String| words.extend(["-o".to_owned(), option]);
    set(format!("UserKnownHostsFile=\"{}\"", escaped(&known)));
    for option in [
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "CheckHostIP=no",
        "VerifyHostKeyDNS=no",
        "BatchMode=yes",
        "NumberOfPasswordPrompts=0",
        "ConnectTimeout=15",
        "ConnectionAttempts=1",
        // Dead for 15 s is dead.
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
        "Compression=no",
        "IPQoS=throughput",
        "ClearAllForwardings=yes",
        "ControlMaster=no",
        "ControlPath=none",
        "PermitLocalCommand=no",
        // A server's banner is no message of ours.
        "LogLevel=ERROR",
    ] {
        set(option.to_owned());
    }
    set(format!("HostKeyAlias={ALIAS}"));
    if let Some(ciphers) = ciphers() {
        set(format!("Ciphers={ciphers}"));
    }
    if let Some(key) = &address.identity {
        set("IdentitiesOnly=yes".to_owned());
        set(format!("IdentityFile=\"{}\"", escaped(key)));
    }
    words
}

/// A path in ssh's configuration, where `%` begins a token.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}

/// The ciphers that this ssh has, the fast ones first; `None` to leave them to
/// ssh, whose own first one is fast without AES instructions.
fn ciphers() -> Option<String> {
    let processor = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    if !processor.split_whitespace().any(|flag| flag == "aes") {
        return None;
    }
    let known = Cmd::new("ssh", "asking ssh for its ciphers")
        .args(["-Q", "cipher"])
        .read()
        .ok()?;
    let known: Vec<&str> = known.lines().map(str::trim).collect();
    let ours: Vec<&str> = WITH_AES
        .into_iter()
        .filter(|cipher| known.contains(cipher))
        .collect();
    (!ours.is_empty()).then(|| ours.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_understands_them_and_checks_host_keys() {
        let address = Address {
            host: "web1.example".to_owned(),
            port: 2222,
            user: "root".to_owned(),
            identity: Some("/a dir/100% key".into()),
            host_keys: Vec::new(),
        };
        let settled = Cmd::new("ssh", "listing ssh's settings")
            .arg("-G")
            .args(all(&address, Path::new("/run/with space")))
            .args(["--", "web1.example"])
            .read()
            .unwrap();
        let has = |line: &str| {
            let found = settled.lines().any(|found| found == line);
            assert!(found, "{line} is missing in\n{settled}");
        };
        has("stricthostkeychecking true");
        has("userknownhostsfile /run/with space/known_hosts");
        has("globalknownhostsfile /dev/null");
        has("batchmode yes");
        has("identitiesonly yes");
        has("identityfile /a dir/100%% key");
        has("compression no");
        has("forwardagent no");
        has("escapechar none");
        has("serveraliveinterval 5");
        has("serveralivecountmax 3");
        has("port 2222");
        has("user root");
        assert!(!settled.contains("StrictHostKeyChecking no"));
        if std::fs::read_to_string("/proc/cpuinfo")
            .unwrap()
            .contains(" aes ")
        {
            assert!(
                settled.contains("ciphers aes128-gcm@openssh.com,"),
                "{settled}"
            );
        }
    }
}
