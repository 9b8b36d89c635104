//! A virtual machine under QEMU's software emulation, which boots a stock
//! kernel on any host: /dev/kvm may exist and still not do that.
//!
//! The machine ends with its guard, and with this process however that dies.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::console::Console;
use crate::outcome;
use crate::ssh;
use crate::vm_slot::VmSlot;

mod hardware;

pub use hardware::Hardware;

/// The console's words for what has been reached.
const PHASES: &[(&str, &str)] = &[
    ("kernel", "Linux version "),
    ("init", "moving the root into RAM"),
    ("copy", "into RAM: "),
    ("disk released", "disk released: "),
    ("systemd", "systemd 2"),
];

/// How a machine starts.
#[derive(Debug, Clone)]
pub enum Boot {
    /// SeaBIOS runs the first disk's boot loader.
    Bios,
    /// OVMF runs the removable-media path of the first disk's ESP.
    Efi,
    /// QEMU itself loads a kernel, as Ganeti does with kernel_path set.
    Direct {
        /// The kernel's image.
        kernel: PathBuf,
        /// The initrd.
        initrd: PathBuf,
        /// The whole command line.
        append: String,
    },
}

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// The firmware or kernel to start.
    pub boot: Boot,
    /// RAM in MiB.
    pub memory: u32,
    /// What its disks and network card are.
    pub hardware: Hardware,
    /// Raw images, as disks vda, vdb, ... or sda, sdb, ...
    pub disks: Vec<PathBuf>,
    /// Whether what the guest writes is thrown away at the end.
    pub volatile: bool,
}

impl MachineSpec {
    /// A machine of 2 GiB with one disk, whose writes are kept.
    pub fn new(boot: Boot, disk: &Path) -> Self {
        Self {
            boot,
            memory: 2048,
            hardware: Hardware::Instance,
            disks: vec![disk.to_owned()],
            volatile: false,
        }
    }

    /// The same as another kind of machine.
    #[must_use]
    pub fn hardware(mut self, hardware: Hardware) -> Self {
        self.hardware = hardware;
        self
    }

    /// The same with other RAM, in MiB.
    #[must_use]
    pub fn memory(mut self, mib: u32) -> Self {
        self.memory = mib;
        self
    }

    /// The same with the images left as they are.
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }
}

/// A running virtual machine; dropping it ends it.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    console: Console,
    qmp: Qmp,
    errors: PathBuf,
    ssh_port: u16,
    started: Instant,
    _slot: VmSlot,
}

impl Machine {
    /// Waits for its turn and starts. `dir` gets its sockets and serial.log.
    pub fn start(spec: &MachineSpec, dir: &Path) -> Result<Self> {
        let slot = VmSlot::wait()?;
        let ssh_port = free_port()?;
        let scratch = tempfile::Builder::new()
            .prefix("vm-")
            .tempdir_in(dir)
            .context("making the machine's directory")?
            .keep();
        let log = scratch.join("serial.log");
        let socket = scratch.join("qmp");
        let mut command = hardware::command_line(spec, &scratch, ssh_port)?;
        let errors = scratch.join("qemu.log");
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors).context("making qemu's log")?)
            .spawn()
            .context("starting qemu-system-x86_64 (is qemu-system-x86 installed?)")?;
        let output = child.stdout.take().context("taking qemu's output")?;
        let console = Console::follow(output, &log);
        let qmp = match Qmp::connect(&socket, &mut child) {
            Ok(qmp) => qmp,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                let said = std::fs::read_to_string(&errors).unwrap_or_default();
                return Err(error.context(format!("starting qemu: {}", said.trim())));
            }
        };
        Ok(Self {
            child,
            console,
            qmp,
            errors,
            ssh_port,
            started,
            _slot: slot,
        })
    }

    /// Its serial console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// The local port that leads to the guest's port 22.
    pub fn ssh_port(&self) -> u16 {
        self.ssh_port
    }

    /// The time since QEMU was started.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for the SSH server's greeting and returns the time since QEMU was
    /// started. Ends early, with the console's end, when the machine does.
    pub fn wait_for_ssh(&mut self, within: Duration) -> Result<Duration> {
        let begun = Instant::now();
        let address = (Ipv4Addr::LOCALHOST, self.ssh_port).into();
        while !ssh::greets(address, begun) {
            if self.child.try_wait().context("looking at qemu")?.is_some() {
                bail!("qemu ended: {}. {}", self.said(), self.console.tail());
            }
            if begun.elapsed() >= within {
                bail!(
                    "waiting for an SSH server at {address}: none within {} s. {}",
                    within.as_secs(),
                    self.console.tail()
                );
            }
            std::thread::sleep(ssh::PAUSE);
        }
        Ok(self.started.elapsed())
    }

    /// What QEMU itself had to say.
    fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.errors).unwrap_or_default();
        text.trim().to_owned()
    }

    /// When each phase of a boot into RAM that has been seen began, since QEMU
    /// was started.
    pub fn phases(&self) -> Vec<(&'static str, Duration)> {
        PHASES
            .iter()
            .filter_map(|(name, text)| Some((*name, self.console.when(text)?)))
            .collect()
    }

    /// Presses the power button, as a cluster does to shut an instance down.
    pub fn press_power_button(&mut self) -> Result<()> {
        self.qmp.send("system_powerdown")
    }

    /// Waits until the guest has ended the machine; "guest-shutdown" for a
    /// power-off, "guest-reset" for a reboot, "guest-panic".
    pub fn wait_for_end(&mut self, within: Duration) -> Result<String> {
        let reason = self
            .qmp
            .wait_for_shutdown(within)
            .with_context(|| format!("waiting for the machine to end. {}", self.console.tail()))?;
        outcome::wait(&mut self.child, Duration::from_secs(10))?;
        Ok(reason)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It has no state that would need an orderly end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on at the moment.
/// A port that nobody listens at now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    let address = listener.local_addr().context("looking for a free port")?;
    Ok(address.port())
}

/// QEMU's machine protocol: lines of JSON. Of what comes back only events
/// matter.
#[derive(Debug)]
struct Qmp {
    lines: BufReader<UnixStream>,
    partial: String,
    events: VecDeque<Value>,
}

impl Qmp {
    fn connect(socket: &Path, child: &mut Child) -> Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) => {
                    let ended = child.try_wait().context("looking at qemu")?;
                    if ended.is_some() || Instant::now() > deadline {
                        return Err(error).context("connecting to qemu's control socket");
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        };
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .context("setting up qemu's control socket")?;
        let mut qmp = Self {
            lines: BufReader::new(stream),
            partial: String::new(),
            events: VecDeque::new(),
        };
        qmp.send("qmp_capabilities")?;
        Ok(qmp)
    }

    fn send(&mut self, command: &str) -> Result<()> {
        let request = json!({ "execute": command }).to_string();
        self.lines
            .get_mut()
            .write_all(request.as_bytes())
            .context("writing to qemu's control socket")
    }

    fn wait_for_shutdown(&mut self, within: Duration) -> Result<String> {
        let deadline = Instant::now() + within;
        loop {
            while let Some(event) = self.events.pop_front() {
                if event["event"] == "SHUTDOWN" {
                    let reason = event["data"]["reason"].as_str().unwrap_or("unknown");
                    return Ok(reason.to_owned());
                }
            }
            if Instant::now() >= deadline {
                bail!("it still ran after {} s", within.as_secs());
            }
            self.read_line()?;
        }
    }

    fn read_line(&mut self) -> Result<()> {
        use std::io::ErrorKind;
        match self.lines.read_line(&mut self.partial) {
            Ok(0) => bail!("qemu ended without saying why"),
            Ok(_) => {
                let value = serde_json::from_str(&self.partial)
                    .with_context(|| format!("parsing qemu's line {:?}", self.partial))?;
                self.events.push_back(value);
                self.partial.clear();
                Ok(())
            }
            // What came of a line so far stays in `partial`.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(())
            }
            Err(error) => Err(error).context("reading qemu's control socket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Real mode code that writes "P2V" to the first serial port and asks
    /// QEMU's ACPI power management (PIIX4, port 0x604) to power off.
    const BOOT_SECTOR: &[u8] = &[
        0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xb0, b'P', 0xee, // mov al, 'P'; out dx, al
        0xb0, b'2', 0xee, //
        0xb0, b'V', 0xee, //
        0xba, 0x04, 0x06, // mov dx, 0x604
        0xb8, 0x00, 0x20, // mov ax, 0x2000
        0xef, // out dx, ax
        0xf4, 0xeb, 0xfd, // hlt; jmp back
    ];

    #[test]
    fn a_boot_sector_is_run_heard_and_its_end_seen() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        let mut sector = BOOT_SECTOR.to_vec();
        sector.resize(1 << 20, 0);
        sector[510..512].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(&disk, sector).unwrap();
        let spec = MachineSpec::new(Boot::Bios, &disk).memory(64);
        let mut machine = Machine::start(&spec, dir.path()).unwrap();
        let soon = Duration::from_secs(60);
        machine.console().expect("P2V", soon).unwrap();
        assert_eq!(machine.wait_for_end(soon).unwrap(), "guest-shutdown");
    }

    #[test]
    fn a_dropped_machine_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        std::fs::write(&disk, [0; 4096]).unwrap();
        let spec = MachineSpec::new(Boot::Bios, &disk).memory(64);
        let machine = Machine::start(&spec, dir.path()).unwrap();
        assert!(!crate::leftovers::find(dir.path()).is_empty());
        drop(machine);
        crate::leftovers::assert_none(dir.path());
    }
}
