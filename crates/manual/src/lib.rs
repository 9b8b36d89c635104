//! The files of the tree that are made from definitions in the source: manual
//! pages and completions from the arguments' definitions, the example
//! configuration and its manual from the table of settings, and Ganeti's lists.
//!
//! They are kept in the tree, so that they can be read there and an installation
//! needs nothing to make them; a test fails when one differs from what is made
//! here. `make generated` makes them anew.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use p2v_ganeti::job::ApiVersion;
use p2v_ganeti::{parameters, settings as ganeti_settings};

pub mod command;
pub mod completions;
pub mod notes;
pub mod roff;
pub mod settings;

/// The directories that hold nothing but what is made here.
pub const DIRECTORIES: [&str; 2] = ["man", "completions"];

/// A file that is made.
#[derive(Debug)]
pub struct Made {
    /// Its path in the tree.
    pub path: PathBuf,
    /// What is to be in it.
    pub text: String,
}

/// The tree that this was built from.
pub fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All of them.
///
/// # Errors
/// Something is missing in a definition, or in the file of which a part is made.
pub fn files() -> Result<Vec<Made>> {
    let mut files = Vec::new();
    let mut add = |path: String, text: String| {
        let path = PathBuf::from(path);
        files.push(Made { path, text });
    };
    add("man/man8/p2v.8".to_owned(), command::whole()?);
    for applet in command::visible() {
        let path = format!("man/man8/p2v-{}.8", applet.names[0]);
        add(path, command::applet(applet)?);
        for name in &applet.names[1..] {
            if let Some(text) = command::other_name(applet, name) {
                add(format!("man/man8/{name}.8"), text);
            }
        }
    }
    add("man/man5/p2v-target.conf.5".to_owned(), settings::page());
    for (path, text) in completions::files() {
        add(format!("completions/{path}"), text);
    }
    let conf = ganeti_settings::example_conf();
    add("os-def/p2v-target.conf".to_owned(), conf);
    let list = parameters::parameters_list();
    add("os-def/parameters.list".to_owned(), list);
    let versions = ApiVersion::ALL.map(|version| format!("{}\n", version.number()));
    add("ganeti_api_version".to_owned(), versions.concat());
    let path = "docs/settings.md";
    let text = std::fs::read_to_string(tree().join(path));
    let text = text.with_context(|| format!("reading {path}"))?;
    add(path.to_owned(), settings::with_table(&text)?);
    Ok(files)
}
