//! Builds the ramboot initrd of a kernel: the program itself as /init, and the
//! closure of the modules that a virtual machine's root needs.
//!
//! The root whose modules are read may be a guest's: its paths are resolved
//! inside it, nothing of it is run, and nothing in it decides where a file of
//! the initrd lands. The same inputs give the same bytes. What init does with
//! the result is [`crate::init`]'s.

mod archive;
mod compression;
mod embedded;
mod module_file;
mod output;
mod selection;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use p2v_sys::{Root, interrupt};

use crate::modules::Index;
use archive::Archive;
use output::Output;
use selection::Selection;

pub use compression::Compression;
#[cfg(test)]
pub(crate) use compression::uncompress;

/// What to build.
#[derive(Debug, Clone)]
pub struct InitrdRequest {
    /// The root whose lib/modules/VERSION is read; `/` for this machine's own.
    pub root: PathBuf,
    /// The kernel's version, as `uname -r` prints it.
    pub kernel: String,
    /// The file to write, a path of this machine's, not of the root's.
    pub output: PathBuf,
    /// Modules or aliases that are wanted besides the usual ones.
    pub modules: Vec<String>,
    /// How the archive is compressed.
    pub compression: Compression,
    /// Whether a file that is there already is replaced.
    pub force: bool,
    /// Whether the root itself is put inside, so that no disk is needed. Then
    /// only its owner may read the file: it holds the root's secrets.
    pub self_contained: bool,
    /// The static program that becomes /init, normally [`init_binary`].
    pub init_binary: PathBuf,
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitrdReport {
    /// The file's size in bytes.
    pub bytes: u64,
    /// The archive's size in bytes before compression, which is the memory
    /// that the initrd takes while it boots.
    pub unpacked_bytes: u64,
    /// The canonical names of the modules inside, sorted.
    pub modules: Vec<String>,
    /// Which of the usual modules this kernel has neither as a module nor
    /// built in.
    pub absent: Vec<&'static str>,
}

/// Where `make install` puts the program that is init alone, from the directory
/// that p2v is in.
const INIT: &str = "../lib/p2v-target/p2v-init";

/// The program that becomes /init: the one that is nothing else, where it is
/// installed beside the running one, which can do the same and is three times
/// as large.
pub fn init_binary() -> Result<PathBuf> {
    let running = std::env::current_exe().context("finding the running binary")?;
    let alone = running.parent().map(|dir| dir.join(INIT));
    Ok(alone.filter(|path| path.is_file()).unwrap_or(running))
}

/// Builds the initrd. Everything that can be checked is checked before any
/// work; the file appears complete or not at all.
///
/// # Errors
/// The kernel, a module or an index of it is missing or damaged, the output
/// exists or cannot be written, or the program could not start as init.
pub fn build(request: &InitrdRequest) -> Result<InitrdReport> {
    let root = Root::open(&request.root)?;
    let modules_dir = modules_dir(&root, &request.kernel)?;
    let index = Index::read(&root, &modules_dir)?;
    let selection = Selection::choose(&index, &request.modules)
        .with_context(|| format!("choosing modules for kernel {}", request.kernel))?;
    if request.self_contained {
        embedded::check(&root)?;
    }
    let output = Output::prepare(&request.output, request.force)?;
    let init = read_init(&request.init_binary)?;

    let files = module_file::read_all(&root, &modules_dir, &selection.modules)?;
    let inside = PathBuf::from("lib/modules").join(&request.kernel);
    let mut archive = Archive::new();
    let mut paths = BTreeMap::new();
    for file in files {
        archive.file(inside.join(&file.path), 0o644, file.bytes);
        paths.insert(file.name, file.path);
    }
    for (name, text) in index.trimmed(&paths).files() {
        archive.file(inside.join(name), 0o644, text.into());
    }
    let mode = if request.self_contained { 0o600 } else { 0o644 };
    let mut unpacked_bytes = 0;
    let bytes = output.write(mode, |file| {
        let mut facts = String::new();
        if request.self_contained {
            let carried = embedded::write(&root, file)?;
            unpacked_bytes += carried.packed;
            facts = carried.lines();
        }
        add_frame(&mut archive, &request.kernel, &facts, init);
        let cpio = archive.into_bytes()?;
        interrupt::check()?;
        let compressed = request.compression.compress(&cpio)?;
        interrupt::check()?;
        unpacked_bytes += cpio.len() as u64;
        file.write_all(&compressed).context("writing it")
    })?;
    Ok(InitrdReport {
        bytes,
        unpacked_bytes,
        modules: paths.into_keys().collect(),
        absent: selection.absent,
    })
}

/// What init finds besides its modules.
fn add_frame(archive: &mut Archive, kernel: &str, facts: &str, init: Vec<u8>) {
    for dir in ["dev", "etc", "lib", "proc", "run", "sys"] {
        archive.directory(dir, 0o755);
    }
    archive.directory("root", 0o700);
    archive.directory("tmp", 0o1777);
    // The kernel opens it for PID 1 before anything is mounted.
    archive.character_device("dev/console", 0o600, (5, 1));
    archive.file("init", 0o755, init);
    let marker = format!(
        "kernel={kernel}\nbuilder=p2v {}\n{facts}",
        env!("CARGO_PKG_VERSION")
    );
    archive.file(crate::MARKER, 0o644, marker.into());
}

/// The directory of the version's modules, relative to the root.
fn modules_dir(root: &Root, kernel: &str) -> Result<PathBuf> {
    if kernel.is_empty() || kernel.contains(['/', '\0', '\n']) || [".", ".."].contains(&kernel) {
        bail!("{kernel:?} is not a kernel's version; `uname -r` prints the running one's");
    }
    let parents = ["lib/modules", "usr/lib/modules"];
    for parent in parents {
        let dir = Path::new(parent).join(kernel);
        // The dot: a file of that name is no directory of modules.
        if root.exists(dir.join(".")) {
            return Ok(dir);
        }
    }
    let mut present = Vec::new();
    for parent in parents {
        let names = root.list(parent)?;
        present.extend(names.iter().map(|n| n.to_string_lossy().into_owned()));
    }
    present.sort();
    present.dedup();
    let there = match present.len() {
        0 => "no other kernel's either: name the root that has them (--root)".to_owned(),
        _ => format!("take one of those there: {}", present.join(", ")),
    };
    bail!(
        "there are no modules for kernel {kernel} in {}; {there}",
        root.path().join("lib/modules").display()
    );
}

/// Reads the program that becomes /init, and refuses one that the kernel
/// could not start there.
fn read_init(path: &Path) -> Result<Vec<u8>> {
    let doing = || format!("reading {}, which becomes /init", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .with_context(doing)?;
    match needs_interpreter(&bytes) {
        None => bail!(
            "{}: it is not a 64-bit ELF program: install p2v anew",
            doing()
        ),
        Some(true) => bail!(
            "{}: it is not statically linked, and there is no dynamic linker in an initrd: \
             install a p2v that `make` has built",
            doing()
        ),
        Some(false) => Ok(bytes),
    }
}

/// Whether an ELF program asks for a dynamic linker (a PT_INTERP header);
/// `None` if it is not a little-endian 64-bit one. See elf(5).
fn needs_interpreter(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let half = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    let offset = u64::from_le_bytes(elf.get(0x20..0x28)?.try_into().ok()?);
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (size, count) = (half(0x36)? as usize, half(0x38)? as usize);
    let headers = elf.get(usize::try_from(offset).ok()?..)?;
    let mut kinds = headers.chunks_exact(size.max(4)).take(count);
    Some(kinds.any(|header| header[..4] == PT_INTERP.to_le_bytes()))
}

#[cfg(test)]
mod tests;
