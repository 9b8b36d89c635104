//! What is planned can be carried out: on real filesystems, for disks of many
//! sizes.

mod fit;
mod made;

use p2v_fixes::machine::{BootMode, Hypervisor};
use p2v_transfer::target::{Target, TargetDisk};

const MIB: u64 = 1 << 20;

/// One with a disk of that size.
fn target(size: u64) -> Target {
    Target {
        p2v: String::new(),
        hostname: String::new(),
        instance: None,
        hypervisor: Hypervisor::Kvm,
        boot: BootMode::Bios,
        ram_booted: true,
        memory: 0,
        memory_available: 0,
        processors: 1,
        disks: vec![TargetDisk {
            device: "/dev/vda".to_owned(),
            size,
            sector_size: 512,
            in_use: None,
            holds: Vec::new(),
            plan_id: None,
            begun_from: None,
        }],
        nics: Vec::new(),
        missing_tools: Vec::new(),
        at_work: None,
        filesystems: Vec::new(),
    }
}
