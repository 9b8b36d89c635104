//! Ganeti's `verify`: are the OS parameters valid?
//!
//! Its environment holds only OS_*, DEBUG_LEVEL, PATH and OSP_*: no instance,
//! no disk. So each parameter is looked at by itself; what the configuration
//! makes of them all is for `create` to see.

use anyhow::{Result, bail};

use crate::environment::Environment;
use crate::findings::quoted;
use crate::parameters;

/// The checks that Ganeti can ask for, by their names as arguments.
pub const CHECKS: [&str; 1] = ["parameters"];

/// Makes the checks named by the arguments; at least one is needed.
///
/// # Errors
/// None or an unknown one is named, or what it looks at is wrong: all faults at
/// once.
pub fn run(environment: &Environment, checks: &[String]) -> Result<()> {
    if checks.is_empty() {
        bail!("verifying: no check is named; known: {}", CHECKS.join(", "));
    }
    for check in checks {
        if !CHECKS.contains(&check.as_str()) {
            bail!(
                "verifying: {} is no check; known: {}",
                quoted(check),
                CHECKS.join(", ")
            );
        }
    }
    environment.api_version()?;
    let given = environment.parameters()?;
    parameters::check(&given).into_result("checking the OS parameters")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that Ganeti gives verify.
    fn environment(parameters: &[(&str, &str)]) -> Environment {
        let given = [
            ("OS_API_VERSION", "20"),
            ("OS_NAME", "p2v-target"),
            ("OS_VARIANT", "default"),
            ("DEBUG_LEVEL", "0"),
            ("PATH", "/sbin:/bin:/usr/sbin:/usr/bin"),
        ];
        Environment::from_pairs(given.iter().chain(parameters).copied())
    }

    #[test]
    fn parameters_alone_decide() {
        let checks = ["parameters".to_owned()];
        run(&environment(&[]), &checks).unwrap();
        run(&environment(&[("OSP_FILESYSTEM", "btrfs")]), &checks).unwrap();
        let bad = environment(&[("OSP_FILESYSTEM", "zfs"), ("OSP_SIUTE", "x")]);
        let text = run(&bad, &checks).unwrap_err().to_string();
        for part in [
            "2 faults",
            "`zfs`",
            "ext4",
            "`siute`",
            "did you mean suite?",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn checks_must_be_known() {
        for checks in [&[][..], &["disks".to_owned()], &["-h".to_owned()]] {
            let text = run(&environment(&[]), checks).unwrap_err().to_string();
            assert!(text.contains("known: parameters"), "{text}");
        }
        let none = Environment::default();
        assert!(run(&none, &["parameters".to_owned()]).is_err());
    }
}
