//! What a running machine says of itself over SSH, before and after it moved.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::Recipe;
use crate::ssh::Ssh;

/// Longer than systemd waits for a device that is not there.
const LONGEST_START: Duration = Duration::from_secs(240);

/// Prints `WHAT VALUE` lines. None names a disk's device or a card: both are
/// others after a move.
pub(super) const QUESTIONS: &str = r#"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
each() { sed "s/^/$1 /"; }
hostname | each hostname
hostname --fqdn | each fqdn
uname --kernel-release | each kernel
cat /proc/1/comm | each init
findmnt --raw --noheadings --types ext3,ext4,xfs,btrfs,vfat,tmpfs --output TARGET,FSTYPE,UUID,LABEL |
    grep -v -e '^/run' -e '^/dev' | each mount
swapon --show=TYPE --noheadings | each swap
ip -oneline -4 address show scope global | awk '{print $4}' | each address
ip -4 route show default | awk '{print $3}' | each gateway
cksum </etc/passwd | each passwd
cksum </etc/shadow | each shadow
if [ -d /run/systemd/system ]; then
    systemctl --failed --no-legend --plain | awk '{print $1}' | each failed
    systemctl is-active multi-user.target | each multi-user
    systemctl is-enabled ssh.service | each ssh
else
    runlevel | each runlevel
fi
"#;

/// Answers by their question, and failed units apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Every answer to each question.
    pub answers: BTreeMap<String, BTreeSet<String>>,
    /// The units that failed.
    pub failed: BTreeSet<String>,
}

/// Waits until the machine's start has ended, and asks. The answers as they
/// came: [`Look::parse`] reads them.
pub fn ask(recipe: &Recipe, ssh: &Ssh) -> Result<String> {
    ssh.wait(LONGEST_START)?;
    wait_for_start(recipe, ssh)?;
    let said = patiently(ssh, QUESTIONS)?;
    ensure!(
        Look::parse(&said).has("hostname", recipe.hostname),
        "it is not called {}: {said}",
        recipe.hostname
    );
    Ok(said)
}

/// Tells the machine to switch itself off: not all hear the power button.
pub fn switch_off(ssh: &Ssh) -> Result<()> {
    // The answer must be out before the network goes.
    let line = "(sleep 1; PATH=$PATH:/sbin:/usr/sbin poweroff) >/dev/null 2>&1 </dev/null &";
    patiently(ssh, line).map(drop)
}

/// Runs a line, again if it cannot: newer servers turn down for some seconds
/// who connects without logging in, as those do who wait for a server.
fn patiently(ssh: &Ssh, line: &str) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match ssh.run(line) {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_secs(2)),
            result => return result,
        }
    }
}

fn wait_for_start(recipe: &Recipe, ssh: &Ssh) -> Result<()> {
    let deadline = Instant::now() + LONGEST_START;
    let (line, ready): (_, &[&str]) = if recipe.systemd {
        (
            "systemctl is-system-running || true",
            &["running", "degraded"],
        )
    } else {
        ("runlevel", &["N 2"])
    };
    loop {
        let state = patiently(ssh, line)?;
        if ready.contains(&state.as_str()) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let jobs = ssh.run("systemctl list-jobs || true").unwrap_or_default();
            bail!("the start did not come to an end, it is in state {state:?}: {jobs}");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

impl Look {
    /// Reads a machine's answers.
    pub fn parse(said: &str) -> Self {
        let mut answers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in said.lines() {
            let (what, value) = line.split_once(' ').unwrap_or((line, ""));
            let values = answers.entry(what.to_owned()).or_default();
            values.insert(value.trim_end().to_owned());
        }
        let failed = answers.remove("failed").unwrap_or_default();
        Self { answers, failed }
    }

    /// Whether this is one of the answers.
    pub fn has(&self, what: &str, value: &str) -> bool {
        self.answers
            .get(what)
            .is_some_and(|values| values.contains(value))
    }

    /// What is otherwise after the move, in words; nothing if all is well.
    /// Only what is told of `before` is compared.
    pub fn worse_than(&self, before: &Self) -> Vec<String> {
        let mut worse: Vec<String> = before
            .answers
            .keys()
            .filter(|key| self.answers.get(*key) != before.answers.get(*key))
            .map(|key| {
                format!(
                    "{key} was {:?} and is {:?}",
                    before.answers.get(key),
                    self.answers.get(key)
                )
            })
            .collect();
        for unit in self.failed.difference(&before.failed) {
            worse.push(format!("{unit} has failed, and had not before"));
        }
        worse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_new_is_told_and_a_unit_that_recovered_is_not() {
        let before = Look::parse("swap partition\nmount / ext4\nfailed a.service");
        assert!(before.worse_than(&before).is_empty());
        let after = Look::parse("more 1\nmount / ext4\nmount /x xfs\nfailed b.service");
        let worse = after.worse_than(&before);
        assert_eq!(worse.len(), 3, "{worse:?}");
        assert!(worse[2].starts_with("b.service"), "{worse:?}");
        let well = Look::parse("swap partition\nmount / ext4");
        assert!(well.worse_than(&before).is_empty());
    }
}
