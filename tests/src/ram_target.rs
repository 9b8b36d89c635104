//! A RAM system without a machine: a root in RAM, with the agent behind a real
//! SSH server, in namespaces of its own. Its one disk is an image.
//!
//! It is as far from a real one as that its kernel is this machine's, its disk a
//! loop device by the name of /dev/vdt, and that its fixes are those that need
//! no system to run in. When it restarts, all of its processes end.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use p2v_sys::loopdev::{Extent, LoopDevice};

use crate::ssh::{self, Key};
use crate::{Lab, outcome, qemu, sshd};

/// Makes the root and becomes its SSH server.
const START: &str = include_str!("ram_target/start");

/// Where the agent looks for fixes.
const FIXES: &str = "etc/ganeti/instance-p2v-target/fixes.d";

/// The fixes that need no more of a system than its files.
const FILES_ALONE: [(&str, &str); 2] = [
    ("10-repair-fstab", "repair-fstab"),
    ("50-set-hostname", "set-hostname"),
];

/// Runs an order's agent; what it says of its restart and after never arrives.
const MUTE: &str = "#!/bin/sh\n\
    case $SSH_ORIGINAL_COMMAND in\n\
    *--data) exec sh -c \"$SSH_ORIGINAL_COMMAND\" ;;\n\
    *) sh -c \"$SSH_ORIGINAL_COMMAND\" | sed -u '/\"note\":\"restarting\"/,$d' ;;\n\
    esac\n";

/// Long enough for a machine that does other work besides.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running one.
#[derive(Debug)]
pub struct RamTarget {
    child: Child,
    port: u16,
    host_key: Key,
    log: PathBuf,
    // After its users.
    _disk: LoopDevice,
}

impl RamTarget {
    /// Starts one whose disk is that image. If it is `mute`, its last answer is
    /// lost when it restarts.
    pub fn start(lab: &Lab, image: &Path, mute: bool) -> Result<Self> {
        let files = tempfile::Builder::new()
            .prefix("ram-")
            .tempdir_in(lab.dir());
        let files = files.context("making its directory")?.keep();
        for directory in ["etc/ssh", "bin", "top", FIXES] {
            std::fs::create_dir_all(files.join(directory)).context("making its files")?;
        }
        let host_key = Key::generate(&files.join("etc/ssh/ssh_host_ed25519_key"))?;
        let port = qemu::free_port()?;
        sshd::authorize(&files.join("etc/ssh"), lab.key())?;
        let inside = Path::new("/etc/ssh");
        let text = sshd::configuration(
            ("127.0.0.1", port),
            &inside.join("ssh_host_ed25519_key"),
            &inside.join("authorized_keys"),
            mute.then_some("/etc/ssh/mute"),
        );
        write(&files.join("etc/ssh/sshd_config"), &text, 0o644)?;
        write(&files.join("etc/ssh/mute"), MUTE, 0o755)?;
        for (name, fix) in FILES_ALONE {
            let text = format!("#!/bin/sh\nexec p2v fix {fix}\n");
            write(&files.join(FIXES).join(name), &text, 0o755)?;
        }
        std::fs::copy(lab.binary(), files.join("bin/p2v")).context("giving it p2v")?;
        write(&files.join("start"), START, 0o755)?;
        let disk = LoopDevice::attach(image, Extent::default(), false)?;
        let log = files.join("log");
        let mut target = Self {
            child: spawn(&files, disk.path(), &log)?,
            port,
            host_key,
            log,
            _disk: disk,
        };
        target.wait_until_ready()?;
        Ok(target)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let address = ([127, 0, 0, 1], self.port).into();
        let begun = Instant::now();
        while !ssh::greets(address, begun) {
            let ended = self.child.try_wait().context("looking after it")?;
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("starting a RAM system: no SSH server; {ended:?}: {log}");
            }
            std::thread::sleep(ssh::PAUSE);
        }
        Ok(())
    }

    /// Its port on the loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its host key's fingerprint.
    pub fn fingerprint(&self) -> Result<String> {
        self.host_key.fingerprint()
    }

    /// Whether it has not restarted.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("looking after it")?.is_none())
    }

    /// Waits for its restart.
    pub fn wait_for_end(&mut self, within: Duration) -> Result<()> {
        outcome::wait(&mut self.child, within).map(drop)
    }
}

impl Drop for RamTarget {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(files: &Path, disk: &Path, log: &Path) -> Result<Child> {
    let log = std::fs::File::create(log).context("making its log")?;
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--pid"])
        .args(["--fork", "--kill-child=KILL", "--"])
        .arg(files.join("start"))
        .args([files, disk])
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("sharing its log")?)
        .stderr(log)
        .spawn()
        .context("starting a RAM system")
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    std::fs::write(path, text).with_context(doing)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).with_context(doing)
}
