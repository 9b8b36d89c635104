//! Whether the target can take the machine.

use std::path::Path;

use p2v_fixes::machine::{BootMode, Hypervisor};

use super::Finding;
use crate::plan::{Fill, Plan, PlannedDisk, size_text};
use crate::source::Source;
use crate::target::{ABOUT_ANOTHER, Target, TargetDisk};

/// With less memory free, in bytes, mkfs and the fixes' programs may be killed
/// for want of it.
pub const LEAST_MEMORY: u64 = 256 << 20;

/// With less than this an initramfs that must be rebuilt may not be.
pub const EASY_MEMORY: u64 = 512 << 20;

/// All about the target.
pub fn findings(source: &Source, target: &Target, plan: &Plan) -> Vec<Finding> {
    let mut findings = vec![ram_booted(target), memory(target)];
    let there = |planned: &PlannedDisk| {
        let is_it = |disk: &&TargetDisk| Path::new(&disk.device) == planned.device;
        target.disks.iter().find(is_it)
    };
    if let Some(other) = &target.at_work {
        findings.push(Finding::error(format!("{other}: {ABOUT_ANOTHER}")));
    }
    for planned in &plan.disks {
        // One that is not there is a fault of the plan.
        if let Some(disk) = there(planned) {
            findings.extend(disk_findings(planned, disk, plan));
        }
    }
    findings.push(boot_mode(target, plan));
    findings.extend(network(source, target));
    findings.extend(tools(target, plan));
    findings.extend(kernel(target, plan));
    findings.extend(version(target));
    findings
}

fn ram_booted(target: &Target) -> Finding {
    let name = target.instance.as_deref().unwrap_or(&target.hostname);
    if target.ram_booted {
        return Finding::good(format!("{name} runs in RAM, started by p2v-target"));
    }
    Finding::error(format!(
        "{name} is not running in RAM as p2v-target starts it, and its disks are its own"
    ))
    .remedy(format!(
        "check the address; if it is right, put p2v-target on it, which erases it (gnt-instance \
         shutdown {name}; gnt-instance reinstall -o p2v-target+default {name}; gnt-instance \
         start {name})"
    ))
}

fn memory(target: &Target) -> Finding {
    let (free, all) = (size_text(target.memory_available), size_text(target.memory));
    let more = "give it more (gnt-instance modify -B memory=..., then gnt-instance reboot \
                --type=full)";
    match target.memory_available {
        ..LEAST_MEMORY => Finding::error(format!(
            "the target has {free} of memory free, of {all}, and needs {}",
            size_text(LEAST_MEMORY)
        ))
        .remedy(more),
        LEAST_MEMORY..EASY_MEMORY => Finding::warning(format!(
            "the target has only {free} of memory free, of {all}; rebuilding an initramfs may \
             need more"
        ))
        .remedy(more),
        EASY_MEMORY.. => Finding::good(format!("the target has {free} of memory free")),
    }
}

fn disk_findings(planned: &PlannedDisk, disk: &TargetDisk, plan: &Plan) -> Vec<Finding> {
    let name = &disk.device;
    let mut findings = Vec::new();
    findings.push(use_of(disk));
    match &disk.plan_id {
        Some(id) if *id == plan.id() => findings.push(Finding::good(format!(
            "{name} was prepared for this plan: the transfer goes on there"
        ))),
        Some(_) => findings.push(
            Finding::warning(format!(
                "{name} was prepared for another plan, and what was copied to it will be erased"
            ))
            .remedy("to go on with that plan, give it (--plan FILE)"),
        ),
        None => {}
    }
    if let Some(table) = planned.table.as_ref().filter(|table| table.label == "dos") {
        let end = u64::from(u32::MAX).saturating_mul(table.sector_size);
        if disk.size > end {
            findings.push(Finding::warning(format!(
                "{name} has {}, and its MBR reaches no further than {}",
                size_text(disk.size),
                size_text(end)
            )));
        }
    }
    findings
}

/// A disk of the target that nothing may be written to.
pub fn disk_in_use(disk: &TargetDisk) -> Option<Finding> {
    let (name, user) = (&disk.device, disk.in_use.as_ref()?);
    Some(
        Finding::error(format!("{name} of the target is in use: {user}"))
            .remedy("end that there, or restart the instance"),
    )
}

/// Whether a disk is free, and how large it is.
fn use_of(disk: &TargetDisk) -> Finding {
    disk_in_use(disk).unwrap_or_else(|| {
        Finding::good(format!(
            "{} of the target is not in use, and has {} in sectors of {} bytes",
            disk.device,
            size_text(disk.size),
            disk.sector_size
        ))
    })
}

/// The source's boot loader fits only its own kind of firmware.
fn boot_mode(target: &Target, plan: &Plan) -> Finding {
    let name = target.instance.as_deref().unwrap_or("INSTANCE");
    let restart = format!("gnt-instance reboot --type=full {name}");
    match (plan.boot, target.boot) {
        (BootMode::Efi, BootMode::Bios) => {
            Finding::error("the source starts by EFI and the instance by BIOS").remedy(format!(
                "give it an EFI firmware, of the package ovmf on its node, and a disk that starts \
                 by it (gnt-instance shutdown {name}; gnt-instance modify -H kvm_extra='-bios \
                 /usr/share/ovmf/OVMF.fd' {name}; gnt-instance reinstall -o p2v-target+gpt {name}; \
                 gnt-instance start {name})"
            ))
        }
        (BootMode::Bios, BootMode::Efi) => {
            Finding::error("the source starts by BIOS and the instance by EFI").remedy(format!(
                "give it its BIOS back (gnt-instance modify -H kvm_extra=default {name}; {restart})"
            ))
        }
        (BootMode::Direct, BootMode::Direct) => {
            Finding::warning("the node gives the instance its kernel, and will after the transfer")
                .remedy(own_kernel(target.hypervisor, name))
        }
        (one, other) if one == other => Finding::good("source and target start in the same way"),
        (one, other) => Finding::error(format!(
            "the plan's boot is {one:?}, and the instance's {other:?}"
        ))
        .remedy("make the plan anew"),
    }
}

fn own_kernel(hypervisor: Hypervisor, name: &str) -> String {
    let how = match hypervisor {
        Hypervisor::XenPvm => "use_bootloader=true,bootloader_path=pygrub",
        _ => "kernel_path=",
    };
    format!("to start it with its own one, gnt-instance modify -H {how} {name}")
}

fn network(source: &Source, target: &Target) -> Vec<Finding> {
    let (old, new) = (&source.system.nics, &target.nics);
    if new.is_empty() {
        return vec![no_card()];
    }
    let mut findings = Vec::new();
    for nic in old.iter().skip(new.len()) {
        findings.push(Finding::warning(format!(
            "the source's {} has no counterpart on the target: its addresses will be on no card",
            nic.name
        ))
        .remedy("give the instance more of them (gnt-instance modify --net add ..., then \
                 gnt-instance reboot --type=full)"));
    }
    if findings.is_empty() {
        findings.push(Finding::good(format!(
            "the target has {} network card{}, and the source {}",
            new.len(),
            if new.len() == 1 { "" } else { "s" },
            old.len()
        )));
    }
    findings
}

fn no_card() -> Finding {
    Finding::error("the target has no network card").remedy(
        "give it one (gnt-instance modify --net add ..., then gnt-instance reboot --type=full)",
    )
}

/// All about the target that no source and no plan is needed for.
pub fn by_itself(target: &Target) -> Vec<Finding> {
    let mut findings = vec![ram_booted(target), memory(target)];
    findings.extend(target.disks.iter().map(use_of));
    if target.ram_booted && target.disks.is_empty() {
        let disk = Finding::error("the target has no disk");
        findings.push(disk.remedy("give it one (gnt-instance modify --disk add:size=20G)"));
    }
    if target.nics.is_empty() {
        findings.push(no_card());
    }
    // Which of them a machine needs is known only when it moves.
    findings.extend(target.missing_tools.iter().map(|tool| {
        let finding = Finding::warning(format!("{tool} is missing on the target"));
        finding.remedy(install(package_of(tool)))
    }));
    findings
}

/// Who of the target's programs is missing and needed.
fn tools(target: &Target, plan: &Plan) -> Vec<Finding> {
    let kinds = kinds(plan);
    let has = |wanted: &[&str]| kinds.iter().any(|kind| wanted.contains(kind));
    let mut findings = Vec::new();
    for tool in &target.missing_tools {
        let needed = match tool.as_str() {
            "mke2fs" | "tune2fs" | "e2fsck" => has(&["ext2", "ext3", "ext4"]),
            "mkfs.xfs" | "xfs_repair" => has(&["xfs"]),
            "mkfs.btrfs" | "btrfs" => has(&["btrfs"]),
            // A vfat is copied block by block.
            "mkfs.vfat" => false,
            "mkswap" => has(&["swap"]),
            _ => true,
        };
        if needed {
            let finding = Finding::error(format!("{tool} is missing on the target"));
            findings.push(finding.remedy(install(package_of(tool))));
        }
    }
    findings
}

fn package_of(tool: &str) -> &'static str {
    p2v_sys::command::package(tool).unwrap_or("the package that has it")
}

fn install(package: &str) -> String {
    format!(
        "install {package} there (apt-get install), or have create install it for all \
         (EXTRA_PKGS in p2v-target.conf)"
    )
}

/// What the plan makes, by blkid's word.
fn kinds(plan: &Plan) -> Vec<&str> {
    plan.volumes()
        .map(|(_, volume)| match &volume.fill {
            Fill::Files { format, .. } => format.kind.as_str(),
            Fill::Swap => "swap",
            Fill::Blocks { .. } | Fill::Reserved => "",
        })
        .collect()
}

/// Whether the target's kernel can mount what must be filled, or changed.
fn kernel(target: &Target, plan: &Plan) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for (_, volume) in plan.volumes() {
        let (kind, needed) = match &volume.fill {
            Fill::Files { format, .. } => (&format.kind, true),
            Fill::Blocks { kind } if !volume.mounts.is_empty() => {
                (kind, plan.boot == BootMode::Efi)
            }
            _ => continue,
        };
        if seen.contains(&kind) || target.filesystems.contains(kind) {
            continue;
        }
        seen.push(kind);
        let text = format!("the target's kernel cannot mount {kind}");
        let finding = match needed {
            true => Finding::error(text),
            false => Finding::warning(text),
        };
        let remedy = "make the instance with another variant or kernel that can";
        findings.push(finding.remedy(remedy));
    }
    findings
}

fn version(target: &Target) -> Option<Finding> {
    let ours = env!("CARGO_PKG_VERSION");
    let same = target.p2v == ours;
    (!same).then(|| {
        Finding::warning(format!(
            "the target has p2v {}, and this is {ours}",
            target.p2v
        ))
        .remedy("the same on both is safer")
    })
}
