//! The machine as it is found on the running target: its filesystems below the
//! root that is repaired, its network cards, and what Ganeti said.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use p2v_sys::{Cmd, Root};

use super::{BootMode, HostnamePolicy, Hypervisor, Machine, Nic, Volume};

/// What Ganeti said of the instance, kept for the fixes when it was created.
pub const GANETI_ENVIRONMENT: &str = "/usr/share/p2v-target/ganeti.env";

/// Kernel names of what no system was moved onto.
const NO_DISKS: [&str; 6] = ["loop", "ram", "zram", "sr", "fd", "nbd"];

/// Finds out what it can. `environment` overrides what was kept.
pub fn machine(root: &Root, environment: &BTreeMap<String, String>) -> Result<Machine> {
    let environment = with_kept(environment)?;
    let value = |name: &str| environment.get(name).map_or("", String::as_str);
    let volumes = volumes(root.path())?;
    let boot_disk = match value("BLOCKDEV") {
        "" => boot_disk(&volumes),
        disk => disk.to_owned(),
    };
    let hypervisor = Hypervisor::from_name(value("HYPERVISOR")).unwrap_or_else(running_under);
    let whole_disk = volumes
        .iter()
        .any(|volume| volume.mount_point.as_deref() == Some("/") && volume.device == boot_disk);
    Ok(Machine {
        hypervisor,
        instance: value("INSTANCE_NAME").to_owned(),
        hostname: match value("HOSTNAME_POLICY") {
            "instance" => HostnamePolicy::Instance,
            _ => HostnamePolicy::Keep,
        },
        boot: boot_mode(hypervisor, whole_disk),
        boot_disk,
        volumes,
        nics: nics(root)?,
        consoles: consoles(),
        serial_speed: value("INSTANCE_HV_serial_speed").parse().unwrap_or(0),
        ..Machine::default()
    })
}

/// The hypervisor, and the instance's name if Ganeti has told it.
pub fn ganeti() -> Result<(Hypervisor, Option<String>)> {
    let kept = with_kept(&BTreeMap::new())?;
    let value = |name: &str| kept.get(name).filter(|value| !value.is_empty());
    let hypervisor = value("HYPERVISOR").and_then(|name| Hypervisor::from_name(name));
    Ok((
        hypervisor.unwrap_or_else(running_under),
        value("INSTANCE_NAME").cloned(),
    ))
}

/// The environment of operators' fixes.
pub fn part_environment(root: &Path, machine: &Machine) -> Result<BTreeMap<OsString, OsString>> {
    let target = std::fs::canonicalize(root)
        .with_context(|| format!("finding the root {}", root.display()))?;
    let system = machine.mounted_on("/");
    let mut all = BTreeMap::from([
        ("TARGET".into(), target.into_os_string()),
        ("BLOCKDEV".into(), machine.boot_disk.clone().into()),
        (
            "FSYSDEV".into(),
            system.map_or_else(OsString::new, |volume| volume.device.clone().into()),
        ),
        ("HYPERVISOR".into(), machine.hypervisor.name().into()),
        ("INSTANCE_NAME".into(), machine.instance.clone().into()),
        ("NIC_COUNT".into(), machine.nics.len().to_string().into()),
    ]);
    for (index, nic) in machine.nics.iter().enumerate() {
        all.insert(format!("NIC_{index}_MAC").into(), nic.mac.clone().into());
    }
    let kept = with_kept(&BTreeMap::new())?;
    let kept = kept
        .into_iter()
        .filter(|(name, _)| name.starts_with("NIC_"));
    all.extend(kept.map(|(name, value)| (name.into(), value.into())));
    Ok(all)
}

fn with_kept(environment: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    match std::fs::read_to_string(GANETI_ENVIRONMENT) {
        Ok(text) => {
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            all.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("reading {GANETI_ENVIRONMENT}"));
        }
    }
    all.extend(environment.clone());
    Ok(all)
}

fn running_under() -> Hypervisor {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    match read("/sys/hypervisor/type").trim() {
        "xen" if read("/sys/hypervisor/guest_type").trim() == "HVM" => Hypervisor::XenHvm,
        "xen" => Hypervisor::XenPvm,
        _ => Hypervisor::Kvm,
    }
}

/// A paravirtual machine has no firmware, and a disk without partitions no
/// place for a boot loader: both get their kernel from the node.
fn boot_mode(hypervisor: Hypervisor, whole_disk: bool) -> BootMode {
    match Path::new("/sys/firmware/efi").exists() {
        _ if hypervisor == Hypervisor::XenPvm || whole_disk => BootMode::Direct,
        true => BootMode::Efi,
        false => BootMode::Bios,
    }
}

/// A kernel that is told of a console without a port hangs, or loses messages.
fn consoles() -> Vec<String> {
    let has = |name: &&str| match *name {
        // Its type is 0 where there is a driver but no port.
        "ttyS0" => std::fs::read_to_string("/sys/class/tty/ttyS0/type")
            .is_ok_and(|kind| kind.trim() != "0"),
        name => Path::new("/sys/class/tty").join(name).exists(),
    };
    let all = ["tty0", "ttyS0", "hvc0"].iter().filter(|name| has(name));
    all.map(|name| (*name).to_owned()).collect()
}

/// The filesystems that are mounted at and below `root`, and all swap areas.
fn volumes(root: &Path) -> Result<Vec<Volume>> {
    let mut volumes: Vec<Volume> = Vec::new();
    let mounted = mounted_below(root)?;
    for identity in identities(&mounted)? {
        let at = |(device, _): &&(PathBuf, String)| device.as_os_str() == identity.device.as_str();
        let mount_point = mounted.iter().find(at).map(|(_, point)| point.clone());
        if mount_point.is_some() || identity.is_swap() {
            volumes.push(Volume {
                mount_point,
                ..identity
            });
        }
    }
    Ok(volumes)
}

/// Devices and where in the root they are mounted.
fn mounted_below(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let root = std::fs::canonicalize(root)
        .with_context(|| format!("finding the root {}", root.display()))?;
    let text = std::fs::read_to_string("/proc/self/mounts").context("reading the mounts")?;
    let mut mounted = Vec::new();
    for line in text.lines() {
        let mut fields = line.split(' ').map(super::specs::octal_decoded);
        let (Some(device), Some(point)) = (fields.next(), fields.next()) else {
            continue;
        };
        let Ok(inside) = Path::new(&point).strip_prefix(&root) else {
            continue;
        };
        if let Ok(device) = std::fs::canonicalize(&device) {
            mounted.push((device, format!("/{}", inside.display())));
        }
    }
    Ok(mounted)
}

/// Every disk and partition with a signature, as blkid reads it anew, and what
/// else is mounted.
fn identities(mounted: &[(PathBuf, String)]) -> Result<Vec<Volume>> {
    let mut names: Vec<String> = std::fs::read_dir("/sys/class/block")
        .context("listing the disks")?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !NO_DISKS.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    names.sort();
    let mut devices: Vec<String> = names.iter().map(|name| format!("/dev/{name}")).collect();
    for (device, _) in mounted {
        let device = device.to_string_lossy().into_owned();
        if device.starts_with("/dev/") && !devices.contains(&device) {
            devices.push(device);
        }
    }
    let identity_of = |device: String| -> Option<Volume> {
        // A disk that does not answer must not hold up the repair of others.
        let doing = format!("looking what {device} holds");
        let text = Cmd::new("blkid", doing)
            .args(["--cache-file", "/dev/null", "--output", "export"])
            .arg(&device)
            .timeout(std::time::Duration::from_secs(20))
            .read_answer(&[2]);
        identity(&text.ok()?.1)
    };
    Ok(devices.into_iter().filter_map(identity_of).collect())
}

fn identity(block: &str) -> Option<Volume> {
    let value = |name: &str| {
        let line = |line: &str| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        // blkid escapes with backslashes for a shell.
        block
            .lines()
            .find_map(line)
            .map(|text| text.replace('\\', ""))
    };
    Some(Volume {
        device: value("DEVNAME")?,
        kind: value("TYPE")?,
        uuid: value("UUID"),
        label: value("LABEL"),
        partuuid: value("PARTUUID"),
        partlabel: value("PARTLABEL"),
        ..Volume::default()
    })
}

/// The disk that holds `/boot`, or else the root.
fn boot_disk(volumes: &[Volume]) -> String {
    let on = |point: &str| {
        let here = |volume: &&Volume| volume.mount_point.as_deref() == Some(point);
        volumes
            .iter()
            .find(here)
            .map(|volume| volume.device.clone())
    };
    let Some(device) = on("/boot").or_else(|| on("/")) else {
        return String::new();
    };
    let name = device.trim_start_matches("/dev/");
    let parent = std::fs::canonicalize(format!("/sys/class/block/{name}/.."));
    let parent = parent
        .ok()
        .and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    match parent {
        Some(parent) if Path::new("/sys/block").join(&parent).exists() => format!("/dev/{parent}"),
        _ => device,
    }
}

/// The cards in the order of the kernel's names.
fn nics(root: &Root) -> Result<Vec<Nic>> {
    let predictable = names_predictably(root)?;
    let mut names: Vec<String> = std::fs::read_dir("/sys/class/net")
        .context("listing the network cards")?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            Path::new("/sys/class/net")
                .join(name)
                .join("device")
                .exists()
        })
        .collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    let card = |(index, name): (usize, &String)| -> Result<Nic> {
        let mac = std::fs::read_to_string(format!("/sys/class/net/{name}/address"))
            .with_context(|| format!("reading the address of {name}"))?;
        let predicted = predictable.then(|| predicted(name)).flatten();
        Ok(Nic {
            mac: mac.trim().to_owned(),
            name: predicted.unwrap_or_else(|| format!("eth{index}")),
            ..Nic::default()
        })
    };
    names.iter().enumerate().map(card).collect()
}

/// Whether the transferred system names its cards after their place: systemd's
/// udev does since 197, unless it is told not to.
fn names_predictably(root: &Root) -> Result<bool> {
    let has = |name: &str| {
        ["lib", "usr/lib"]
            .iter()
            .any(|lib| root.exists(format!("{lib}/{name}")))
    };
    let by_rules =
        has("udev/rules.d/80-net-name-slot.rules") || has("systemd/network/99-default.link");
    let masked = |path: &str| {
        let link = root.read_link(path)?;
        anyhow::Ok(link.is_some_and(|link| link == Path::new("/dev/null")))
    };
    let off = masked("etc/udev/rules.d/80-net-name-slot.rules")?
        || masked("etc/udev/rules.d/80-net-setup-link.rules")?
        || masked("etc/systemd/network/99-default.link")?;
    let draft = crate::draft::Draft::new(root);
    // What cannot be read is for the fixes to name, each its own.
    let lines = crate::cmdline::CommandLines::find(&draft);
    let told = lines.is_ok_and(|lines| lines.has_word("net.ifnames=0"));
    Ok(by_rules && !off && !told)
}

/// What udev would call the card by its place.
fn predicted(name: &str) -> Option<String> {
    let text = Cmd::new("udevadm", format!("looking at the card {name}"))
        .args(["info", "--query=property", "--path"])
        .arg(format!("/sys/class/net/{name}"))
        .read()
        .ok()?;
    let property = |key: &str| {
        let line = |line: &str| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned());
        text.lines().find_map(line)
    };
    property("ID_NET_NAME_ONBOARD")
        .or_else(|| property("ID_NET_NAME_SLOT"))
        .or_else(|| property("ID_NET_NAME_PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blkid_is_understood() {
        let text = "DEVNAME=/dev/vda1\nLABEL=my\\ root\nUUID=aaaa\nTYPE=ext4\nPARTUUID=0001-01";
        let volume = identity(text).unwrap();
        assert_eq!(volume.label.as_deref(), Some("my root"));
        assert_eq!(
            (volume.device.as_str(), volume.kind.as_str()),
            ("/dev/vda1", "ext4")
        );
        assert_eq!(identity("DEVNAME=/dev/vda\nPTTYPE=dos"), None);
    }

    #[test]
    fn this_machine_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let given = [
            ("HYPERVISOR", "xen-pvm"),
            ("INSTANCE_NAME", "a.example.com"),
            ("BLOCKDEV", "/dev/xvda"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let found = machine(&root, &given.into_iter().collect()).unwrap();
        assert_eq!(found.hypervisor, Hypervisor::XenPvm);
        assert_eq!(found.boot_disk, "/dev/xvda");
        // Nothing here is mounted below the test's root.
        assert!(found.mounted_on("/").is_none());
    }

    #[test]
    fn a_file_that_cannot_be_read_keeps_no_other_fix_from_running() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/kernel/cmdline")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let draft = crate::draft::Draft::new(&root);
        assert!(crate::cmdline::CommandLines::find(&draft).is_err());
        machine(&root, &BTreeMap::new()).unwrap();
    }
}
