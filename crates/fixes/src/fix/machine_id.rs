//! /etc/machine-id stays: it is the same machine, its journal and its leases
//! go on. One that came along empty is right too: systemd makes a new one.

use anyhow::Result;

use crate::machine::Machine;
use crate::{Draft, Verdict};

/// Looks, and changes nothing.
pub fn run(_: &Machine, draft: &mut Draft) -> Result<Verdict> {
    let Some(text) = draft.text("etc/machine-id")? else {
        return Ok(Verdict::not_needed("there is no /etc/machine-id"));
    };
    let id = text.trim();
    let known = ["", "uninitialized"].contains(&id);
    if !known && (id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        draft.warn("/etc/machine-id is not 32 hex digits: systemd may not start with it");
    }
    Ok(Verdict::Right("the machine keeps its id".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{machine, run as run_fix};

    #[test]
    fn it_stays() {
        let machine = machine("{}");
        for (text, warned) in [
            ("b08dfa6083e7567a1921a715000001fb\n", 0),
            ("", 0),
            ("oops\n", 1),
        ] {
            let outcome = run_fix(run, &machine, &[("etc/machine-id", text)]).unwrap();
            assert_eq!(outcome.warnings.len(), warned, "{text}");
        }
    }
}
