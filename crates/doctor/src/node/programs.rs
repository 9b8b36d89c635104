//! The programs that the entry points run.

use p2v_ganeti::needs;
use p2v_ganeti::settings::Settings;
use p2v_sys::tools::{self, Missing};
use p2v_sys::userspace_disk;
use p2v_transfer::preflight::Finding;

use super::configuration::Configuration;
use crate::install;

/// Looks for what each variant needs, and for what some nodes need.
pub fn check(configuration: &Configuration) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (variant, settings) in &configuration.settings {
        for missing in needs::for_create(settings) {
            findings.push(needed(&missing, variant));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good("all that create runs is installed"));
    }
    findings.extend(optional(configuration));
    findings
}

fn needed(missing: &Missing, variant: &str) -> Finding {
    let Missing { what, package } = missing;
    let of = match variant {
        "" => String::new(),
        name => format!(" of the variant {name}"),
    };
    Finding::error(format!("{what} is missing, which create{of} needs")).remedy(install(package))
}

/// What is well without, unless somebody needs it.
fn optional(configuration: &Configuration) -> Vec<Finding> {
    let Some((_, settings)) = configuration.settings.first() else {
        return Vec::new();
    };
    let Settings {
        partition_style,
        filesystem,
        ..
    } = settings;
    let needed = needs::for_create(settings);
    let mut dump = needs::for_dump(*partition_style, *filesystem);
    dump.retain(|missing| !needed.contains(missing));
    let uses = [
        ("backups that instance-debootstrap made", dump),
        (
            "disks that only QEMU reaches",
            tools::missing(&userspace_disk::TOOLS),
        ),
    ];
    let without = |(what, missing): (&str, Vec<Missing>)| {
        let packages: Vec<_> = missing.iter().map(|missing| missing.package).collect();
        let first = missing.first()?;
        let text = format!("without {}: only {what} need it", first.what);
        Some(Finding::good(text).remedy(format!(
            "if there are such: {}",
            install(&packages.join(" "))
        )))
    };
    uses.into_iter().filter_map(without).collect()
}
