//! The kernel's module indexes, as depmod writes them, and what follows from
//! them: which module answers to a name or a hardware's modalias, and what
//! must be loaded before it, in which order.
//!
//! The builder reads the full indexes of a root to decide what goes into the
//! initrd; init reads the indexes that the builder cut down to what is inside.
//! Only the text formats are read: the `.bin` ones are a private matter of
//! kmod's. Loading itself is init's.
//!
//! See <https://man7.org/linux/man-pages/man5/modules.dep.5.html> and
//! <https://man7.org/linux/man-pages/man5/depmod.d.5.html>.

pub(crate) mod folded;
mod name;
mod parse;
mod plan;
mod trim;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use p2v_sys::Root;

pub use name::{canonical, name_of, without_packing};
use p2v_sys::pattern::matches;
pub use plan::Step;

/// The texts of the four index files; an absent file is an empty text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct IndexTexts {
    /// `modules.dep`
    pub dep: String,
    /// `modules.alias`
    pub alias: String,
    /// `modules.softdep`
    pub softdep: String,
    /// `modules.builtin`
    pub builtin: String,
}

impl IndexTexts {
    /// Reads the files in the directory `dir` of `root`. An absent
    /// modules.dep is an error, since nothing can be found without it.
    ///
    /// # Errors
    /// modules.dep is missing, or one cannot be read.
    pub fn read(root: &Root, dir: &Path) -> Result<Self> {
        let text = |name: &str| root.read_text(dir.join(name));
        let Some(dep) = text("modules.dep")? else {
            bail!(
                "{}: there is no modules.dep; run depmod for this kernel",
                root.path()
                    .join(dir.strip_prefix("/").unwrap_or(dir))
                    .display()
            );
        };
        Ok(Self {
            dep,
            alias: text("modules.alias")?.unwrap_or_default(),
            softdep: text("modules.softdep")?.unwrap_or_default(),
            builtin: text("modules.builtin")?.unwrap_or_default(),
        })
    }

    /// The files by name, sorted.
    pub fn files(&self) -> [(&'static str, &str); 4] {
        [
            ("modules.alias", &self.alias),
            ("modules.builtin", &self.builtin),
            ("modules.dep", &self.dep),
            ("modules.softdep", &self.softdep),
        ]
    }
}

/// A module that is a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its canonical name, as in /proc/modules.
    pub name: String,
    /// Where it is, relative to the version's module directory.
    pub path: String,
    /// The canonical names of the modules it needs, in modules.dep's order:
    /// the last one is to be loaded first.
    pub needs: Vec<String>,
}

impl Module {
    /// Reads the module's file below `directory`, an initrd's
    /// lib/modules/VERSION, as what init_module(2) takes.
    pub fn read(&self, directory: &Path) -> Result<Vec<u8>> {
        let path = directory.join(&self.path);
        let doing = || format!("reading {}", path.display());
        let bytes = std::fs::read(&path).with_context(doing)?;
        if self.path.ends_with(folded::SUFFIX) {
            return folded::unfold(&bytes).with_context(doing);
        }
        Ok(bytes)
    }
}

/// An alias: a pattern that names a module.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Alias {
    pattern: String,
    module: String,
}

/// What a module would like to have loaded before and after itself: names or
/// aliases, whose absence is no error.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Softdep {
    pre: Vec<String>,
    post: Vec<String>,
}

/// What a name or an alias leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    /// These modules; never empty. By a name it is one, by an alias it may be
    /// several, all of which are wanted.
    Modules(Vec<&'a Module>),
    /// It is part of the kernel.
    Builtin,
    /// Nothing.
    Nothing,
}

/// The indexes of one kernel's modules.
#[derive(Debug, Default, Clone)]
pub struct Index {
    modules: BTreeMap<String, Module>,
    aliases: Vec<Alias>,
    softdeps: BTreeMap<String, Softdep>,
    builtin: BTreeSet<String>,
}

impl Index {
    /// Parses the texts. The first malformed line is an error that names it.
    pub fn parse(texts: &IndexTexts) -> Result<Self> {
        Ok(Self {
            modules: parse::dep(&texts.dep)?,
            aliases: parse::alias(&texts.alias)?,
            softdeps: parse::softdep(&texts.softdep)?,
            builtin: parse::builtin(&texts.builtin),
        })
    }

    /// Reads and parses the indexes of the directory `dir` of `root`, as in
    /// "lib/modules/6.1.0-18-amd64".
    ///
    /// # Errors
    /// modules.dep is missing, one cannot be read, or a line is not as depmod
    /// writes it, which is named.
    pub fn read(root: &Root, dir: &Path) -> Result<Self> {
        let texts = IndexTexts::read(root, dir)?;
        Self::parse(&texts).with_context(|| format!("parsing the indexes in {}", dir.display()))
    }

    /// The module of that name, `-` and `_` being equal.
    pub fn module(&self, name: &str) -> Option<&Module> {
        self.modules.get(&canonical(name))
    }

    /// Every module, by name.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.modules.values()
    }

    /// Whether a module of that name is part of the kernel.
    pub fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(&canonical(name))
    }

    /// Every module that one of the aliases leads to, in the index's order,
    /// without repetition. `modalias` is a hardware's (`pci:v00001AF4d…`) or a
    /// symbolic one (`crypto-crc32c`, `fs-ext4`).
    pub fn providers(&self, modalias: &str) -> Vec<&Module> {
        let modalias = canonical(modalias);
        let mut found: Vec<&Module> = Vec::new();
        for alias in &self.aliases {
            if !matches(&alias.pattern, &modalias) {
                continue;
            }
            match self.modules.get(&alias.module) {
                Some(module) if !found.iter().any(|m| m.name == module.name) => {
                    found.push(module);
                }
                _ => {}
            }
        }
        found
    }

    /// What modprobe would make of `wanted`: a module's name first, else an
    /// alias, else a part of the kernel.
    pub fn find(&self, wanted: &str) -> Found<'_> {
        if let Some(module) = self.module(wanted) {
            return Found::Modules(vec![module]);
        }
        let providers = self.providers(wanted);
        if !providers.is_empty() {
            return Found::Modules(providers);
        }
        if self.is_builtin(wanted) {
            return Found::Builtin;
        }
        Found::Nothing
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
