//! An SSH server of our own, on this machine: on the loopback, or behind a link
//! of a chosen rate.
//!
//! It ends with its guard, and with this process however that dies; the link
//! goes with it, since its network namespace is the server's own.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use p2v_sys::Cmd;

use crate::qemu;
use crate::ssh::{self, Key};

/// Addresses of the link's two ends; of a block for documentation.
const NEAR: &str = "203.0.113.1";
const FAR: &str = "203.0.113.2";

/// Long enough for a machine that does other work besides.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// 127.0.0.1, at a free port.
    Loopback,
    /// Behind a link that carries this many bits a second in each direction.
    Link(u64),
}

/// A running server.
#[derive(Debug)]
pub struct Sshd {
    child: Child,
    host: String,
    port: u16,
    host_key: Key,
}

impl Sshd {
    /// Starts one that lets `key` in as root. With `command`, that is all that
    /// runs, whatever the client asks for.
    pub fn start(dir: &Path, key: &Key, place: Place, command: Option<&str>) -> Result<Self> {
        let port = match place {
            Place::Loopback => qemu::free_port()?,
            Place::Link(_) => 22,
        };
        let host_key = Key::generate(&own_dir(dir)?.join("host_key"))?;
        Self::listen(host_key, key, place, port, command)
    }

    /// One on the loopback, with that host key, which lets `key` in as root.
    pub fn with_host_key(host_key: Key, key: &Key, port: u16) -> Result<Self> {
        Self::listen(host_key, key, Place::Loopback, port, None)
    }

    /// What belongs to it is put beside its host key.
    fn listen(
        host_key: Key,
        key: &Key,
        place: Place,
        port: u16,
        command: Option<&str>,
    ) -> Result<Self> {
        std::fs::create_dir_all("/run/sshd").context("making sshd's directory")?;
        let host = match place {
            Place::Loopback => "127.0.0.1",
            Place::Link(_) => FAR,
        };
        let dir = host_key.path().parent().context("finding its directory")?;
        let dir = dir.to_owned();
        let keys = authorize(&dir, key)?;
        let text = configuration((host, port), host_key.path(), &keys, command);
        let config = dir.join("sshd_config");
        std::fs::write(&config, text).context("writing sshd's configuration")?;
        let mut child = spawn(&dir, &config, place)?;
        if let Place::Link(rate) = place {
            link(&child, rate)?;
        }
        // Only now may it begin to listen.
        writeln!(child.stdin.take().context("taking sshd's input")?).context("starting sshd")?;
        let server = Self {
            child,
            host: host.to_owned(),
            port,
            host_key,
        };
        let address: IpAddr = host.parse().context("parsing an address")?;
        ssh::wait_for_banner((address, port).into(), PATIENCE)?;
        Ok(server)
    }

    /// The address to connect to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How long a bare connection over its link takes to carry so many bytes to
    /// the server's side.
    pub fn carry(&self, bytes: u64) -> Result<Duration> {
        let listener = TcpListener::bind((NEAR, 0)).context("listening on the link")?;
        let port = listener
            .local_addr()
            .context("listening on the link")?
            .port();
        let begun = Instant::now();
        let sender = std::thread::spawn(move || -> std::io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            std::io::copy(&mut std::io::repeat(b'x').take(bytes), &mut stream)?;
            Ok(())
        });
        let taken = Cmd::new("nsenter", "taking bytes on the link's far side")
            .args([
                "--net",
                "--target",
                &self.child.id().to_string(),
                "--",
                "bash",
                "-c",
            ])
            .arg(format!("wc --bytes < /dev/tcp/{NEAR}/{port}"))
            .read()?;
        ensure!(taken.trim() == bytes.to_string(), "only {taken} bytes came");
        let sent = sender.join().map_err(|_| anyhow!("the sender panicked"))?;
        sent.context("sending on the link")?;
        Ok(begun.elapsed())
    }

    /// Its host key's fingerprint, `SHA256:...`.
    pub fn fingerprint(&self) -> Result<String> {
        self.host_key.fingerprint()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn own_dir(dir: &Path) -> Result<PathBuf> {
    let made = tempfile::Builder::new().prefix("sshd-").tempdir_in(dir);
    Ok(made.context("making the server's directory")?.keep())
}

/// Writes the list of those who may log in.
pub(crate) fn authorize(dir: &Path, key: &Key) -> Result<PathBuf> {
    let keys = dir.join("authorized_keys");
    std::fs::write(&keys, key.public()).context("writing authorized_keys")?;
    std::fs::set_permissions(&keys, PermissionsExt::from_mode(0o600))
        .context("writing authorized_keys")?;
    Ok(keys)
}

/// sshd's configuration: who listens where, by which key, and whom it lets in.
pub(crate) fn configuration(
    (host, port): (&str, u16),
    host_key: &Path,
    keys: &Path,
    command: Option<&str>,
) -> String {
    let mut text = format!(
        "ListenAddress {host}:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n",
        host_key.display(),
        keys.display()
    );
    if let Some(command) = command {
        text += &format!("ForceCommand {command}\n");
    }
    text
}

/// A shell that waits for a line before it becomes the server.
fn spawn(dir: &Path, config: &Path, place: Place) -> Result<Child> {
    let log = std::fs::File::create(dir.join("log")).context("making sshd's log")?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    if place != Place::Loopback {
        command.args(["unshare", "--net"]);
    }
    command
        .args([
            "sh",
            "-c",
            "read -r go; exec /usr/sbin/sshd -D -e -f \"$1\"",
            "sh",
        ])
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log);
    command
        .spawn()
        .context("starting sshd (is openssh-server installed?)")
}

/// A pair of network devices, one of them in the server's namespace.
fn link(child: &Child, rate: u64) -> Result<()> {
    let pid = child.id().to_string();
    let near = format!("p2v{pid}");
    let far = format!("p2f{pid}");
    wait_for_own_network(child)?;
    let ip = |words: &[&str]| Cmd::new("ip", "making a link").args(words).run();
    let inside = |words: &[&str]| {
        Cmd::new("nsenter", "making a link")
            .args(["--net", "--target", &pid, "--"])
            .args(words)
            .run()
    };
    let rate = rate.to_string();
    let held = [
        "root", "tbf", "rate", &rate, "burst", "256k", "latency", "50ms",
    ];
    ip(&["link", "add", &near, "type", "veth", "peer", "name", &far])?;
    ip(&["link", "set", &far, "netns", &pid])?;
    ip(&["address", "add", &format!("{NEAR}/30"), "dev", &near])?;
    ip(&["link", "set", &near, "up"])?;
    inside(&["ip", "address", "add", &format!("{FAR}/30"), "dev", &far])?;
    inside(&["ip", "link", "set", &far, "up"])?;
    inside(&["ip", "link", "set", "lo", "up"])?;
    Cmd::new("tc", "holding a link to its rate")
        .args(["qdisc", "add", "dev", &near])
        .args(held)
        .run()?;
    let mut words = vec!["tc", "qdisc", "add", "dev", &far];
    words.extend(held);
    inside(&words)
}

/// Until unshare has been at work, the process is in our own network.
fn wait_for_own_network(child: &Child) -> Result<()> {
    let ours = std::fs::read_link("/proc/self/ns/net").context("looking at our network")?;
    let theirs = format!("/proc/{}/ns/net", child.id());
    for _ in 0..200 {
        if std::fs::read_link(&theirs).is_ok_and(|link| link != ours) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!("making a link: the server got no network of its own")
}
