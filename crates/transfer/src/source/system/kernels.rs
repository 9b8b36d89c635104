//! The kernels in /boot.

use std::cmp::Ordering;

use super::Files;
use crate::source::Kernel;

/// Where kernels are, the usual place first.
const DIRECTORIES: [&str; 2] = ["boot", "boot/kernels"];

/// What kernels' images are called before their versions.
const IMAGES: [&str; 5] = ["vmlinuz-", "vmlinux-", "kernel-", "bzImage-", "linux-"];

/// All of them, the newest last.
pub fn installed(files: &mut Files) -> Vec<Kernel> {
    let mut kernels = Vec::new();
    for directory in DIRECTORIES {
        for path in files.paths(directory, "") {
            let name = &path[directory.len() + 1..];
            let version = IMAGES.iter().find_map(|image| name.strip_prefix(image));
            let Some(version) = version.filter(|version| is_version(version)) else {
                continue;
            };
            kernels.push(Kernel {
                version: version.to_owned(),
                initramfs: initramfs(files, directory, version),
                modules: has_modules(files, version),
                image: format!("/{path}"),
            });
        }
    }
    // Arch and others have one, without a version.
    if kernels.is_empty() {
        kernels.extend(unversioned(files));
    }
    kernels.sort_by(|one, other| newer(&one.version, &other.version));
    kernels
}

/// Debris such as `vmlinuz-6.1.0.dpkg-tmp` and rescue images are no kernels.
fn is_version(version: &str) -> bool {
    let debris = [
        ".dpkg-", ".old", ".bak", ".sig", ".hmac", ".orig", ".rpmsave",
    ];
    version.starts_with(|first: char| first.is_ascii_digit())
        && !debris.iter().any(|mark| version.contains(mark))
}

fn initramfs(files: &Files, directory: &str, version: &str) -> Option<String> {
    let names = [
        format!("initrd.img-{version}"),
        format!("initramfs-{version}.img"),
        format!("initrd-{version}"),
        format!("initramfs-{version}"),
        format!("initrd-{version}.img"),
        format!("initramfs-genkernel-{version}"),
    ];
    let paths = names.into_iter().map(|name| format!("{directory}/{name}"));
    let mut there = paths.filter(|path| files.has(path));
    there.next().map(|path| format!("/{path}"))
}

fn has_modules(files: &Files, version: &str) -> bool {
    ["lib/modules", "usr/lib/modules"]
        .iter()
        .any(|modules| files.has(&format!("{modules}/{version}")))
}

fn unversioned(files: &mut Files) -> Vec<Kernel> {
    let mut kernels = Vec::new();
    for name in [
        "linux",
        "linux-lts",
        "linux-zen",
        "linux-hardened",
        "lts",
        "virt",
    ] {
        let image = format!("boot/vmlinuz-{name}");
        if !files.has(&image) {
            continue;
        }
        let initramfs = [
            format!("boot/initramfs-{name}.img"),
            format!("boot/initramfs-{name}"),
        ];
        let initramfs = initramfs.into_iter().find(|path| files.has(path));
        let version = modules_of(files, name);
        kernels.push(Kernel {
            modules: version.is_some(),
            version: version.unwrap_or_else(|| name.to_owned()),
            image: format!("/{image}"),
            initramfs: initramfs.map(|path| format!("/{path}")),
        });
    }
    kernels
}

/// The version of the modules that belong to a kernel without one: Arch's say
/// it in `pkgbase`, Alpine's end with it.
fn modules_of(files: &mut Files, name: &str) -> Option<String> {
    for directory in ["usr/lib/modules", "lib/modules"] {
        for path in files.paths(directory, "") {
            let base = files.text(&format!("{path}/pkgbase")).unwrap_or_default();
            if base.trim() == name || path.ends_with(&format!("-{name}")) {
                return Some(path[directory.len() + 1..].to_owned());
            }
        }
    }
    None
}

/// Numbers in a version count as numbers.
fn newer(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (parts(one), parts(other));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(one), Some(other)) => {
                let order = match (one.parse::<u64>(), other.parse::<u64>()) {
                    (Ok(one), Ok(other)) => one.cmp(&other),
                    _ => one.cmp(other),
                };
                if order != Ordering::Equal {
                    return order;
                }
            }
        }
    }
}

fn parts(version: &str) -> impl Iterator<Item = &str> {
    version
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_order() {
        let mut versions = vec!["6.1.0-18-amd64", "5.10.0-8-amd64", "6.1.0-9-amd64", "6.1"];
        versions.sort_by(|one, other| newer(one, other));
        assert_eq!(
            versions,
            ["5.10.0-8-amd64", "6.1", "6.1.0-9-amd64", "6.1.0-18-amd64"]
        );
        for debris in ["6.1.0.dpkg-tmp", "0-rescue.old", "rescue", "", "x86_64-6.1"] {
            assert!(!is_version(debris), "{debris}");
        }
    }
}
