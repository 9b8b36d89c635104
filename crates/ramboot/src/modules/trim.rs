//! Indexes cut down to some of the modules, for the initrd.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Index, IndexTexts, Softdep};

impl Index {
    /// The texts of an index that knows only some modules, at other paths:
    /// from canonical names to the paths. What is part of the kernel stays
    /// known. A need that is not among the modules is left out.
    ///
    /// Parsing them gives an index in which everything else about these
    /// modules is as it is here.
    pub fn trimmed(&self, paths: &BTreeMap<String, String>) -> IndexTexts {
        let mut texts = IndexTexts::default();
        for module in self.modules() {
            let Some(path) = paths.get(&module.name) else {
                continue;
            };
            let _ = write!(texts.dep, "{path}:");
            for path in module.needs.iter().filter_map(|need| paths.get(need)) {
                let _ = write!(texts.dep, " {path}");
            }
            texts.dep.push('\n');
        }
        for alias in &self.aliases {
            if !paths.contains_key(&alias.module) {
                continue;
            }
            let _ = writeln!(texts.alias, "alias {} {}", alias.pattern, alias.module);
        }
        texts.softdep = self.trimmed_softdeps(paths);
        for name in &self.builtin {
            let _ = writeln!(texts.builtin, "kernel/{name}.ko");
        }
        texts
    }

    fn trimmed_softdeps(&self, paths: &BTreeMap<String, String>) -> String {
        let mut text = String::new();
        let kept: BTreeMap<_, _> = self
            .softdeps
            .iter()
            .filter(|(name, _)| paths.contains_key(*name))
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
