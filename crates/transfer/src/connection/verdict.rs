//! What the end of an ssh means: a connection that is worth another try, one
//! that no repetition makes better, or an agent that could not do its work.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use anyhow::{Error, anyhow};

use super::Address;

/// The connection broke, or could not be made: worth another try.
#[derive(Debug)]
pub struct Lost(pub String);

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lost {}

/// Whether the error is a connection's, which may come back.
pub fn is_lost(error: &Error) -> bool {
    error.downcast_ref::<Lost>().is_some()
}

/// ssh's own exit status for whatever went wrong on its side.
const SSH_FAILED: i32 = 255;

/// What no repetition makes better: ssh's words, and what they mean.
const FINAL: [(&str, &str); 12] = [
    (
        "permission denied (",
        "it does not let us in; give the private key that belongs to one of the instance's authorized_keys",
    ),
    (
        "too many authentication failures",
        "it was offered too many keys; give the right private key",
    ),
    (
        "unprotected private key",
        "others may read the private key, so ssh does not use it; run chmod 600 on it",
    ),
    (
        "host identification has changed",
        "WARNING: its host key is not the accepted one: this is another machine, or somebody in between listens",
    ),
    (
        "host key verification failed",
        "WARNING: its host key is not the accepted one: this is another machine, or somebody in between listens",
    ),
    (
        "host key is known for",
        "WARNING: its host key is not the accepted one: this is another machine, or somebody in between listens",
    ),
    (
        "name or service not known",
        "no such host is known; look at its name, or give its address",
    ),
    (
        "no address associated",
        "no such host is known; look at its name, or give its address",
    ),
    (
        "unable to negotiate",
        "its sshd and this ssh have no method in common; use a newer ssh here",
    ),
    (
        "bad configuration option",
        "this ssh is too old; use a newer one here",
    ),
    (
        "bad ssh2 cipher",
        "this ssh is too old; use a newer one here",
    ),
    (
        "invalid characters",
        "what answers there is no SSH server; look at the address and the port",
    ),
];

/// What may be better in a moment.
const PASSING: [(&str, &str); 8] = [
    (
        "connection refused",
        "nothing listens there; has the target said \"ready\" on its console, and are address and port right?",
    ),
    (
        "no route to host",
        "there is no way to it; is the target running, and is its address right?",
    ),
    (
        "network is unreachable",
        "there is no way to it; look at this machine's network",
    ),
    (
        "timed out",
        "it does not answer; is the target running, and does a firewall let SSH through?",
    ),
    (
        "name resolution",
        "its name cannot be looked up now; give its address",
    ),
    ("not responding", "the connection broke"),
    (
        "not allowed at this time",
        "it takes no more connections from here for now",
    ),
    (
        "exchange_identification",
        "it ended the connection at once; is that an SSH server, and does it take connections from here?",
    ),
];

/// What ended an ssh, if it was not ssh itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nothing came or went for so many seconds.
    Silence(u64),
    /// Somebody wants us to stop.
    Interrupt,
}

/// Judges an ssh that has ended. `up` tells whether its agent had spoken.
///
/// # Errors
/// Always, but for a good end.
pub(super) fn judge(
    address: &Address,
    status: ExitStatus,
    cause: Option<Cause>,
    tail: &str,
    up: bool,
) -> anyhow::Result<()> {
    match cause {
        Some(Cause::Silence(seconds)) => {
            return Err(Lost(format!(
                "working with {address}: nothing came from it for {seconds} s"
            ))
            .into());
        }
        Some(Cause::Interrupt) => {
            p2v_sys::interrupt::check()?;
        }
        None => {}
    }
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(SSH_FAILED), _) => Err(of_words(address, tail, up)),
        (Some(127), _) => Err(anyhow!(
            "starting the agent on {address}: it has no p2v, so it is no p2v-target that waits for a machine{}",
            after_colon(tail)
        )),
        // What a shell says of a program that a signal ended.
        (Some(code @ 129..=192), _) => Err(Lost(format!(
            "working with {address}: the agent was ended by signal {}",
            code - 128
        ))
        .into()),
        (Some(code), _) => {
            let words = agents_words(tail);
            if words.is_empty() {
                Err(anyhow!("working on {address}: the agent ended with {code}"))
            } else {
                Err(anyhow!("working on {address}: {words}"))
            }
        }
        (None, signal) => Err(Lost(format!(
            "connecting to {address}: ssh was ended by signal {}",
            signal.unwrap_or_default()
        ))
        .into()),
    }
}

/// Judges by what ssh said when it gave up.
fn of_words(address: &Address, tail: &str, up: bool) -> Error {
    let lower = tail.to_lowercase();
    let meaning = |list: &[(&str, &str)]| {
        let found = list.iter().find(|(word, _)| lower.contains(word));
        found.map(|(_, meaning)| (*meaning).to_owned())
    };
    if up {
        let broke = format!("the connection to {address} broke{}", after_colon(tail));
        return Lost(broke).into();
    }
    let words = tail.trim_start_matches("ssh: ");
    let with = |meaning: String| format!("connecting to {address}: {meaning} (ssh: {words})");
    match meaning(&FINAL) {
        Some(meaning) => anyhow!(with(meaning)),
        None => match meaning(&PASSING) {
            Some(meaning) => Lost(with(meaning)).into(),
            None => Lost(format!(
                "connecting to {address}: the connection broke{}",
                after_colon(tail)
            ))
            .into(),
        },
    }
}

/// An agent's error as `main` prints it, without the words that are ours.
fn agents_words(tail: &str) -> &str {
    tail.rsplit("p2v: error: ").next().unwrap_or(tail)
}

fn after_colon(tail: &str) -> String {
    if tail.is_empty() {
        String::new()
    } else {
        format!(": {tail}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    fn judged(wait_status: i32, tail: &str, up: bool) -> (bool, String) {
        let address = Address {
            host: "web1".to_owned(),
            port: 22,
            ..Address::default()
        };
        let status = ExitStatus::from_raw(wait_status);
        match judge(&address, status, None, tail, up) {
            Ok(()) => (false, "good".to_owned()),
            Err(error) => (is_lost(&error), format!("{error:#}")),
        }
    }

    /// The status of a program that ended by itself.
    const fn exit(code: i32) -> i32 {
        code << 8
    }

    /// A status, the last line of its errors, whether the agent had spoken; then
    /// whether that is a loss, and a word of what is said.
    const ENDS: [(i32, &str, bool, bool, &str); 15] = [
        (exit(0), "", false, false, "good"),
        (
            exit(255),
            "root@web1: Permission denied (publickey).",
            false,
            false,
            "authorized_keys",
        ),
        (
            exit(255),
            "Host key verification failed.",
            false,
            false,
            "WARNING",
        ),
        (
            exit(255),
            "ssh: Could not resolve hostname web1: Name or service not known",
            false,
            false,
            "no such host",
        ),
        (
            exit(255),
            "ssh: Could not resolve hostname web1: Temporary failure in name resolution",
            false,
            true,
            "looked up",
        ),
        (
            exit(255),
            "ssh: connect to host web1 port 22: Connection refused",
            false,
            true,
            "\"ready\"",
        ),
        (
            exit(255),
            "ssh: connect to host web1 port 22: No route to host",
            false,
            true,
            "no way",
        ),
        (
            exit(255),
            "kex_exchange_identification: Connection closed by remote host",
            false,
            true,
            "SSH server",
        ),
        (exit(255), "", false, true, "broke"),
        // What an agent made ssh say means nothing once it has spoken.
        (
            exit(255),
            "Permission denied (publickey).",
            true,
            true,
            "broke",
        ),
        (
            exit(127),
            "bash: line 1: p2v: command not found",
            false,
            false,
            "no p2v",
        ),
        (
            exit(1),
            "p2v: error: opening /dev/vda: busy",
            true,
            false,
            "web1:22: opening /dev/vda: busy",
        ),
        (exit(3), "", true, false, "ended with 3"),
        (exit(137), "", true, true, "signal 9"),
        (9, "", true, true, "signal 9"),
    ];

    #[test]
    fn each_end_is_lost_or_not_and_says_what_to_do() {
        for (status, tail, up, lost, words) in ENDS {
            let (found, text) = judged(status, tail, up);
            assert_eq!(found, lost, "{status} {tail}: {text}");
            assert!(text.contains(words), "{status} {tail}: {text}");
        }
    }

    #[test]
    fn a_loss_is_found_below_other_words() {
        let error = Error::from(Lost("gone".to_owned()));
        let result: anyhow::Result<()> = Err(error);
        let error = result
            .context("copying vda1")
            .context("moving")
            .unwrap_err();
        assert!(is_lost(&error));
        assert!(!is_lost(&anyhow!("gone")));
    }
}
