//! Whether the system that moves will start.

use p2v_fixes::machine::BootMode;

use super::Finding;
use crate::plan::Plan;
use crate::source::{Content, Source};

/// Boot loaders that the fixes install anew, for each firmware.
const FOR_BIOS: &[&str] = &["grub2", "grub-legacy", "extlinux"];
const FOR_EFI: &[&str] = &["grub2"];

/// All about the system.
pub fn findings(source: &Source, plan: &Plan) -> Vec<Finding> {
    let obstacles = source.obstacles.iter().cloned().map(Finding::error);
    let mut findings: Vec<_> = obstacles.collect();
    findings.extend(source.remarks.iter().cloned().map(Finding::warning));
    findings.push(kernel(source, plan));
    findings.extend(boot_loader(source, plan));
    findings.extend(esp(plan));
    findings.extend(root(source));
    findings.extend(compressed(source));
    findings.extend(processor(source));
    findings
}

/// Virtio may be built in or a module: only one without modules leaves it open.
fn kernel(source: &Source, plan: &Plan) -> Finding {
    let kernels = &source.system.kernels;
    let direct = plan.boot == BootMode::Direct;
    let mut with_modules = kernels.iter().filter(|kernel| kernel.modules);
    match (kernels.last(), with_modules.next_back()) {
        (None, _) if direct => Finding::warning("the system has no kernel: the node gives it one"),
        (None, _) => Finding::error("the system has no kernel in /boot and would not start")
            .remedy("install its distribution's kernel on it"),
        (Some(_), Some(kernel)) => Finding::good(format!(
            "the system has the kernel {}{}",
            kernel.version,
            match kernel.initramfs {
                Some(_) => "",
                None => ", without an initramfs",
            }
        )),
        (Some(kernel), None) => Finding::warning(format!(
            "the kernel {} has no modules (/lib/modules/{0}): it starts only if virtio and the \
             root's filesystem are built into it",
            kernel.version
        ))
        .remedy("install its distribution's kernel to be sure"),
    }
}

fn boot_loader(source: &Source, plan: &Plan) -> Option<Finding> {
    let last = "p2v-target's own GRUB is put in its place, as a last resort";
    let (fit, instead, package) = match plan.boot {
        BootMode::Direct => return None,
        BootMode::Efi => (
            FOR_EFI,
            format!("unless it is on EFI's removable path, {last}"),
            "grub-efi",
        ),
        BootMode::Bios => (FOR_BIOS, last.to_owned(), "grub-pc"),
    };
    let loaders = &source.system.boot_loaders;
    let known = loaders.iter().find(|loader| fit.contains(&loader.as_str()));
    Some(match known {
        Some(loader) => Finding::good(format!("its boot loader {loader} is installed anew")),
        None => Finding::warning(format!(
            "its boot loader is {}, which is not installed anew: {instead}",
            named(loaders)
        ))
        .remedy(format!(
            "install GRUB 2 ({package}) on the source to be sure"
        )),
    })
}

fn named(loaders: &[String]) -> String {
    match loaders {
        [] => "none that is known".to_owned(),
        loaders => loaders.join(", "),
    }
}

fn esp(plan: &Plan) -> Option<Finding> {
    let is_vfat = |fill: &crate::plan::Fill| matches!(fill, crate::plan::Fill::Blocks { kind } if kind == "vfat");
    let has = plan.volumes().any(|(_, volume)| is_vfat(&volume.fill));
    // A plan without disks could not be made, and why is said.
    let is_planned = !plan.disks.is_empty();
    (plan.boot == BootMode::Efi && is_planned && !has).then(|| {
        Finding::error("the system starts by EFI, and the plan has no EFI system partition (vfat)")
            .remedy("name the disk that has it too")
    })
}

fn root(source: &Source) -> Option<Finding> {
    let init = source.system.init.as_deref();
    let name = source.system.name.as_deref();
    match (init, name) {
        (None, _) => Some(
            Finding::warning("no init system was found in the root").remedy("is it the right one?"),
        ),
        (Some(init), name) => Some(Finding::good(format!(
            "the system is {}, started by {init}",
            name.unwrap_or("of an unknown distribution")
        ))),
    }
}

/// What is in use of a btrfs that packs its files says little.
fn compressed(source: &Source) -> Vec<Finding> {
    let areas = source.disks.iter().flat_map(|disk| &disk.areas);
    let points: Vec<_> = areas
        .filter_map(|area| match &area.content {
            Content::Filesystem(found) if found.format.kind == "btrfs" => Some(&found.mounts),
            _ => None,
        })
        .flatten()
        .collect();
    let packs = |line: &&String| {
        let mut fields = line.split_whitespace().skip(1);
        let path = fields.next().unwrap_or_default();
        let options = fields.nth(1).unwrap_or_default();
        points.iter().any(|point| point.path == path)
            && options
                .split(',')
                .any(|option| option.starts_with("compress"))
    };
    let lines = source.system.fstab.iter().filter(packs);
    lines
        .map(|line| {
            let path = line.split_whitespace().nth(1).unwrap_or_default();
            Finding::warning(format!(
                "the btrfs on {path} is compressed: on the target its files may take more than \
                 they do now, until they are compressed there"
            ))
        })
        .collect()
}

/// A kernel's name tells for what processor it is, in Debian's way at least.
fn processor(source: &Source) -> Option<Finding> {
    const OTHERS: [&str; 8] = [
        "arm64",
        "armmp",
        "armhf",
        "ppc64el",
        "powerpc64le",
        "s390x",
        "riscv64",
        "aarch64",
    ];
    if std::env::consts::ARCH != "x86_64" {
        return None;
    }
    let kernels = &source.system.kernels;
    let foreign = |version: &str| {
        let mut words = version.split(['-', '.', '+', '_']);
        words.any(|word| OTHERS.contains(&word))
    };
    let all = !kernels.is_empty() && kernels.iter().all(|kernel| foreign(&kernel.version));
    all.then(|| {
        Finding::error(format!(
            "the system's kernels are for another processor ({})",
            kernels[0].version
        ))
        .remedy("it needs an instance on a node with such a one")
    })
}
