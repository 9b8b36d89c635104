//! The cache of bootstrap roots: room to build one, and whether there is one.

use std::collections::BTreeMap;

use p2v_bootstrap::Cache;
use p2v_ganeti::settings::SettingsPaths;
use p2v_transfer::preflight::Finding;

use super::configuration::Configuration;
use crate::failed;

/// Looks at the directory, and at the root of every variant in it.
pub fn check(paths: &SettingsPaths, configuration: &Configuration) -> Vec<Finding> {
    let dir = paths.cache_dir.display();
    let Some((_, first)) = configuration.settings.first() else {
        return Vec::new();
    };
    if !paths.cache_dir.exists() {
        let text = format!("{dir} is missing; the first create makes it");
        return vec![Finding::good(text).remedy(format!("install -d -m 0700 {dir}"))];
    }
    let cache = first.cache(paths);
    if let Err(error) = cache.check_directory() {
        let remedy = format!("chown root {dir}; chmod 700 {dir}; then empty it");
        return vec![failed(&error, &remedy)];
    }
    let mut findings = Vec::new();
    let mut variants: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (variant, settings) in &configuration.settings {
        let of_key = variants.entry(settings.recipe().key()).or_default();
        of_key.push(variant);
    }
    let mut all_built = true;
    for (key, variants) in variants {
        let (finding, is_built) = root(&cache, &key, &variants);
        findings.push(finding);
        all_built &= is_built;
    }
    for error in cache.build_obstacles() {
        let remedy = "make room or move the directory to a larger filesystem (a link in its \
                      place); apt-get install mmdebstrap";
        let finding = failed(&error, remedy);
        findings.push(match all_built {
            // Until the roots grow old.
            true => Finding::warning(finding.text).remedy(remedy),
            false => finding,
        });
    }
    findings
}

/// The root that the next create of these variants takes, and whether it is
/// there.
fn root(cache: &Cache, key: &str, variants: &[&str]) -> (Finding, bool) {
    let listed = cache.list().unwrap_or_default();
    let names = variants.join(", ");
    match listed.iter().find(|metadata| metadata.key == key) {
        Some(metadata) => {
            let days = metadata.age().as_secs() / 86400;
            let megabytes = metadata.archive_bytes / 1_000_000;
            let text = format!("{key} is there ({names}): {megabytes} MB, {days} days old");
            (Finding::good(text), true)
        }
        None => {
            let text = format!("{key} is not there yet ({names}): the first create builds it");
            let first = variants.first().unwrap_or(&"");
            let remedy =
                format!("that takes minutes; to have it built before: p2v image build {first}");
            (Finding::good(text).remedy(remedy), false)
        }
    }
}
