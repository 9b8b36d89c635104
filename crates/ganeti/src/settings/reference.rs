//! What there is to say of each setting, for manuals.

use super::SettingsPaths;
use super::table::{Default, SETTINGS};
use crate::parameters::{PARAMETERS, Target};

/// A setting, in words.
#[derive(Debug, Clone)]
pub struct Explained {
    /// Its name in the files.
    pub name: &'static str,
    /// The OS parameter that goes over it, if there is one.
    pub parameter: Option<&'static str>,
    /// Its default; what an empty one means is in words, and `false` beside it.
    pub default: (String, bool),
    /// What it means and may be: lines as in the example configuration. A line
    /// with two blanks inside begins an item of a list; those of the item that
    /// follow begin with blanks.
    pub help: &'static [&'static str],
    /// A value to show.
    pub example: String,
}

/// All settings, in the order of the example configuration.
pub fn reference() -> Vec<Explained> {
    let paths = SettingsPaths::default();
    let explained = SETTINGS.iter().map(|setting| Explained {
        name: setting.name,
        parameter: parameter(setting.name),
        default: match setting.default {
            Default::Empty(meaning) => (meaning.to_owned(), false),
            _ => (setting.default_text(&paths), true),
        },
        help: setting.help,
        example: match setting.example {
            Some(example) => example.to_owned(),
            None => setting.default_text(&paths),
        },
    });
    explained.collect()
}

fn parameter(setting: &str) -> Option<&'static str> {
    let goes_over = |target: Target| match target {
        Target::Setting(name) | Target::List(name) => name == setting,
        Target::AuthorizedKeys => setting == "AUTHORIZED_KEYS_FILE",
    };
    let parameter = PARAMETERS
        .iter()
        .find(|parameter| goes_over(parameter.target));
    parameter.map(|parameter| parameter.name)
}
