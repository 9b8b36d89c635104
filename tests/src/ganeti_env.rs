//! The environment that Ganeti's node daemon gives to an OS definition's
//! scripts, API 20, written down from ganeti-os-interface(7) and from what
//! Ganeti 3.0 sends: nothing else is in it, not even HOME.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What Ganeti puts into PATH for scripts.
const PATH: &str = "/sbin:/bin:/usr/sbin:/usr/bin";

/// An instance as Ganeti describes it to `create`.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Full host name.
    pub name: String,
    /// OS_API_VERSION: 20, 15 or 10.
    pub api: u32,
    /// OS_VARIANT, from API 15 on.
    pub variant: Option<String>,
    /// The disks' paths on the node, in order.
    pub disks: Vec<PathBuf>,
    /// The network interfaces, in order.
    pub nics: Vec<Nic>,
    /// OS parameters by their lower-case names.
    pub parameters: BTreeMap<String, String>,
    /// INSTANCE_REINSTALL.
    pub reinstall: bool,
    /// DEBUG_LEVEL.
    pub debug: bool,
    /// Variables set, changed or (with `None`) taken away at the end.
    pub overrides: BTreeMap<String, Option<String>>,
}

/// A network interface as Ganeti describes it.
#[derive(Debug, Clone, Default)]
pub struct Nic {
    /// The IP address, if Ganeti knows one.
    pub ip: Option<String>,
    /// The IPv4 network in CIDR notation and its gateway.
    pub network: Option<(String, String)>,
    /// The IPv6 network in CIDR notation and its gateway.
    pub network6: Option<(String, String)>,
}

impl Instance {
    /// A KVM instance with one disk and one interface that knows no address.
    pub fn new(name: &str, disk: &Path) -> Self {
        Self {
            name: name.to_owned(),
            api: 20,
            variant: Some("default".to_owned()),
            disks: vec![disk.to_owned()],
            nics: vec![Nic::default()],
            parameters: BTreeMap::new(),
            reinstall: false,
            debug: false,
            overrides: BTreeMap::new(),
        }
    }

    /// Adds an OS parameter.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets a variable to something else than Ganeti would.
    #[must_use]
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.overrides
            .insert(variable.to_owned(), Some(value.to_owned()));
        self
    }

    /// Leaves a variable out.
    #[must_use]
    pub fn without(mut self, variable: &str) -> Self {
        self.overrides.insert(variable.to_owned(), None);
        self
    }

    /// The whole environment of `create`.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut env = self.core();
        for (index, disk) in self.disks.iter().enumerate() {
            disk_variables(&mut env, index, disk);
        }
        for (index, nic) in self.nics.iter().enumerate() {
            nic_variables(&mut env, index, nic);
        }
        for (name, value) in PARAMETERS_OF_KVM {
            env.insert((*name).to_owned(), (*value).to_owned());
        }
        for (name, value) in &self.parameters {
            let variable = format!("OSP_{}", name.to_ascii_uppercase());
            env.insert(variable, value.clone());
        }
        for (name, value) in &self.overrides {
            match value {
                Some(value) => env.insert(name.clone(), value.clone()),
                None => env.remove(name),
            };
        }
        env
    }

    fn core(&self) -> BTreeMap<String, String> {
        let os = match &self.variant {
            Some(variant) => format!("p2v-target+{variant}"),
            None => "p2v-target".to_owned(),
        };
        let mut pairs = vec![
            ("PATH", PATH.to_owned()),
            ("OS_API_VERSION", self.api.to_string()),
            ("OS_NAME", os.clone()),
            ("INSTANCE_OS", os),
            ("INSTANCE_NAME", self.name.clone()),
            (
                "INSTANCE_UUID",
                "0b9a3d0e-5b0b-4cf1-9d0b-1f2f0d3c4b5a".to_owned(),
            ),
            ("INSTANCE_CTIME", "1700000000.0".to_owned()),
            ("INSTANCE_MTIME", "1700000000.0".to_owned()),
            (
                "INSTANCE_PRIMARY_NODE",
                "5f6e2a70-93a3-4d86-8f38-5a1f0e6d7c8b".to_owned(),
            ),
            ("INSTANCE_SECONDARY_NODES", String::new()),
            ("HYPERVISOR", "kvm".to_owned()),
            ("DISK_COUNT", self.disks.len().to_string()),
            ("NIC_COUNT", self.nics.len().to_string()),
            ("DEBUG_LEVEL", u8::from(self.debug).to_string()),
        ];
        if self.api >= 15 {
            let variant = self.variant.clone().unwrap_or_default();
            pairs.push(("OS_VARIANT", variant));
        }
        if self.reinstall {
            pairs.push(("INSTANCE_REINSTALL", "1".to_owned()));
        }
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// Ganeti exports every hypervisor and backend parameter; these are the ones
/// that a script may look at.
const PARAMETERS_OF_KVM: &[(&str, &str)] = &[
    ("INSTANCE_BE_auto_balance", "True"),
    ("INSTANCE_BE_maxmem", "2048"),
    ("INSTANCE_BE_memory", "2048"),
    ("INSTANCE_BE_minmem", "2048"),
    ("INSTANCE_BE_vcpus", "2"),
    ("INSTANCE_HV_acpi", "True"),
    ("INSTANCE_HV_boot_order", "disk"),
    ("INSTANCE_HV_disk_type", "paravirtual"),
    ("INSTANCE_HV_initrd_path", ""),
    ("INSTANCE_HV_kernel_args", "ro"),
    ("INSTANCE_HV_kernel_path", ""),
    ("INSTANCE_HV_nic_type", "paravirtual"),
    ("INSTANCE_HV_root_path", "/dev/vda1"),
    ("INSTANCE_HV_serial_console", "True"),
    ("INSTANCE_HV_serial_speed", "38400"),
];

fn disk_variables(env: &mut BTreeMap<String, String>, index: usize, disk: &Path) {
    use std::os::unix::fs::FileTypeExt;
    let block = std::fs::metadata(disk).is_ok_and(|m| m.file_type().is_block_device());
    let backend = if block { "block" } else { "file:loop" };
    let pairs = [
        ("PATH", disk.display().to_string()),
        ("ACCESS", "rw".to_owned()),
        ("BACKEND_TYPE", backend.to_owned()),
        ("FRONTEND_TYPE", "paravirtual".to_owned()),
        ("UUID", format!("6f0e8a52-0d5c-4b8e-8f1a-{:012}", index + 1)),
    ];
    for (name, value) in pairs {
        env.insert(format!("DISK_{index}_{name}"), value);
    }
}

fn nic_variables(env: &mut BTreeMap<String, String>, index: usize, nic: &Nic) {
    let mut set = |name: &str, value: &str| {
        env.insert(format!("NIC_{index}_{name}"), value.to_owned());
    };
    set("MAC", &mac(index));
    set(
        "UUID",
        &format!("9d6c1f3e-7a2b-4c5d-9e8f-{:012}", index + 1),
    );
    set("MODE", "bridged");
    set("LINK", "br0");
    set("BRIDGE", "br0");
    set("FRONTEND_TYPE", "paravirtual");
    // Sent even when Ganeti knows no address.
    set("IP", nic.ip.as_deref().unwrap_or_default());
    if nic.network.is_some() || nic.network6.is_some() {
        set("NETWORK_NAME", "lab-net");
        set("NETWORK_UUID", "2c4a6e80-1b3d-4f5a-8c7e-9d0b1a2c3e4f");
        set("NETWORK_TAGS", "");
    }
    if let Some((subnet, gateway)) = &nic.network {
        set("NETWORK_SUBNET", subnet);
        set("NETWORK_GATEWAY", gateway);
    }
    if let Some((subnet, gateway)) = &nic.network6 {
        set("NETWORK_SUBNET6", subnet);
        set("NETWORK_GATEWAY6", gateway);
    }
}

/// The hardware address of an instance's interface; the virtual machine that
/// boots the disk gets the same.
pub fn mac(index: usize) -> String {
    format!("aa:00:00:20:20:{index:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_inherited_and_overrides_win() {
        let instance = Instance::new("a.example", Path::new("/no/disk"))
            .parameter("filesystem", "xfs")
            .with("HYPERVISOR", "fake")
            .without("NIC_COUNT");
        let env = instance.environment();
        assert_eq!(env["OSP_FILESYSTEM"], "xfs");
        assert_eq!(env["HYPERVISOR"], "fake");
        assert_eq!(env["DISK_0_BACKEND_TYPE"], "file:loop");
        assert!(!env.contains_key("NIC_COUNT"));
        assert!(!env.contains_key("HOME"));
        assert!(!env.contains_key("INSTANCE_REINSTALL"));
    }

    #[test]
    fn older_interfaces_know_no_variant() {
        let mut instance = Instance::new("a.example", Path::new("/no/disk"));
        assert!(instance.environment().contains_key("OS_VARIANT"));
        instance.api = 10;
        assert!(!instance.environment().contains_key("OS_VARIANT"));
    }
}
