//! A node of a Ganeti cluster, where create makes instances.

mod cache;
mod configuration;
mod definition;
mod ganeti;
mod hooks;
mod kernels;
mod programs;

use crate::{Checked, Place};
use configuration::Configuration;

/// Looks at the OS definition, its configuration, what it runs, and how Ganeti
/// sees it.
pub fn check(place: &Place) -> Checked {
    let paths = &place.paths;
    let (configuration, found) = Configuration::load(paths);
    vec![
        ("OS definition", definition::check(paths)),
        ("configuration", found),
        ("keys", configuration.keys()),
        ("hooks", configuration.hooks()),
        ("fixes", hooks::fixes(paths)),
        ("programs", programs::check(&configuration)),
        ("cache", cache::check(paths, &configuration)),
        ("kernel", kernels::check(&configuration)),
        ("initrds", kernels::pairs_in(&place.boot)),
        ("Ganeti", ganeti::check(paths, &configuration)),
    ]
}
