//! The host name: the system keeps its own, or takes the instance's in every
//! file that has its own.

use anyhow::{Result, anyhow};
use p2v_hostname::{Changes, HostName, HostnamePolicy, Names};

use crate::machine::Machine;
use crate::{Draft, Verdict};

/// Keeps or changes the name.
pub fn run(machine: &Machine, draft: &mut Draft) -> Result<Verdict> {
    if machine.hostname == HostnamePolicy::Keep {
        return Ok(Verdict::not_needed("the machine keeps its name"));
    }
    let instance: HostName = machine
        .instance
        .parse()
        .map_err(|why| anyhow!("taking the instance's name `{}`: {why}", machine.instance))?;
    let names = Names::new(&instance, &instance);
    let changes = Changes::find_in(&|path| draft.read(path), &names, machine.hostname)?;
    let mut done = Vec::new();
    let files: Vec<_> = changes
        .files()
        .map(|(path, text)| (path, text.to_vec()))
        .collect();
    for (path, text) in files {
        draft.write(path, text)?;
        done.push(format!("{path}: {instance}"));
    }
    changes.finish()?;
    Ok(Verdict::of(done, "it has the instance's name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{machine, run as run_fix};

    #[test]
    fn the_policy_decides() {
        let files = [
            ("etc/hostname", "db7\n"),
            (
                "etc/hosts",
                "127.0.0.1 localhost\n127.0.1.1 db7.lab.example db7\n",
            ),
            ("etc/mailname", "other.example\n"),
        ];
        let keep = machine(r#"{"instance": "web1.example.com"}"#);
        let outcome = run_fix(run, &keep, &files).unwrap();
        assert!(matches!(outcome.verdict, Verdict::NotNeeded(_)));
        let take = machine(r#"{"instance": "web1.example.com", "hostname": "instance"}"#);
        let outcome = run_fix(run, &take, &files).unwrap();
        assert_eq!(outcome.file("etc/hostname"), "web1\n");
        let hosts = "127.0.0.1 localhost\n127.0.1.1 db7.lab.example web1\n";
        assert_eq!(outcome.file("etc/hosts"), hosts);
        let bad = machine(r#"{"instance": "", "hostname": "instance"}"#);
        assert!(run_fix(run, &bad, &files).is_err());
    }
}
