//! The layers, one over the other, and what they come to.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::scope::{Origin, Scope};
use super::table::{self, SETTINGS};
use super::{CONF_NAME, Settings, SettingsPaths, blank, syntax, values, variant};
use crate::authorized_keys::{self, AuthorizedKey};
use crate::config_file;
use crate::findings::Findings;
use crate::job::{Job, OsParameters};
use crate::parameters::{self, Target};

impl Settings {
    /// Reads the settings for a job, and logs what is probably not meant so.
    pub fn load(paths: &SettingsPaths, job: &Job) -> Result<Self> {
        // Before version 15 an OS had no variants.
        let variant = job.variant.as_deref().filter(|_| job.api.has_variants());
        let settings = Self::from_layers(paths, variant, &job.parameters)?;
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        Ok(settings)
    }

    /// Defaults, p2v-target.conf, the variant's file and the OS parameters,
    /// each over what came before. Without p2v-target.conf the defaults stand.
    pub fn from_layers(
        paths: &SettingsPaths,
        variant: Option<&str>,
        given: &OsParameters,
    ) -> Result<Self> {
        let mut scope = Scope::default();
        let conf = paths.config_dir.join(CONF_NAME);
        if let Some(text) = config_file::read(&conf)? {
            syntax::evaluate(&text, &conf, &mut scope)?;
        }
        // Before the variant's file, which may use them, as in
        // instance-debootstrap.
        put_defaults(&mut scope, paths);
        if let Some(variant) = variant {
            let dir = variants_dir(&scope)?;
            let file = variant::file(variant, &dir, paths)?;
            let text = config_file::read(&file)?.unwrap_or_default();
            syntax::evaluate(&text, &file, &mut scope)?;
            put_defaults(&mut scope, paths);
        }
        let mut findings = Findings::default();
        let keys = put_parameters(&mut scope, given, &mut findings);
        let mut settings = blank();
        for setting in SETTINGS {
            let Some(variable) = scope.get(setting.name) else {
                continue;
            };
            if let Err(reason) = (setting.set)(&mut settings, &variable.value) {
                findings.push(finding(
                    setting.name,
                    &variable.value,
                    &variable.origin,
                    &reason,
                ));
            }
            settings
                .origins
                .insert(setting.name, variable.origin.clone());
        }
        findings.into_result("checking the settings")?;
        settings.given_keys = keys;
        settings.exported = scope.exported();
        settings.warnings = scope.warnings();
        Ok(settings)
    }

    /// The built-in defaults.
    pub fn defaults(paths: &SettingsPaths) -> Result<Self> {
        let mut settings = blank();
        for setting in SETTINGS {
            let text = setting.default_text(paths);
            if let Err(reason) = (setting.set)(&mut settings, &text) {
                bail!("checking the default of {}: {reason}", setting.name);
            }
        }
        Ok(settings)
    }
}

fn finding(name: &str, value: &str, origin: &Origin, reason: &str) -> String {
    let shown = table::shown(name, value);
    match origin {
        Origin::Parameter(parameter) => format!("OS parameter {parameter}{shown}: {reason}"),
        origin => format!("{origin}: {name}{shown}: {reason}"),
    }
}

fn put_defaults(scope: &mut Scope, paths: &SettingsPaths) {
    for setting in SETTINGS {
        let is_set = scope.get(setting.name).is_some();
        if !is_set || (scope.is_empty(setting.name) && !setting.empty_is_a_value) {
            scope.put(setting.name, setting.default_text(paths), Origin::Default);
        }
    }
}

/// Puts the OS parameters over the files, and returns the keys among them.
fn put_parameters(
    scope: &mut Scope,
    given: &OsParameters,
    findings: &mut Findings,
) -> Vec<AuthorizedKey> {
    let mut keys = Vec::new();
    for (parameter, value) in parameters::known(given, findings) {
        let origin = Origin::Parameter(parameter.name);
        match parameter.target {
            Target::Setting(name) => scope.put(name, value.to_owned(), origin),
            Target::List(name) => {
                let whole = match (value.strip_prefix('+'), scope.get(name)) {
                    (Some(more), Some(old)) => format!("{},{more}", old.value),
                    (Some(more), None) => more.to_owned(),
                    (None, _) => value.to_owned(),
                };
                scope.put(name, whole, origin);
            }
            Target::AuthorizedKeys => {
                let given = authorized_keys::from_parameter(value);
                let given = given.map_err(|reason| format!("{origin}: {reason}"));
                keys = findings.keep(given).unwrap_or_default();
            }
        }
    }
    keys
}

/// Needed before the other settings can be checked.
fn variants_dir(scope: &Scope) -> Result<PathBuf> {
    const NAME: &str = "VARIANTS_DIR";
    let variable = scope.get(NAME).context("VARIANTS_DIR has no default")?;
    match values::absolute_path(&variable.value) {
        Ok(dir) => Ok(dir),
        Err(reason) => {
            let finding = finding(NAME, &variable.value, &variable.origin, &reason);
            bail!("checking the settings: {finding}")
        }
    }
}
