//! The system on the disks, read from its own files.

mod boot;
mod kernels;
mod network;
mod release;

use anyhow::Result;
use p2v_sys::Root;

use super::findings::Findings;
use super::{System, fstab, live};

pub use boot::{Firmware, mode, named_roots};
pub use network::here as nics_here;

/// Its files, which may be missing, or anything but files.
struct Files<'a> {
    root: &'a Root,
    findings: &'a mut Findings,
}

impl Files<'_> {
    /// The file's text; nothing if there is none. What cannot be read is
    /// remarked, and does not hold up the rest.
    fn text(&mut self, path: &str) -> Option<String> {
        self.root.read_text(path).unwrap_or_else(|error| {
            self.findings
                .remark(format!("/{path} is not read: {error:#}"));
            None
        })
    }

    fn has(&self, path: &str) -> bool {
        self.root.exists(path)
    }

    /// The paths in a directory whose names end so; none if it is not there.
    fn paths(&mut self, directory: &str, end: &str) -> Vec<String> {
        let names = self.root.list(directory).unwrap_or_else(|error| {
            self.findings
                .remark(format!("/{directory} is not read: {error:#}"));
            Vec::new()
        });
        let names = names.into_iter().filter_map(|name| name.into_string().ok());
        names
            .filter(|name| name.ends_with(end) && !name.starts_with('.'))
            .map(|name| format!("{directory}/{name}"))
            .collect()
    }
}

/// See [`System`].
fn installation(files: &mut Files) -> Option<String> {
    let mut paths = vec!["etc/machine-id".to_owned()];
    paths.extend(files.paths("etc/ssh", "_key.pub"));
    paths.sort();
    let texts: Vec<_> = paths.iter().filter_map(|path| files.text(path)).collect();
    live::digest(texts.iter().map(|text| text.trim()))
}

/// The system in `root`; how it starts is left to [`mode`].
pub fn read(root: &Root, findings: &mut Findings) -> Result<System> {
    let mut files = Files { root, findings };
    let table = files.text("etc/fstab").unwrap_or_default();
    let crypttab = files.text("etc/crypttab").unwrap_or_default();
    let (distribution, name) = release::distribution(&mut files);
    let kernels = kernels::installed(&mut files);
    if kernels.is_empty() {
        files.findings.remark(
            "no kernel was found in /boot: the instance can only be started with one that its \
             node gives it"
                .to_owned(),
        );
    }
    Ok(System {
        hostname: release::hostname(&mut files),
        installation: installation(&mut files),
        distribution,
        name,
        init: release::init(&files),
        boot: Default::default(),
        kernels,
        boot_loaders: boot::loaders(&files),
        swap_files: swap_files(&table),
        fstab: fstab::lines(&table),
        crypttab: fstab::lines(&crypttab),
        network: network::systems(&mut files),
        nics: network::nics(&mut files),
    })
}

fn swap_files(table: &str) -> Vec<String> {
    let entries = fstab::parse(table);
    entries
        .iter()
        .filter_map(|entry| entry.swap_file())
        .collect()
}
