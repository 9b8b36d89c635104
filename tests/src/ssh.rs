//! SSH into a virtual machine, as a migrator does it: with a key, and with the
//! host key that the node wrote down when it created the instance.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use p2v_sys::Cmd;

/// How long one attempt to reach the server may take at least. Short: QEMU's
/// network accepts before the guest does, and tells nothing when the guest is up.
const ATTEMPT: Duration = Duration::from_millis(500);

/// Later attempts take this part of the time since the first. A server greets by
/// a process of its own: one on a slow machine that is asked twice a second has
/// none that gets to it.
const PATIENCE: u32 = 20;

/// Between two attempts: with them, the resolution of what is measured.
pub const PAUSE: Duration = Duration::from_millis(100);

/// One login on a machine that is emulated.
const LOGIN: Duration = Duration::from_secs(60);

/// A key pair of the test's own.
#[derive(Debug)]
pub struct Key {
    private: PathBuf,
    public: String,
}

impl Key {
    /// Makes the pair at `path` and `path`.pub.
    pub fn generate(path: &Path) -> Result<Self> {
        Cmd::new("ssh-keygen", "making a key to log in with")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "p2v-tests", "-f"])
            .arg(path)
            .run()?;
        Self::at(path)
    }

    /// The pair that was made there.
    pub fn at(path: &Path) -> Result<Self> {
        let public = path.with_extension("pub");
        Ok(Self {
            private: path.to_owned(),
            public: std::fs::read_to_string(&public)
                .with_context(|| format!("reading {}", public.display()))?,
        })
    }

    /// The same pair in another place.
    pub fn copy(&self, path: &Path) -> Result<Self> {
        let doing = || format!("copying a key to {}", path.display());
        std::fs::copy(&self.private, path).with_context(doing)?;
        std::fs::write(path.with_extension("pub"), &self.public).with_context(doing)?;
        Self::at(path)
    }

    /// The file with the private key.
    pub fn path(&self) -> &Path {
        &self.private
    }

    /// Its fingerprint, `SHA256:...`.
    pub fn fingerprint(&self) -> Result<String> {
        let line = Cmd::new("ssh-keygen", "computing a key's fingerprint")
            .arg("-lf")
            .arg(self.private.with_extension("pub"))
            .read()?;
        let word = line.split_whitespace().nth(1);
        word.map(str::to_owned)
            .context("ssh-keygen said no fingerprint")
    }

    /// The line for authorized_keys.
    pub fn public(&self) -> &str {
        &self.public
    }
}

/// QEMU forwards ports of this one to its machines.
const FORWARDED: &str = "127.0.0.1";

/// A way into a virtual machine.
#[derive(Debug)]
pub struct Ssh {
    /// What runs ssh elsewhere than here.
    prefix: Vec<String>,
    host: String,
    port: u16,
    key: PathBuf,
    known_hosts: PathBuf,
}

impl Ssh {
    /// Root's login at a local port, with `state` as the node's INSTANCE.json:
    /// the server must show one of the host keys that are in it.
    pub fn new(port: u16, key: &Key, state: &Path) -> Result<Self> {
        Self::make(&[], FORWARDED, port, key, &remembered_keys(state)?)
    }

    /// Root's login at another host's usual port, by an ssh that runs under
    /// `prefix`, a program that enters the host's network, say.
    pub fn through(prefix: &[String], host: &str, key: &Key, state: &Path) -> Result<Self> {
        Self::make(prefix, host, 22, key, &remembered_keys(state)?)
    }

    /// The same with the host's public keys themselves, for a machine that no
    /// create of ours has made.
    pub fn with_host_keys(port: u16, key: &Key, public_keys: &[String]) -> Result<Self> {
        Self::make(&[], FORWARDED, port, key, public_keys)
    }

    fn make(
        prefix: &[String],
        host: &str,
        port: u16,
        key: &Key,
        public_keys: &[String],
    ) -> Result<Self> {
        let known_hosts = key
            .private
            .with_extension(format!("known_hosts.{host}.{port}"));
        std::fs::write(&known_hosts, lines_of(public_keys, host, port))
            .with_context(|| format!("writing {}", known_hosts.display()))?;
        Ok(Self {
            prefix: prefix.to_vec(),
            host: host.to_owned(),
            port,
            key: key.private.clone(),
            known_hosts,
        })
    }

    /// Waits until somebody can log in.
    pub fn wait(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            match self.command("true").timeout(LOGIN).run() {
                Ok(()) => return Ok(()),
                // A wrong host key stays wrong.
                Err(error) if format!("{error:#}").contains("Host key") => return Err(error),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Runs a command line in the machine's shell and returns its output. A server
    /// that still has to do with those who asked whether it is there turns some
    /// away before it knows who they are: they come again.
    pub fn run(&self, line: &str) -> Result<String> {
        let begun = Instant::now();
        loop {
            match self.command(line).read() {
                Err(error) if begun.elapsed() < LOGIN && was_turned_away(&error) => {
                    std::thread::sleep(ATTEMPT);
                }
                result => return result,
            }
        }
    }

    /// Whether the server offers to take a password.
    pub fn offers_password(&self) -> Result<bool> {
        let refused = self
            .options(self.program("asking which logins the server takes"))
            .args(["-o", "PreferredAuthentications=none"])
            .args(["-o", "PubkeyAuthentication=no"])
            .args([self.login().as_str(), "true"])
            .run();
        match refused {
            Ok(()) => bail!("the server let us in with nothing at all"),
            Err(error) => {
                let text = format!("{error:#}");
                if !text.contains("Permission denied (") {
                    return Err(error);
                }
                Ok(text.contains("password") || text.contains("keyboard-interactive"))
            }
        }
    }

    fn command(&self, line: &str) -> Cmd {
        let doing = format!("running `{line}` in the virtual machine");
        self.options(self.program(&doing))
            .arg("-i")
            .arg(&self.key)
            .args([self.login().as_str(), line])
            .timeout(Duration::from_secs(180))
    }

    fn program(&self, doing: &str) -> Cmd {
        match self.prefix.split_first() {
            Some((program, arguments)) => Cmd::new(program, doing).args(arguments).arg("ssh"),
            None => Cmd::new("ssh", doing),
        }
    }

    fn login(&self) -> String {
        format!("root@{}", self.host)
    }

    fn options(&self, command: Cmd) -> Cmd {
        command
            .args(["-F", "none", "-o", "BatchMode=yes"])
            .args(["-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR"])
            .args(["-o", "GlobalKnownHostsFile=none", "-o", "ConnectTimeout=60"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", self.known_hosts.display()))
            .arg("-p")
            .arg(self.port.to_string())
    }
}

/// Whether it was before the keys were exchanged, so nothing has run.
fn was_turned_away(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("kex_exchange_identification: ")
}

/// Waits until the server at an address says that it speaks SSH.
pub fn wait_for_banner(address: SocketAddr, within: Duration) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < within {
        if greets(address, begun) {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    bail!(
        "waiting for an SSH server at {address}: none within {} s",
        within.as_secs()
    )
}

/// Whether the server says now that it speaks SSH. It has been asked since
/// `begun`.
pub fn greets(address: SocketAddr, begun: Instant) -> bool {
    let patience = ATTEMPT.max(begun.elapsed() / PATIENCE);
    banner(address, patience).is_some_and(|text| &text == b"SSH-2.0-")
}

fn banner(address: SocketAddr, within: Duration) -> Option<[u8; 8]> {
    let mut stream = TcpStream::connect_timeout(&address, within).ok()?;
    stream.set_read_timeout(Some(within)).ok()?;
    let mut text = [0; 8];
    stream.read_exact(&mut text).ok()?;
    Some(text)
}

/// Every host key in the file INSTANCE.json.
fn remembered_keys(state: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(state)
        .with_context(|| format!("reading what the node remembers, {}", state.display()))?;
    host_keys(&text)
}

fn host_keys(state: &str) -> Result<Vec<String>> {
    let state: serde_json::Value =
        serde_json::from_str(state).context("parsing what the node remembers")?;
    let keys: Vec<String> = state["host_keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|key| key["public_key"].as_str().map(str::to_owned))
        .collect();
    if keys.is_empty() {
        bail!("parsing what the node remembers: it has no host key");
    }
    Ok(keys)
}

/// As known_hosts has them, which names the usual port nowhere.
fn lines_of(public_keys: &[String], host: &str, port: u16) -> String {
    let place = match port {
        22 => host.to_owned(),
        _ => format!("[{host}]:{port}"),
    };
    public_keys
        .iter()
        .map(|key| format!("{place} {}\n", key.trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn host_keys_become_known_hosts() {
        let state = r#"{"host_keys":[{"kind":"ed25519","public_key":"ssh-ed25519 AAAA root@x"}]}"#;
        let keys = host_keys(state).unwrap();
        assert_eq!(
            lines_of(&keys, "127.0.0.1", 2200),
            "[127.0.0.1]:2200 ssh-ed25519 AAAA root@x\n"
        );
        assert_eq!(lines_of(&keys, "a", 22), "a ssh-ed25519 AAAA root@x\n");
        assert!(host_keys(r#"{"host_keys":[]}"#).is_err());
    }

    #[test]
    fn a_port_without_a_server_is_an_error_in_time() {
        let start = Instant::now();
        // Port 1 of the loopback is nobody's.
        let nobody = (Ipv4Addr::LOCALHOST, 1).into();
        assert!(wait_for_banner(nobody, Duration::from_millis(300)).is_err());
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
