//! The modules' files: read from the root, uncompressed, and folded.

use std::io::Read;
use std::num::NonZero;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use p2v_sys::{Root, interrupt};

use super::compression::uncompress;
use crate::modules::{Module, folded, without_packing};

/// The largest module file that is read; the largest in Debian has 20 MiB.
const MOST_READ: u64 = 128 << 20;

/// What all of them may have together, uncompressed: they are all held in
/// memory, the node's and then the instance's, and a guest's indexes may name
/// any number. Debian's have 12 MiB.
const MOST_TOGETHER: u64 = 512 << 20;

/// A module as it goes into the initrd.
#[derive(Debug)]
pub(super) struct ModuleFile {
    /// The module's canonical name.
    pub(super) name: String,
    /// Where it goes, relative to the version's module directory.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
}

/// Reads the modules in their order, on as many threads as there are
/// processors: uncompressing xz is slow. Those that can be are folded.
pub(super) fn read_all(root: &Root, dir: &Path, modules: &[&Module]) -> Result<Vec<ModuleFile>> {
    read_at_most(MOST_TOGETHER, root, dir, modules)
}

pub(super) fn read_at_most(
    most: u64,
    root: &Root,
    dir: &Path,
    modules: &[&Module],
) -> Result<Vec<ModuleFile>> {
    let together = AtomicU64::new(0);
    let one = |module: &&Module| {
        let bytes = read(root, dir, module)?;
        let length = bytes.len() as u64;
        if together.fetch_add(length, Ordering::Relaxed) + length > most {
            bail!(
                "reading the modules: they have more than {} MiB together",
                most >> 20
            );
        }
        Ok(packed(module, bytes))
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = modules.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let readers: Vec<_> = modules
            .chunks(share)
            .map(|some| scope.spawn(|| some.iter().map(one).collect()))
            .collect();
        let mut files = Vec::with_capacity(modules.len());
        for reader in readers {
            let some: Result<Vec<_>> = match reader.join() {
                Ok(some) => some,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            files.extend(some?);
        }
        Ok(files)
    })
}

fn packed(module: &Module, bytes: Vec<u8>) -> ModuleFile {
    let plain = without_packing(&module.path);
    let (path, bytes) = match folded::fold(&bytes) {
        Some(folded) => (format!("{plain}{}", folded::SUFFIX), folded),
        None => (plain.to_owned(), bytes),
    };
    ModuleFile {
        name: module.name.clone(),
        path,
        bytes,
    }
}

/// Reads a module, uncompressed.
fn read(root: &Root, dir: &Path, module: &Module) -> Result<Vec<u8>> {
    interrupt::check()?;
    let inside = Path::new(&module.path);
    // The path decides where the file lands in the initrd too.
    if !inside
        .components()
        .all(|c| matches!(c, Component::Normal(_)))
    {
        bail!(
            "module {}: its path in modules.dep leads elsewhere: {}",
            module.name,
            module.path
        );
    }
    let path = dir.join(inside);
    let file = root.open_file(&path).with_context(|| {
        format!(
            "reading module {}, which modules.dep names; depmod brings them into line",
            module.name
        )
    })?;
    let doing = || format!("reading {}", root.path().join(&path).display());
    let metadata = file.metadata().with_context(doing)?;
    if !metadata.is_file() || metadata.len() > MOST_READ {
        bail!(
            "{}: not a regular file of at most {} MiB",
            doing(),
            MOST_READ >> 20
        );
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(MOST_READ)
        .read_to_end(&mut bytes)
        .with_context(doing)?;
    let bytes = uncompress(bytes).with_context(doing)?;
    if !bytes.starts_with(b"\x7fELF") {
        bail!("{}: not a kernel module", doing());
    }
    Ok(bytes)
}
