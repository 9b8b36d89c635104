//! The variants that Ganeti offers, each with what its settings come to.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::job::OsParameters;
use crate::settings::{Settings, SettingsPaths, published_variants};

/// A variant's name, and its settings where they can be used.
pub type Variant = (String, Result<Settings>);

/// Every variant in the order of variants.list, without OS parameters. An OS
/// definition that offers none has one with an empty name.
pub fn all(paths: &SettingsPaths) -> Result<Vec<Variant>> {
    let mut names = published_variants(paths)?;
    if names.is_empty() {
        names.push(String::new());
    }
    let no_parameters = OsParameters::default();
    let settings = |name: String| {
        let settings = of(paths, &name, &no_parameters);
        (name, settings)
    };
    Ok(names.into_iter().map(settings).collect())
}

/// The settings of the variant of that name, or of none if that is empty.
pub fn of(paths: &SettingsPaths, name: &str, given: &OsParameters) -> Result<Settings> {
    let name = Some(name).filter(|name| !name.is_empty());
    Settings::from_layers(paths, name, given)
}

/// The keys of the bootstrap roots that creates of these variants take, each
/// with the names of the variants.
pub fn by_root<'a>(
    variants: impl IntoIterator<Item = (&'a str, &'a Settings)>,
) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, settings) in variants {
        let names = keys.entry(settings.recipe().key()).or_default();
        names.push(name.to_owned());
    }
    keys
}
