//! The four index files, each from its text.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use super::name::{canonical, name_of};
use super::{Alias, Module, Softdep};

/// The lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// `PATH: PATH...`, the module and what it needs.
pub(super) fn dep(text: &str) -> Result<BTreeMap<String, Module>> {
    let mut modules = BTreeMap::new();
    for (number, line) in lines(text) {
        // What is written of it again would be two.
        let whole = |(path, _): &(&str, &str)| !path.contains(char::is_whitespace);
        let module = line.split_once(':').filter(whole);
        let module = module.and_then(|(path, needs)| {
            Some(Module {
                name: name_of(path)?,
                path: path.to_owned(),
                needs: needs
                    .split_whitespace()
                    .map(name_of)
                    .collect::<Option<_>>()?,
            })
        });
        let Some(module) = module else {
            bail!("modules.dep, line {number}: not \"MODULE.ko: MODULE.ko...\": {line}");
        };
        // Of two modules of a name depmod has put the preferred one first.
        modules.entry(module.name.clone()).or_insert(module);
    }
    Ok(modules)
}

/// `alias PATTERN MODULE`
pub(super) fn alias(text: &str) -> Result<Vec<Alias>> {
    let mut aliases = Vec::new();
    for (number, line) in lines(text) {
        // A pattern may hold blanks (dmi, of), a module's name may not.
        let parts = line
            .strip_prefix("alias ")
            .and_then(|rest| rest.trim().rsplit_once(char::is_whitespace));
        let Some((pattern, module)) = parts else {
            bail!("modules.alias, line {number}: not \"alias PATTERN MODULE\": {line}");
        };
        aliases.push(Alias {
            pattern: canonical(pattern.trim()),
            module: canonical(module),
        });
    }
    Ok(aliases)
}

/// `softdep MODULE pre: NAME... post: NAME...`; several lines for a module
/// add up. Names before any `pre:` or `post:` mean nothing, as to kmod.
pub(super) fn softdep(text: &str) -> Result<BTreeMap<String, Softdep>> {
    let mut softdeps: BTreeMap<String, Softdep> = BTreeMap::new();
    for (number, line) in lines(text) {
        let mut words = line.split_whitespace();
        let (Some("softdep"), Some(module)) = (words.next(), words.next()) else {
            bail!("modules.softdep, line {number}: not \"softdep MODULE ...\": {line}");
        };
        let softdep = softdeps.entry(canonical(module)).or_default();
        let mut ignored = Vec::new();
        let mut list = &mut ignored;
        for word in words {
            match word {
                "pre:" => list = &mut softdep.pre,
                "post:" => list = &mut softdep.post,
                name => list.push(name.to_owned()),
            }
        }
    }
    Ok(softdeps)
}

/// `PATH`, a module that is part of the kernel. What is no module's path is
/// passed over.
pub(super) fn builtin(text: &str) -> BTreeSet<String> {
    lines(text).filter_map(|(_, line)| name_of(line)).collect()
}
