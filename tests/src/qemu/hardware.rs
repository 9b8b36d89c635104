//! QEMU's command line: what a machine's parts are, an instance's or those of
//! a machine from before it moved.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Boot, MachineSpec};
use crate::ganeti_env;

/// The firmware of Debian's ovmf, newest layout first.
const FIRMWARE: &[(&str, &str)] = &[
    ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
    ("OVMF_CODE.fd", "OVMF_VARS.fd"),
];

/// What a disk of [`Hardware::Physical`] is called by, with which its by-id
/// links are made: `ata-LAB_DISK_Z1D2E3F4`.
const DISK: &str = "model=LAB DISK,serial=Z1D2E3F4";

/// The hardware address of [`Hardware::Physical`]'s network card.
pub const PHYSICAL_MAC: &str = "00:1b:21:0a:0b:0c";

/// What disks and network card a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardware {
    /// A Ganeti instance's: virtio, the console at the first serial port.
    Instance,
    /// Like a machine of steel: AHCI, an e1000e, the console at the second
    /// serial port.
    Physical,
}

/// All of it. The machine keeps its sockets and logs in `scratch`.
pub(super) fn command_line(spec: &MachineSpec, scratch: &Path, ssh_port: u16) -> Result<Command> {
    // PR_SET_PDEATHSIG: a killed test's machine would keep its images locked.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"])
        .args(["-name", "p2v-test", "-accel", "tcg,thread=multi"])
        .args(["-cpu", "max", "-smp", "2", "-m"])
        .arg(spec.memory.to_string())
        .args(["-display", "none", "-monitor", "none", "-no-user-config"])
        // A reboot ends the machine, so that a test sees it as an event.
        .arg("-no-reboot")
        .arg("-chardev")
        .arg(format!(
            "stdio,id=serial,signal=off,logfile={}",
            scratch.join("serial.log").display()
        ))
        .arg("-qmp")
        .arg(format!(
            "unix:{},server=on,wait=off",
            scratch.join("qmp").display()
        ))
        .arg("-netdev")
        .arg(format!("user,id=net0,hostfwd=tcp:127.0.0.1:{ssh_port}-:22"));
    match spec.hardware {
        Hardware::Instance => add_instance(&mut command),
        Hardware::Physical => add_physical(&mut command),
    }
    add_disks(&mut command, spec);
    match &spec.boot {
        Boot::Bios => {}
        Boot::Efi => add_firmware(&mut command, scratch)?,
        Boot::Direct {
            kernel,
            initrd,
            append,
        } => {
            command.arg("-kernel").arg(kernel);
            command.arg("-initrd").arg(initrd);
            command.args(["-append", append]);
        }
    }
    Ok(command)
}

fn add_instance(command: &mut Command) {
    command.args(["-serial", "chardev:serial", "-device"]);
    let mac = ganeti_env::mac(0);
    command.arg(format!("virtio-net-pci,netdev=net0,mac={mac},romfile="));
}

/// Its card is in the place of Intel's mainboards: enp0s25.
fn add_physical(command: &mut Command) {
    command.args(["-machine", "q35"]);
    command.args(["-serial", "null", "-serial", "chardev:serial", "-device"]);
    let place = "bus=pcie.0,addr=0x19,romfile=";
    command.arg(format!("e1000e,netdev=net0,mac={PHYSICAL_MAC},{place}"));
}

fn add_disks(command: &mut Command, spec: &MachineSpec) {
    for (index, disk) in spec.disks.iter().enumerate() {
        let snapshot = if spec.volatile { "on" } else { "off" };
        command.arg("-drive").arg(format!(
            "file={},format=raw,if=none,id=disk{index},cache=unsafe,snapshot={snapshot}",
            disk.display()
        ));
        // 0 is that of the kernel of a direct boot.
        let order = index + 1;
        let device = match spec.hardware {
            Hardware::Instance => "virtio-blk-pci".to_owned(),
            Hardware::Physical => format!("ide-hd,bus=ide.{index},{DISK}{index}"),
        };
        let device = format!("{device},drive=disk{index},bootindex={order}");
        command.arg("-device").arg(device);
    }
}

/// The firmware writes its variables: it gets a copy of them.
fn add_firmware(command: &mut Command, scratch: &Path) -> Result<()> {
    let dir = Path::new("/usr/share/OVMF");
    let (code, variables) = FIRMWARE
        .iter()
        .map(|(code, variables)| (dir.join(code), dir.join(variables)))
        .find(|(code, variables)| code.exists() && variables.exists())
        .context("looking for UEFI firmware in /usr/share/OVMF (is ovmf installed?)")?;
    let copy = scratch.join("variables.fd");
    std::fs::copy(&variables, &copy).with_context(|| format!("copying {}", variables.display()))?;
    command.arg("-drive").arg(format!(
        "if=pflash,format=raw,readonly=on,file={}",
        code.display()
    ));
    command
        .arg("-drive")
        .arg(format!("if=pflash,format=raw,file={}", copy.display()));
    Ok(())
}
