//! SELinux: what was written without its labels is labelled at the next start.

use anyhow::Result;

use crate::lines::shell_value;
use crate::machine::Machine;
use crate::{Draft, Verdict};

const CONFIG: &str = "etc/selinux/config";
const RELABEL: &str = ".autorelabel";

/// Asks for the labels where SELinux is on.
pub fn run(_: &Machine, draft: &mut Draft) -> Result<Verdict> {
    let Some(text) = draft.text(CONFIG)? else {
        return Ok(Verdict::not_needed("the system has no SELinux"));
    };
    let mode = shell_value(&text, "SELINUX").unwrap_or_default();
    if !["enforcing", "permissive"].contains(&mode.as_str()) {
        return Ok(Verdict::not_needed("SELinux is off"));
    }
    if draft.exists(RELABEL) {
        return Ok(Verdict::Right("the labels are asked for".to_owned()));
    }
    draft.write(RELABEL, "")?;
    Ok(Verdict::Changed(vec![
        "the first start writes the labels anew, and starts once more".to_owned(),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{machine, run as run_fix};

    #[test]
    fn where_it_is_on() {
        for (text, asked) in [
            ("# x\nSELINUX=enforcing\nSELINUXTYPE=targeted\n", true),
            ("SELINUX=permissive\n", true),
            ("SELINUX=disabled\n", false),
            ("", false),
        ] {
            let outcome = run_fix(run, &machine("{}"), &[(CONFIG, text)]).unwrap();
            assert_eq!(outcome.changed() == [RELABEL], asked, "{text}");
        }
    }
}
