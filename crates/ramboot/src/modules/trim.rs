//! Indexes cut down to some of the modules, for the initrd.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Index, IndexTexts, Softdep, without_compression};

impl Index {
    /// The texts of an index that knows only the modules of these canonical
    /// names, their paths without the suffix of a compression. What is part of
    /// the kernel stays known. A need that is not among `names` is left out.
    ///
    /// Parsing them gives an index in which everything about `names` is as it
    /// is here.
    pub fn trimmed(&self, names: &BTreeSet<String>) -> IndexTexts {
        let mut texts = IndexTexts::default();
        for module in self.modules().filter(|m| names.contains(&m.name)) {
            texts.dep += without_compression(&module.path);
            texts.dep.push(':');
            for need in module.needs.iter().filter(|need| names.contains(*need)) {
                let path = without_compression(&self.modules[need].path);
                let _ = write!(texts.dep, " {path}");
            }
            texts.dep.push('\n');
        }
        for alias in self.aliases.iter().filter(|a| names.contains(&a.module)) {
            let _ = writeln!(texts.alias, "alias {} {}", alias.pattern, alias.module);
        }
        texts.softdep = self.trimmed_softdeps(names);
        for name in &self.builtin {
            let _ = writeln!(texts.builtin, "kernel/{name}.ko");
        }
        texts
    }

    fn trimmed_softdeps(&self, names: &BTreeSet<String>) -> String {
        let mut text = String::new();
        let kept: BTreeMap<_, _> = self
            .softdeps
            .iter()
            .filter(|(name, _)| names.contains(*name))
            .collect();
        for (name, Softdep { pre, post }) in kept {
            let _ = write!(text, "softdep {name}");
            for (label, wanted) in [("pre:", pre), ("post:", post)] {
                if !wanted.is_empty() {
                    let _ = write!(text, " {label} {}", wanted.join(" "));
                }
            }
            text.push('\n');
        }
        text
    }
}
