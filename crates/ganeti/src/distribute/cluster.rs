//! Ganeti's commands on the master node: which nodes there are, and a command
//! on all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use p2v_sys::Cmd;

/// Longer than copying a large root to many nodes through a slow network.
const LONGEST: Duration = Duration::from_secs(3600);

const HINT: &str = "run this on the cluster's master node (`gnt-cluster getmaster` names it)";

/// A node, as `gnt-node list` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its full name.
    pub name: String,
    role: String,
}

impl Node {
    pub fn is_master(&self) -> bool {
        self.role == "M"
    }

    pub fn is_offline(&self) -> bool {
        self.role == "O"
    }
}

/// What a command printed on a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Both its outputs.
    pub lines: Vec<String>,
    /// Its status; SSH's 255 if the node was not reached.
    pub code: i32,
}

/// The cluster whose master node this is.
#[derive(Debug)]
pub struct Cluster;

impl Cluster {
    pub fn nodes(&self) -> Result<Vec<Node>> {
        let list = Cmd::new("gnt-node", "asking Ganeti for its nodes")
            .args(["list", "--no-headers", "--separator=|", "-o", "name,role"])
            .read()
            .map_err(|error| anyhow::anyhow!("{error:#}; {HINT}"))?;
        Ok(list.lines().filter_map(node).collect())
    }

    /// Runs a shell command on all nodes that are not offline.
    pub fn ask(&self, script: &str) -> Result<BTreeMap<String, Answer>> {
        let said = Cmd::new("gnt-cluster", "asking the nodes what they have")
            .args(["command", "-M", script])
            .timeout(LONGEST)
            .read()?;
        answers(&said)
    }

    /// Runs `gnt-cluster`. That it succeeds says little: copyfile does so
    /// whatever happens.
    pub fn run(&self, words: &[String]) -> Result<()> {
        let doing = format!(
            "running gnt-cluster {}",
            words.first().map_or("", |verb| verb)
        );
        let command = Cmd::new("gnt-cluster", doing);
        command.args(words).timeout(LONGEST).run()
    }
}

fn node(line: &str) -> Option<Node> {
    let (name, role) = line.split_once('|')?;
    Some(Node {
        name: name.to_owned(),
        role: role.to_owned(),
    })
}

/// Of each node a rule, its lines after its name, and the status. A node that
/// prints nothing is not named: what is asked must print something.
fn answers(said: &str) -> Result<BTreeMap<String, Answer>> {
    let mut answers = BTreeMap::new();
    let mut of: Option<(String, Answer)> = None;
    for line in said.lines() {
        if line.len() > 20 && line.bytes().all(|b| b == b'-') {
            of = None;
        } else if let Some(code) = line.strip_prefix("return code = ") {
            if let Some((node, mut answer)) = of.take() {
                answer.code = code.parse().with_context(|| format!("parsing {line:?}"))?;
                answers.insert(node, answer);
            }
        } else if let Some((node, line)) = line.split_once(": ") {
            let (_, answer) = of.get_or_insert_with(|| (node.to_owned(), Answer::default()));
            answer.lines.push(line.to_owned());
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let rule = "-".repeat(48);
        let said = format!(
            "{rule}\nnode2: a: b\nnode2: c\nreturn code = 0\n{rule}\nnode3: ssh: no route\n\
             return code = 255\n{rule}\nreturn code = 0\n"
        );
        let answer = |lines: &[&str], code| Answer {
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            code,
        };
        let expected = [
            ("node2".to_owned(), answer(&["a: b", "c"], 0)),
            ("node3".to_owned(), answer(&["ssh: no route"], 255)),
        ];
        assert_eq!(answers(&said).unwrap(), BTreeMap::from(expected));
    }

    #[test]
    fn a_node_has_a_role() {
        let node = node("node1.lab|M").unwrap();
        assert!(node.is_master() && !node.is_offline());
        assert_eq!(node.name, "node1.lab");
    }
}
