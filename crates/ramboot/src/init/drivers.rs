//! Loads the modules that the hardware asks for, as udev's coldplug does.
//!
//! Every device in /sys/devices may have a `modalias`. Loading the driver of a
//! bus brings new devices (virtio_pci brings virtio disks, a SCSI host brings
//! SCSI disks), so the walk is repeated until it finds nothing new.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::kmod::init_module;
use p2v_sys::Root;

use super::cmdline::CommandLine;
use super::console;
use crate::modules::{Index, Module, canonical};

/// Deeper than any real device tree: a bound, should sysfs ever have a loop.
const DEEPEST: usize = 32;

/// The kernel's modules, and which of them have been dealt with.
pub struct Drivers<'a> {
    index: Index,
    directory: PathBuf,
    line: &'a CommandLine,
    /// Modules that were loaded, failed, or are not to be loaded.
    done: BTreeSet<String>,
    /// Aliases that were looked up.
    seen: BTreeSet<String>,
    loaded: usize,
}

impl<'a> Drivers<'a> {
    /// Reads the indexes of the running kernel's modules. An initrd without
    /// any is fine if the kernel has all it needs built in: only a warning.
    pub fn open(line: &'a CommandLine) -> Result<Self> {
        let release = nix::sys::utsname::uname().context("asking for the kernel's version")?;
        let directory = Path::new("/lib/modules").join(release.release());
        let index = match Index::read(&Root::open(Path::new("/"))?, &directory) {
            Ok(index) => index,
            Err(error) => {
                console::warn(format!("no modules for this kernel: {error:#}"));
                Index::default()
            }
        };
        Ok(Self {
            index,
            directory,
            line,
            done: BTreeSet::new(),
            seen: BTreeSet::new(),
            loaded: 0,
        })
    }

    /// How many modules have been loaded so far.
    pub fn loaded(&self) -> usize {
        self.loaded
    }

    /// Loads what the devices that are there now ask for, and the devices that
    /// appear by that, until nothing new appears.
    pub fn settle(&mut self) {
        loop {
            let mut aliases = Vec::new();
            collect_aliases(Path::new("/sys/devices"), 0, &mut aliases);
            aliases.retain(|alias| self.seen.insert(alias.clone()));
            if aliases.is_empty() {
                return;
            }
            for alias in aliases {
                self.load(&alias);
            }
        }
    }

    /// Loads a filesystem's module, under its own or any name.
    pub fn load_filesystem(&mut self, kind: &str) {
        self.load(&format!("fs-{kind}"));
        self.load(kind);
    }

    /// Loads all that answers to a name or an alias, with what it needs. A
    /// failure is a warning: another driver may do, and if none does, the
    /// missing root says so.
    fn load(&mut self, wanted: &str) {
        // Taken out, so that the plan can borrow it while we note what is done.
        let index = std::mem::take(&mut self.index);
        for step in index.plan(wanted) {
            if !self.done.insert(step.module.name.clone()) {
                continue;
            }
            if self.line.blacklist.contains(&step.module.name) {
                console::say(format!("module {} is blacklisted", step.module.name));
                continue;
            }
            match self.insert(step.module) {
                Ok(()) => self.loaded += 1,
                // A processor without the feature says so to the accelerated
                // variant of an algorithm; the generic one is in the plan too.
                Err(_) if !step.required => {}
                Err(error) => console::warn(format!("{error:#}")),
            }
        }
        self.index = index;
    }

    fn insert(&self, module: &Module) -> Result<()> {
        let doing = || format!("loading the module {}", module.name);
        let image = module.read(&self.directory).with_context(doing)?;
        let options = self.line.module_options.get(&canonical(&module.name));
        let options = CString::new(options.map_or("", String::as_str)).with_context(doing)?;
        match init_module(&image, &options) {
            // It may be there already: built in, or loaded by the kernel.
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(error).with_context(doing),
        }
    }
}

/// Collects the content of every `modalias` below `directory`. What vanishes
/// or cannot be read meanwhile asks for nothing.
fn collect_aliases(directory: &Path, depth: usize, aliases: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() && depth < DEEPEST {
            collect_aliases(&entry.path(), depth + 1, aliases);
        } else if kind.is_file() && entry.file_name() == "modalias" {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            if !text.trim().is_empty() {
                aliases.push(text.trim().to_owned());
            }
        }
    }
}
