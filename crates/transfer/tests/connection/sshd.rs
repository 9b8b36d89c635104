//! A real sshd on this machine's loopback, with keys of its own, whose only
//! login runs a script instead of an agent.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use p2v_sys::Cmd;
use p2v_transfer::connection::{Address, Link};
use p2v_transfer::protocol::{DataOrder, DataWork, VERSION};
use tempfile::TempDir;

/// The server; it ends with this.
pub struct Sshd {
    dir: TempDir,
    /// Where it listens.
    pub port: u16,
    server: Option<Child>,
}

impl Sshd {
    /// One whose login runs `script`, which finds its own directory in `$HERE`.
    pub fn start(script: &str) -> Self {
        Self::configured(script, "")
    }

    /// The same with more lines of configuration.
    pub fn configured(script: &str, more: &str) -> Self {
        let dir = p2v_testing::scratch("sshd");
        let mut sshd = Self {
            dir,
            port: free_port(),
            server: None,
        };
        for kind in ["ed25519", "ecdsa"] {
            key(&sshd.path(&format!("host_{kind}")), kind);
        }
        key(&sshd.path("user"), "ed25519");
        key(&sshd.path("stranger"), "ed25519");
        let text = format!(
            "#!/bin/bash\nHERE={}\n{script}\n",
            sshd.dir.path().display()
        );
        let command = sshd.path("agent");
        std::fs::write(&command, text).unwrap();
        std::fs::set_permissions(&command, PermissionsExt::from_mode(0o755)).unwrap();
        let public = std::fs::read_to_string(sshd.path("user.pub")).unwrap();
        let line = format!("restrict,command=\"exec {}\" {public}", command.display());
        std::fs::write(sshd.path("authorized_keys"), line).unwrap();
        let config = format!(
            "ListenAddress 127.0.0.1:{}\nHostKey {}\nHostKey {}\nPidFile none\n\
             AuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\n{more}\n",
            sshd.port,
            sshd.path("host_ed25519").display(),
            sshd.path("host_ecdsa").display(),
            sshd.path("authorized_keys").display(),
        );
        std::fs::write(sshd.path("config"), config).unwrap();
        sshd.run();
        sshd
    }

    /// Starts the server, which listens when this returns.
    pub fn run(&mut self) {
        // Debian's sshd wants it, also in the foreground.
        std::fs::create_dir_all("/run/sshd").unwrap();
        let log = std::fs::File::create(self.path("log")).unwrap();
        let server = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(self.path("config"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("openssh-server is installed");
        self.server = Some(server);
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(Instant::now() < deadline, "sshd: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server, but for its sessions.
    pub fn end(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Another machine takes its place.
    pub fn change_host_keys(&mut self) {
        self.end();
        for kind in ["ed25519", "ecdsa"] {
            let path = self.path(&format!("host_{kind}"));
            std::fs::remove_file(&path).unwrap();
            key(&path, kind);
        }
        self.run();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a file that the script writes holds now.
    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub fn log(&self) -> String {
        self.text("log")
    }

    /// The fingerprint of its host key of that kind.
    pub fn fingerprint(&self, kind: &str) -> String {
        let listed = Cmd::new("ssh-keygen", "listing a key")
            .arg("-lf")
            .arg(self.path(&format!("host_{kind}")))
            .read()
            .unwrap();
        listed.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// Its address with its user's key, and no host key.
    pub fn address(&self) -> Address {
        Address {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: "root".to_owned(),
            identity: Some(self.path("user")),
            host_keys: Vec::new(),
        }
    }

    /// A link to it.
    pub fn link(&self) -> Link {
        let mut address = self.address();
        address.host_keys = vec![self.fingerprint("ed25519")];
        Link::establish(&address, &mut |_| panic!("nobody need be asked")).unwrap()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.end();
    }
}

fn key(path: &Path, kind: &str) {
    Cmd::new("ssh-keygen", "making a key")
        .args(["-q", "-t", kind, "-N", "", "-f"])
        .arg(path)
        .run()
        .unwrap();
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// For the files of one volume, which the script need not understand.
pub fn data_order() -> DataOrder {
    DataOrder {
        v: VERSION,
        run: "r".to_owned(),
        plan_id: "p".to_owned(),
        volume: "vda1".to_owned(),
        work: DataWork::Files,
    }
}
