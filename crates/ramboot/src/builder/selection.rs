//! Which modules go into the initrd.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::modules::{Found, Index, Module};

/// What the disks, networks and consoles of virtual machines need, and the
/// root's file system: the hardware that Ganeti's hypervisors present, and
/// VMware's. By name or alias; what they depend on follows from the indexes.
/// One that a kernel lacks is no error: it may have it under another name.
const USUAL: &[&str] = &[
    // KVM's own devices, on PCI and, for microvm, memory-mapped.
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_scsi",
    "virtio_net",
    "virtio_balloon",
    "virtio_rng",
    "virtio_console",
    // Xen's.
    "xen_blkfront",
    "xen_netfront",
    "xen_scsifront",
    // Disks behind SCSI, and the controllers that QEMU and VMware emulate:
    // lsi53c895a, megasas, LSI Logic parallel, pvscsi.
    "sd_mod",
    "sym53c8xx",
    "megaraid_sas",
    "mptspi",
    "vmw_pvscsi",
    // IDE and SATA, and NVMe.
    "ahci",
    "ata_piix",
    "ata_generic",
    "nvme",
    // Emulated network cards.
    "e1000",
    "e1000e",
    // The root's file system. ext4 serves ext2 and ext3 where there are no
    // modules of these names.
    "ext2",
    "ext3",
    "ext4",
    "xfs",
    "btrfs",
    // What checksums of ext4, xfs and btrfs ask the crypto layer for by name,
    // in kernels whose modules do not say so.
    "crypto-crc32c",
];

/// The modules chosen, and what was looked for in vain.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    /// Sorted by path, so that neighbours are of a kind.
    pub(super) modules: Vec<&'a Module>,
    /// Of the usual ones.
    pub(super) absent: Vec<&'static str>,
}

impl<'a> Selection<'a> {
    /// The usual modules, `extra` (names or aliases, of which an unknown one
    /// is an error), and all that they depend on.
    pub(super) fn choose(index: &'a Index, extra: &[String]) -> Result<Self> {
        let mut chosen = BTreeMap::new();
        let mut absent = Vec::new();
        for wanted in USUAL {
            if !add(index, wanted, &mut chosen) {
                absent.push(*wanted);
            }
        }
        let unknown: Vec<_> = extra
            .iter()
            .filter(|wanted| !add(index, wanted, &mut chosen))
            .map(String::as_str)
            .collect();
        if !unknown.is_empty() {
            bail!(
                "there is no module {}: take a name that is in lib/modules/VERSION/modules.dep of \
                 the root",
                unknown.join(", nor ")
            );
        }
        for module in chosen.values() {
            complete(index, module)?;
        }
        Ok(Self {
            modules: chosen.into_values().collect(),
            absent,
        })
    }
}

/// Adds what `wanted` leads to and all that this depends on. False if it
/// leads to nothing.
fn add<'a>(index: &'a Index, wanted: &str, chosen: &mut BTreeMap<&'a str, &'a Module>) -> bool {
    for step in index.plan(wanted) {
        chosen.insert(&step.module.path, step.module);
    }
    index.find(wanted) != Found::Nothing
}

/// Fails if modules.dep lacks a line for something that the module needs.
fn complete(index: &Index, module: &Module) -> Result<()> {
    let lost = |need: &&String| index.module(need).is_none();
    match module.needs.iter().find(lost) {
        Some(need) => bail!(
            "module {} needs {need}, which modules.dep does not list; depmod brings it into line",
            module.name
        ),
        None => Ok(()),
    }
}
