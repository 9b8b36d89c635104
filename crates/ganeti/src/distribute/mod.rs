//! `p2v distribute`: the configuration and the cached bootstrap roots of the
//! master node on all other nodes, by Ganeti's own means (`gnt-cluster command`
//! and `gnt-cluster copyfile`).
//!
//! Nothing is ever removed: what a node has beyond the master is named. What
//! belongs to one node (the state directory, ramboot initrds) stays there, and
//! so does the installed program: its version is only compared.

mod cluster;
mod inventory;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::environment::Environment;
use crate::settings::SettingsPaths;
use cluster::{Answer, Cluster, Node};
use inventory::{Difference, Inventory, Source};

/// What one run works with.
#[derive(Debug)]
struct Distribution {
    cluster: Cluster,
    source: Source,
    /// Before every path of a virtual cluster's node; else empty.
    root: PathBuf,
    master: String,
    nodes: Vec<Node>,
}

/// Brings all nodes to what the master node has, and returns the report and
/// whether all are equal now. With `dry_run` it returns the commands that
/// would do it, and nothing is changed.
///
/// # Errors
/// The nodes cannot be listed, as anywhere but on the master node, that one
/// itself does not answer, or gnt-cluster failed. Another node that cannot be
/// asked is in the report.
pub fn run(environment: &Environment, dry_run: bool) -> Result<(String, bool)> {
    let distribution = Distribution::find(environment)?;
    let before = distribution.take_inventories()?;
    let plan = distribution.plan(&before)?;
    if dry_run {
        let shown = plan.iter().fold(String::new(), |shown, words| {
            shown + "gnt-cluster " + &shell_line(words) + "\n"
        });
        return Ok((shown, plan.is_empty()));
    }
    for words in &plan {
        tracing::info!("running gnt-cluster {}", shell_line(words));
        distribution.cluster.run(words)?;
    }
    let after = match plan.is_empty() {
        true => before,
        false => distribution.take_inventories()?,
    };
    distribution.report(&after)
}

/// What the nodes have, by their names, or why that is not known.
type Inventories = BTreeMap<String, Result<Inventory, String>>;

impl Distribution {
    fn find(environment: &Environment) -> Result<Self> {
        let SettingsPaths {
            config_dir,
            cache_dir,
            ..
        } = environment.paths()?;
        let cluster = Cluster;
        let nodes = cluster.nodes()?;
        let master = nodes.iter().find(|node| node.is_master());
        Ok(Self {
            cluster,
            source: Source::new(&config_dir, &cache_dir)?,
            root: environment.node_root(),
            master: master
                .context("looking for the master among the nodes")?
                .name
                .clone(),
            nodes,
        })
    }

    fn take_inventories(&self) -> Result<Inventories> {
        let answers = self.cluster.ask(&self.source.survey())?;
        let known = |answer: &Answer| match answer.code {
            0 => {
                Inventory::parse(&answer.lines, &self.source).map_err(|error| format!("{error:#}"))
            }
            code => Err(format!("status {code}: {}", answer.lines.join("; "))),
        };
        Ok(answers
            .iter()
            .map(|(node, answer)| (node.clone(), known(answer)))
            .collect())
    }

    fn masters<'a>(&self, inventories: &'a Inventories) -> Result<&'a Inventory> {
        let doing = || format!("looking at the master node {}", self.master);
        match inventories.get(&self.master) {
            Some(Ok(inventory)) => Ok(inventory),
            Some(Err(reason)) => bail!(
                "{}: {reason}; Ganeti must reach every node as root by SSH, the master too",
                doing()
            ),
            None => bail!("{}: it did not answer", doing()),
        }
    }

    /// The commands that make the others equal: directories first, and a root's
    /// archive before the file that says that it is there.
    fn plan(&self, inventories: &Inventories) -> Result<Vec<Vec<String>>> {
        let masters = self.masters(inventories)?;
        let mut wanting = Vec::new();
        let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (node, inventory) in self.others(inventories) {
            let Ok(inventory) = inventory else { continue };
            let difference = Difference::between(masters, inventory);
            if difference.is_wanting() {
                wanting.push(node);
            }
            for file in difference.wanting_files() {
                files.entry(file).or_default().push(node);
            }
        }
        let mut plan = Vec::new();
        if !wanting.is_empty() {
            plan.push(command("command", &wanting, &masters.make_directories()));
        }
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort_by_key(|(file, _)| (self.source.is_announcement(file), *file));
        for (file, nodes) in files {
            let local = format!("{}{file}", self.root.display());
            plan.push(command("copyfile", &nodes, &local));
        }
        Ok(plan)
    }

    fn others<'a>(
        &'a self,
        inventories: &'a Inventories,
    ) -> impl Iterator<Item = (&'a str, &'a Result<Inventory, String>)> {
        inventories
            .iter()
            .map(|(node, inventory)| (node.as_str(), inventory))
            .filter(|(node, _)| *node != self.master)
    }

    /// A line a node, and whether all are equal.
    fn report(&self, inventories: &Inventories) -> Result<(String, bool)> {
        let masters = self.masters(inventories)?;
        let mut text = format!("{}: master, {}\n", self.master, masters.summary());
        let mut all_equal = true;
        for node in self.nodes.iter().filter(|node| !node.is_master()) {
            let (verdict, equal) = match inventories.get(&node.name) {
                _ if node.is_offline() => ("offline, left out".to_owned(), true),
                None => ("no answer".to_owned(), false),
                Some(Err(reason)) => (format!("no answer: {reason}"), false),
                Some(Ok(inventory)) => {
                    let difference = Difference::between(masters, inventory);
                    (difference.to_string(), difference.is_equal())
                }
            };
            all_equal &= equal;
            writeln!(text, "{}: {verdict}", node.name)?;
        }
        Ok((text, all_equal))
    }
}

/// A command of gnt-cluster's for some nodes.
fn command(verb: &str, nodes: &[&str], what: &str) -> Vec<String> {
    let nodes = nodes.iter().flat_map(|node| ["-n", node]);
    let words = [verb].into_iter().chain(nodes).chain([what]);
    words.map(str::to_owned).collect()
}

/// The words as one would type them.
fn shell_line(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@+".contains(c);
    let quoted = words.iter().map(|word| match word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let words = command("command", &["node2", "node3"], "cd \"$A\"; echo 'x'");
        let line = r#"command -n node2 -n node3 'cd "$A"; echo '\''x'\'''"#;
        assert_eq!(shell_line(&words), line);
    }
}
