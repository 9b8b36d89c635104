//! The cache of bootstrap roots: room to build one, and whether there is one.

use p2v_bootstrap::Cache;
use p2v_ganeti::settings::SettingsPaths;
use p2v_ganeti::variants;
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
    let settings = configuration.settings.iter();
    let variants = variants::by_root(settings.map(|(name, settings)| (name.as_str(), settings)));
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
fn root(cache: &Cache, key: &str, variants: &[String]) -> (Finding, bool) {
    let names = variants.join(", ");
    let build = format!("p2v image build {}", variants[0]);
    let build = build.trim_end();
    let Some(image) = cache.image(key) else {
        let text = format!("{key} is not there yet ({names}): the first create builds it");
        let remedy = format!("that takes minutes; to have it built before: {build}");
        return (Finding::good(text).remedy(remedy), false);
    };
    if let Some(damage) = &image.damage {
        let text = format!("{key} is damaged ({names}): {damage}");
        return (Finding::warning(text).remedy(build), false);
    }
    let days = image.age().unwrap_or_default().as_secs() / 86400;
    let megabytes = image.bytes / 1_000_000;
    let text = format!("{key} is there ({names}): {megabytes} MB, {days} days old");
    (Finding::good(text), true)
}
