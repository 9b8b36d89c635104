//! The variables that configuration files have set so far, and where each was
//! set last.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::table;
use crate::findings::did_you_mean;

/// The longest value, in bytes. `A=$A$A` doubles with every line.
const LONGEST_VALUE: usize = 64 << 10;

/// Names that a file cannot set: Ganeti or p2v-target sets them for hooks, or
/// they would change how hooks run.
const RESERVED_NAMES: [&str; 7] = [
    "BLOCKDEV",
    "DEBUG_LEVEL",
    "FSYSDEV",
    "HYPERVISOR",
    "IFS",
    "PATH",
    "TARGET",
];
const RESERVED_PREFIXES: [&str; 7] = ["DISK_", "INSTANCE_", "LD_", "NIC_", "OSP_", "OS_", "P2V_"];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A configuration file, and the line in it.
    File(PathBuf, usize),
    /// The OS parameter of this name.
    Parameter(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built-in default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Parameter(name) => write!(f, "OS parameter {name}"),
        }
    }
}

/// A variable as it is at this point of the files.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub(super) value: String,
    pub(super) origin: Origin,
    /// Hooks get it.
    pub(super) exported: bool,
    /// A file has used it in another value.
    used: bool,
}

/// All variables at this point of the files.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    variables: BTreeMap<String, Variable>,
    /// `export NAME` may come before NAME has a value.
    exports: Vec<String>,
}

impl Scope {
    pub(super) fn get(&self, name: &str) -> Option<&Variable> {
        self.variables.get(name)
    }

    pub(super) fn is_empty(&self, name: &str) -> bool {
        self.get(name)
            .is_none_or(|variable| variable.value.is_empty())
    }

    /// Sets a variable for one of the layers that are no file.
    pub(super) fn put(&mut self, name: &str, value: String, origin: Origin) {
        let exported = self.exports.iter().any(|exported| exported == name);
        let used = self.get(name).is_some_and(|variable| variable.used);
        let variable = Variable {
            value,
            origin,
            exported,
            used,
        };
        self.variables.insert(name.to_owned(), variable);
    }

    /// Sets a variable, or adds to it, as a line of a file says.
    pub(super) fn assign(
        &mut self,
        name: &str,
        value: &str,
        append: bool,
        (file, line): (&Path, usize),
    ) -> Result<(), String> {
        check_reserved(name)?;
        let mut whole = match self.get(name) {
            Some(old) if append => old.value.clone(),
            _ => String::new(),
        };
        whole.push_str(value);
        if whole.len() > LONGEST_VALUE {
            return Err(format!(
                "the value of {name} is longer than {} KiB",
                LONGEST_VALUE >> 10
            ));
        }
        self.put(name, whole, Origin::File(file.to_owned(), line));
        Ok(())
    }

    /// Has hooks get a variable, from now on.
    pub(super) fn export(&mut self, name: &str) -> Result<(), String> {
        check_reserved(name)?;
        if !self.exports.iter().any(|exported| exported == name) {
            self.exports.push(name.to_owned());
        }
        if let Some(variable) = self.variables.get_mut(name) {
            variable.exported = true;
        }
        Ok(())
    }

    /// The value that `$name` stands for. A setting that no file has set yet is
    /// empty, as in a shell; any other name must have been set.
    pub(super) fn expand(&mut self, name: &str) -> Result<String, String> {
        if let Some(variable) = self.variables.get_mut(name) {
            variable.used = true;
            return Ok(variable.value.clone());
        }
        if table::setting(name).is_some() {
            return Ok(String::new());
        }
        let mut known: Vec<&str> = table::names().collect();
        known.extend(self.variables.keys().map(String::as_str));
        let hint = did_you_mean(name, known);
        Err(format!(
            "${name} is not set above, and is no setting{hint} (variables of the instance or of \
            the system are not to be seen here)"
        ))
    }

    /// What is exported, by name.
    pub(super) fn exported(&self) -> BTreeMap<String, String> {
        let exported = |(name, variable): (&String, &Variable)| {
            variable
                .exported
                .then(|| (name.clone(), variable.value.clone()))
        };
        self.variables.iter().filter_map(exported).collect()
    }

    /// A line for each variable that is no setting, that no value uses and no
    /// hook gets: most probably a name with a typing error.
    pub(super) fn warnings(&self) -> Vec<String> {
        let stray = |name: &str, variable: &Variable| {
            table::setting(name).is_none() && !variable.used && !variable.exported
        };
        self.variables
            .iter()
            .filter(|(name, variable)| stray(name, variable))
            .map(|(name, variable)| {
                let hint = did_you_mean(name, table::names());
                format!(
                    "{}: {name} is not a setting, and nothing uses it{hint} (write `export \
                    {name}` if hooks shall get it)",
                    variable.origin
                )
            })
            .collect()
    }
}

fn check_reserved(name: &str) -> Result<(), String> {
    let setting = name
        .strip_prefix("OSP_")
        .filter(|name| table::setting(name).is_some());
    if let Some(setting) = setting {
        return Err(format!(
            "{name} is for Ganeti to set; the setting is {setting}"
        ));
    }
    let reserved = RESERVED_NAMES.contains(&name)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix));
    if reserved {
        return Err(format!("{name} cannot be set in a configuration file"));
    }
    Ok(())
}
