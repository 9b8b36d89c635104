//! What to load for a module, and in which order.

use std::collections::BTreeSet;

use super::{Found, Index, Module};

/// One module to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    /// The module.
    pub module: &'a Module,
    /// Whether what was asked for cannot work without it. A module that is
    /// only a soft dependency may fail to load (crc32c_intel answers ENODEV
    /// on a processor without SSE 4.2), and so may what it needs.
    pub required: bool,
}

impl Index {
    /// The modules to load for `wanted`, a name or an alias, each once and
    /// after what it needs: the soft dependencies that come before, the
    /// modules it needs, itself, the soft dependencies that come after. Empty
    /// if it is part of the kernel or unknown.
    ///
    /// Every module that an alias leads to is in the plan.
    pub fn plan(&self, wanted: &str) -> Vec<Step<'_>> {
        let mut planner = Planner {
            index: self,
            steps: Vec::new(),
            visited: BTreeSet::new(),
        };
        planner.wanted(wanted, true);
        planner.steps
    }
}

struct Planner<'a> {
    index: &'a Index,
    steps: Vec<Step<'a>>,
    /// Marked before its dependencies are followed, so that soft dependencies
    /// that go in circles end.
    visited: BTreeSet<&'a str>,
}

impl<'a> Planner<'a> {
    fn wanted(&mut self, wanted: &str, required: bool) {
        if let Found::Modules(modules) = self.index.find(wanted) {
            for module in modules {
                self.module(module, required);
            }
        }
    }

    fn module(&mut self, module: &'a Module, required: bool) {
        if !self.visited.insert(&module.name) {
            if required {
                self.require(module);
            }
            return;
        }
        let softdep = self.index.softdeps.get(&module.name);
        for wanted in softdep.iter().flat_map(|s| &s.pre) {
            self.wanted(wanted, false);
        }
        for name in module.needs.iter().rev() {
            if let Some(needed) = self.index.modules.get(name) {
                self.module(needed, required);
            }
        }
        self.steps.push(Step { module, required });
        for wanted in softdep.iter().flat_map(|s| &s.post) {
            self.wanted(wanted, false);
        }
    }

    /// A module that was first met as a soft dependency turns out to be
    /// needed, and with it what it needs.
    fn require(&mut self, module: &'a Module) {
        let found = self.steps.iter_mut().find(|s| s.module == module);
        match found {
            Some(step) if !step.required => step.required = true,
            // Already done, or being planned just now.
            _ => return,
        }
        for name in &module.needs {
            if let Some(needed) = self.index.modules.get(name) {
                self.require(needed);
            }
        }
    }
}
