//! The node's kernel, which mounts what create fills; and the kernels that the
//! node gives to instances, each with its ramboot initrd.

use std::path::Path;

use p2v_ramboot::pair;
use p2v_transfer::agent;
use p2v_transfer::preflight::Finding;

use super::configuration::Configuration;
use crate::{failed, shell_word};

/// How `p2v initrd` names what it builds.
const INITRD: (&str, &str) = ("ramboot-", ".img");

/// Whether this node's kernel can mount each variant's root, and has loop
/// devices.
pub fn check(configuration: &Configuration) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !Path::new("/dev/loop-control").exists() {
        let finding = Finding::error("the kernel has no loop devices");
        findings.push(finding.remedy("modprobe loop; and a line `loop` in /etc/modules"));
    }
    let known = match agent::mountable() {
        Ok(known) => known,
        Err(error) => return vec![failed(&error, "mount /proc")],
    };
    for (_, settings) in &configuration.settings {
        let name = settings.filesystem.name();
        findings.push(match known.iter().any(|one| one == name) {
            true => Finding::good(format!("the kernel can mount {name}")),
            false => Finding::error(format!("the kernel cannot mount {name}"))
                .remedy(format!("modprobe {name}, or choose another FILESYSTEM")),
        });
    }
    findings
}

/// Whether each ramboot initrd in `boot` has its kernel beside it.
pub fn pairs_in(boot: &Path) -> Vec<Finding> {
    let entries = std::fs::read_dir(boot).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_initrd = |name: &String| name.starts_with(INITRD.0) && name.ends_with(INITRD.1);
    let mut names: Vec<_> = names.filter(is_initrd).collect();
    names.sort();
    let kernel_of = |name: &String| {
        let initrd = boot.join(name);
        match pair::initrd_version(&initrd) {
            Ok(Some(version)) => check_pair(&boot.join(format!("vmlinuz-{version}")), &initrd),
            Ok(None) => not_ours(&initrd),
            Err(error) => failed(
                &error,
                &format!("build it anew: {}", rebuild(&initrd, "VERSION")),
            ),
        }
    };
    names.iter().map(kernel_of).collect()
}

/// Whether an instance can start with what its node gives it. A machine that
/// has moved in may well be given another initrd than ours, or none.
pub fn given(kernel: &Path, initrd: Option<&Path>) -> Finding {
    for path in [Some(kernel), initrd].into_iter().flatten() {
        if !path.exists() {
            let text = format!("{} is not there, which the node gives it", path.display());
            let remedy = "put it there, or let it start from its own disk: gnt-instance modify \
                          -H kernel_path=,initrd_path=";
            return Finding::error(text).remedy(remedy);
        }
    }
    match initrd.map(pair::initrd_version) {
        Some(Ok(Some(_))) => check_pair(kernel, initrd.unwrap_or(kernel)),
        _ => Finding::good(format!("the node gives it {}", kernel.display())),
    }
}

/// Whether a kernel and a ramboot initrd belong together.
fn check_pair(kernel: &Path, initrd: &Path) -> Finding {
    let (shown, other) = (initrd.display(), kernel.display());
    if !kernel.exists() {
        let text = format!("the kernel of {shown} is gone: {other}");
        let remedy = format!(
            "rm {}, or build one for a kernel that is there: {}",
            shell_word(initrd),
            rebuild(initrd, "VERSION")
        );
        return Finding::error(text).remedy(remedy);
    }
    match (pair::kernel_version(kernel), pair::initrd_version(initrd)) {
        (Err(error), _) | (_, Err(error)) => failed(&error, "put a sound file in its place"),
        (_, Ok(None)) => not_ours(initrd),
        (Ok(Some(kernel)), Ok(Some(built))) if kernel != built => {
            let text = format!(
                "{shown} is for the kernel {built}, and {other} is {kernel}: no module would load"
            );
            Finding::error(text).remedy(rebuild(initrd, &kernel))
        }
        (Ok(_), Ok(Some(built))) => Finding::good(format!("{shown} is for {other}, {built}")),
    }
}

fn not_ours(initrd: &Path) -> Finding {
    let text = format!(
        "{} is no ramboot initrd: an instance would not boot into RAM with it",
        initrd.display()
    );
    Finding::error(text).remedy(rebuild(initrd, "VERSION"))
}

fn rebuild(initrd: &Path, version: &str) -> String {
    format!(
        "p2v initrd --kernel {version} --force --output {}",
        shell_word(initrd)
    )
}
