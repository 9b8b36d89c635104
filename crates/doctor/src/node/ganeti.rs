//! How Ganeti itself sees the OS definition and its instances. Only the master
//! node can be asked.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use p2v_ganeti::settings::SettingsPaths;
use p2v_sys::Cmd;
use p2v_sys::command::in_path;
use p2v_transfer::preflight::Finding;

use super::configuration::Configuration;
use super::kernels;
use crate::{failed, install};

/// How long Ganeti may take for an answer, which it gathers from every node.
const PATIENCE: Duration = Duration::from_secs(60);

/// What Ganeti says on other nodes.
const NOT_MASTER: &str = "not the master node";

/// What Ganeti says where no cluster is.
const NO_CLUSTER: &str = "not initialized";

/// Asks for the OS definitions that can be used on all nodes, and for the
/// kernels of this node's instances.
pub fn check(paths: &SettingsPaths, configuration: &Configuration) -> Vec<Finding> {
    if !in_path("gnt-os") {
        let finding = Finding::warning("Ganeti is not installed here");
        return vec![finding.remedy(install("ganeti"))];
    }
    let list = ask(
        "gnt-os",
        "asking Ganeti for its OS definitions",
        &["list", "--no-headers"],
    );
    let offered = match list {
        Ok(offered) => offered,
        Err(error) => return vec![unanswered(&error)],
    };
    let mut findings = offers(paths, configuration, &offered);
    findings.extend(instances(&os_name(paths)));
    findings
}

fn ask(program: &str, doing: &str, args: &[&str]) -> Result<String> {
    Cmd::new(program, doing).args(args).timeout(PATIENCE).read()
}

fn unanswered(error: &anyhow::Error) -> Finding {
    let said = format!("{error:#}");
    if said.contains(NOT_MASTER) {
        return Finding::good("this is not the cluster's master node, which alone can be asked")
            .remedy("run the doctor on the master node too (gnt-cluster getmaster)");
    }
    if said.contains(NO_CLUSTER) {
        return Finding::warning("this node belongs to no cluster")
            .remedy("gnt-cluster init here, or gnt-node add on the master node");
    }
    Finding::warning(said).remedy("systemctl status ganeti; tail /var/log/ganeti/*.log")
}

/// The OS definition's name is its directory's.
fn os_name(paths: &SettingsPaths) -> String {
    let name = paths.os_dir.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Whether Ganeti offers every variant; if not, what it says about it.
fn offers(paths: &SettingsPaths, configuration: &Configuration, offered: &str) -> Vec<Finding> {
    let os = os_name(paths);
    let names = match configuration.published.as_slice() {
        [] => vec![os.clone()],
        variants => variants
            .iter()
            .map(|variant| format!("{os}+{variant}"))
            .collect(),
    };
    let is_offered = |name: &&String| offered.split_whitespace().any(|one| one == *name);
    let (there, missing): (Vec<&String>, Vec<&String>) = names.iter().partition(is_offered);
    let list = |names: Vec<&String>| names.into_iter().cloned().collect::<Vec<_>>().join(", ");
    if missing.is_empty() {
        return vec![Finding::good(format!("Ganeti offers {}", list(there)))];
    }
    let diagnose = Cmd::new("gnt-os", "asking Ganeti what is wrong").arg("diagnose");
    // With status 1, if something is.
    let diagnosed = diagnose.timeout(PATIENCE).read_answer(&[1]);
    let diagnosed = diagnosed.map(|(_, all)| said_of(&os, &all));
    let said = diagnosed.unwrap_or_else(|error| format!("{error:#}"));
    let text = format!("Ganeti does not offer {}: {said}", list(missing));
    let remedy = format!(
        "mend what it says of each node; where a node lacks it, install it there, and run p2v \
         distribute here; if it is hidden or blacklisted: gnt-os modify --hidden=no \
         --blacklisted=no {os}"
    );
    vec![Finding::error(text).remedy(remedy)]
}

/// What `gnt-os diagnose` says of an OS definition: its lines from the heading
/// on, up to the next one.
fn said_of(os: &str, all: &str) -> String {
    let heading = format!("OS: {os} ");
    let mut lines = all.lines().skip_while(|line| !line.starts_with(&heading));
    let Some(first) = lines.next() else {
        return "it knows of none on any node".to_owned();
    };
    let rest = lines.take_while(|line| !line.starts_with("OS: "));
    let rest = rest.filter(|line| !line.is_empty());
    [first]
        .into_iter()
        .chain(rest)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Instances of ours that this node, the master, gives a kernel. The files are
/// those of their own nodes: only of this one's can they be looked at.
fn instances(os: &str) -> Vec<Finding> {
    let fields = "name,os,pnode,hv/kernel_path,hv/initrd_path";
    let args = ["list", "--no-headers", "--separator=|", "-o", fields];
    let listed = ask(
        "gnt-instance",
        "asking Ganeti for the instances' kernels",
        &args,
    );
    let master = ask(
        "gnt-cluster",
        "asking Ganeti for the master node",
        &["getmaster"],
    );
    let (listed, master) = match (listed, master) {
        (Ok(listed), Ok(master)) => (listed, master),
        (Err(error), _) | (_, Err(error)) => {
            return vec![failed(&error, "systemctl status ganeti")];
        }
    };
    let lines = listed.lines();
    lines
        .filter_map(|line| instance(line, os, &master))
        .collect()
}

fn instance(line: &str, os: &str, master: &str) -> Option<Finding> {
    let fields: Vec<&str> = line.split('|').collect();
    let [name, its_os, node, kernel, initrd] = fields[..] else {
        return None;
    };
    let of_ours = its_os.split('+').next() == Some(os);
    // Where there is none, Ganeti says so with a dash, or nothing.
    let is_path = |path: &&str| path.starts_with('/');
    if !of_ours || node != master || !is_path(&kernel) {
        return None;
    }
    let initrd = Some(initrd).filter(is_path).map(Path::new);
    let mut finding = kernels::given(Path::new(kernel), initrd);
    finding.text = format!("instance {name}: {}", finding.text);
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use p2v_transfer::preflight::Weight;

    #[test]
    fn what_ganeti_says_of_one_definition_is_told_apart() {
        let all = "OS: p2v-target2 [global status: valid]\n  Node: n1\n\nOS: p2v-target [global \
                   status: invalid]\n  Node: n1, status: invalid - no verify\n\nOS: z [x]\n";
        let said = said_of("p2v-target", all);
        let expected = "OS: p2v-target [global status: invalid]\n  Node: n1, status: invalid - no \
                        verify";
        assert_eq!(said, expected);
        assert!(said_of("none", all).contains("knows of none"));
    }

    #[test]
    fn only_our_own_instances_of_this_node_with_its_kernel_are_looked_at() {
        let os = "p2v-target";
        for (line, expected) in [
            (
                "a|p2v-target+default|n1|/no/vmlinuz|/no/initrd",
                Some("/no/vmlinuz is not there"),
            ),
            (
                "a|p2v-target|n1|/proc/version|/no/initrd",
                Some("/no/initrd is not there"),
            ),
            ("a|p2v-target+default|n1||", None),
            ("a|p2v-target+default|n1|-|-", None),
            ("a|p2v-target+default|n2|/no/vmlinuz|/no/initrd", None),
            ("a|debootstrap+default|n1|/no/vmlinuz|/no/initrd", None),
            ("a|p2v-targets|n1|/no/vmlinuz|/no/initrd", None),
            ("nonsense", None),
        ] {
            let found = instance(line, os, "n1");
            assert_eq!(found.is_some(), expected.is_some(), "{line}");
            if let (Some(found), Some(words)) = (found, expected) {
                assert_eq!(found.weight, Weight::Error);
                assert!(found.text.starts_with("instance a: ") && found.text.contains(words));
            }
        }
    }
}
