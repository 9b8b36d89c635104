//! What the source's side and the agent say to each other: JSON, a line a
//! message, each with the protocol's version.
//!
//! The agent reads [`Request`]s from its standard input, one at a time, and
//! writes [`Answer`]s to its standard output: any number of notes, then one
//! result. Contents go over a connection of their own: an agent that was started
//! with [`DataOrder`] speaks the crate `p2v-copy`'s binary stream after one line.

use std::io::{BufRead, Write};

use anyhow::{Context, Result, bail};
use p2v_fixes::machine::{BootMode, Hypervisor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::plan::Plan;

/// Raised when either side could misunderstand the other.
pub const VERSION: u32 = 1;

/// No message is longer, in bytes; a line that is comes from something else.
pub const LONGEST_LINE: u64 = 4 << 20;

/// A line to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`].
    pub v: u32,
    /// What to do.
    pub order: Order,
}

/// What the agent can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Say what you are: answered by [`Target`].
    Probe,
    /// Partition and format the disks as planned, unless they were made for
    /// this very plan; mount them to be filled. Answered by [`Prepared`].
    Prepare {
        /// What they shall be.
        plan: Box<Plan>,
        /// What somebody has agreed to lose, as it was shown. Whatever else
        /// would be lost is an error.
        erase: Vec<Loss>,
    },
    /// All volumes are filled: put the tree together and run the fixes.
    /// Answered by [`Fixed`].
    Fix {
        /// The plan.
        plan: Box<Plan>,
    },
    /// Unmount all, and restart if told so. Answered by nothing more than done.
    Finish {
        /// The plan.
        plan: Box<Plan>,
        /// Whether the system is as it shall be: then no later transfer goes on
        /// with its disks unasked. Else the volumes keep what tells whose they are.
        complete: bool,
        /// Whether to restart into the new system.
        restart: bool,
        /// What to say on the console.
        summary: Vec<String>,
    },
    /// Say how far the last transfer came: answered by [`Status`].
    Status,
}

/// A disk that somebody has agreed to erase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// See [`TargetDisk`].
    pub device: String,
    /// See [`TargetDisk`]: what was on it when it was agreed to.
    pub holds: Vec<String>,
}

/// A line from the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// [`VERSION`].
    pub v: u32,
    /// What it says.
    pub say: Say,
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Say {
    /// A line about what it is doing.
    Note(String),
    /// It could not: why, and what to do.
    Failed(String),
    /// It is done; the order says of what type this is.
    Done(serde_json::Value),
}

/// What an agent for contents is told, as its one line: then the stream of
/// `p2v-copy` follows in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataOrder {
    /// [`VERSION`].
    pub v: u32,
    /// The plan that the volume was made for.
    pub plan_id: String,
    /// The volume's name: `vda1`.
    pub volume: String,
    /// What to do with it.
    pub work: DataWork,
}

/// What is done with a volume's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataWork {
    /// Receive its files.
    Files,
    /// Receive its blocks.
    Blocks,
    /// Compare its files.
    Compare,
    /// Compare its blocks.
    CompareBlocks,
}

/// The target machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// p2v's version there.
    pub p2v: String,
    /// Its name.
    pub hostname: String,
    /// The instance's name, if Ganeti told it.
    pub instance: Option<String>,
    /// What runs it.
    pub hypervisor: Hypervisor,
    /// How its firmware starts it.
    pub boot: BootMode,
    /// Whether its root lies in RAM and p2v's init put it there.
    pub ram_booted: bool,
    /// RAM in bytes: all, and what is free for use.
    pub memory: u64,
    /// See `memory`.
    pub memory_available: u64,
    /// Its processors.
    pub processors: u32,
    /// Its disks; none of one that does not run in RAM, whose own they are.
    pub disks: Vec<TargetDisk>,
    /// Its network cards, the first one first.
    pub nics: Vec<TargetNic>,
    /// Programs of those a transfer can need which are missing there.
    pub missing_tools: Vec<String>,
    /// Filesystems that its kernel can mount.
    pub filesystems: Vec<String>,
}

/// A disk of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetDisk {
    /// `/dev/vda`.
    pub device: String,
    /// Bytes.
    pub size: u64,
    /// Bytes in a logical sector.
    pub sector_size: u32,
    /// Who holds it, if somebody does: a mount point, `swap`, a program.
    pub in_use: Option<String>,
    /// What is on it now, a line each: `vda1 ext4 2 GiB "root"`.
    pub holds: Vec<String>,
    /// The plan that it was made for, if its volumes say so.
    pub plan_id: Option<String>,
}

/// A network card of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetNic {
    /// `ens3`.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
}

/// What [`Order::Prepare`] did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prepared {
    /// Whether the disks were as planned already, and nothing was formatted.
    pub resumed: bool,
    /// Volumes of which a copy was finished earlier.
    pub complete: Vec<String>,
}

/// What [`Order::Fix`] did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    /// Whether nothing is known that keeps the system from starting.
    pub will_boot: bool,
    /// What is known that does.
    pub obstacles: Vec<String>,
    /// Each fix, in order.
    pub fixes: Vec<FixResult>,
}

/// What one fix did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixResult {
    /// Its part: `10-repair-fstab`.
    pub part: String,
    /// `changed`, `right`, `not needed`, `failed`, `ran` (an operator's).
    pub outcome: String,
    /// What it said.
    pub lines: Vec<String>,
}

/// How far a transfer came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The plan.
    pub plan_id: Option<String>,
    /// `none`, `prepared`, `copying`, `fixing`, `fixed`, `finished`.
    pub phase: String,
    /// A line each.
    pub lines: Vec<String>,
}

/// Writes one message as a line.
pub fn write(to: &mut impl Write, message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message).context("writing a message")?;
    line.push(b'\n');
    to.write_all(&line).context("sending a message")?;
    to.flush().context("sending a message")
}

/// Reads one line as a message; `None` at the end. After an error that is no
/// [`std::io::Error`] the next line can be read.
///
/// # Errors
/// The line is too long, no such message, or of another version; the
/// connection broke.
pub fn read<T: DeserializeOwned>(from: &mut impl BufRead) -> Result<Option<T>> {
    const DOING: &str = "receiving a message";
    let mut line = Vec::new();
    std::io::Read::take(&mut *from, LONGEST_LINE)
        .read_until(b'\n', &mut line)
        .context(DOING)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        let is_long = line.len() as u64 == LONGEST_LINE;
        if is_long {
            skip_line(from).context(DOING)?;
        }
        let fault = match is_long {
            true => "its line is too long",
            false => "it ended amid a line",
        };
        bail!("{DOING}: {fault}: {}", shown(&line));
    }
    let stray = || {
        let line = shown(&line);
        format!("{DOING}: the other side sent something else: {line}")
    };
    let value: serde_json::Value = serde_json::from_slice(&line)
        .map_err(plain)
        .with_context(stray)?;
    match value.get("v").and_then(serde_json::Value::as_u64) {
        Some(v) if v == u64::from(VERSION) => {}
        Some(v) => bail!(
            "the other side speaks version {v} of the protocol, this one {VERSION}: use the same p2v on both"
        ),
        None => bail!("{DOING}: it has no version: {}", shown(&line)),
    }
    let message = serde_json::from_value(value)
        .map_err(plain)
        .with_context(stray)?;
    Ok(Some(message))
}

/// Parsers quote what they read; nobody's terminal shall obey it.
fn plain(error: serde_json::Error) -> anyhow::Error {
    let text = error.to_string();
    let escaped = text.chars().flat_map(|c| match c.is_control() {
        true => c.escape_default().collect::<Vec<_>>(),
        false => vec![c],
    });
    anyhow::Error::msg(escaped.take(500).collect::<String>())
}

/// Reads on to the line's end and forgets it.
fn skip_line(from: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let bytes = match from.fill_buf() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let length = bytes.len();
        from.consume(end.map_or(length, |end| end + 1));
        if end.is_some() || length == 0 {
            return Ok(());
        }
    }
}

/// The beginning of a line that a stranger may have written, fit for a console.
fn shown(line: &[u8]) -> String {
    line.iter()
        .take(80)
        .flat_map(|byte| std::ascii::escape_default(*byte))
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(order: Order) -> Request {
        Request { v: VERSION, order }
    }

    /// What a reader makes of the bytes: messages, and errors' texts.
    fn all(bytes: &[u8]) -> Vec<Result<Request, String>> {
        // Two bytes at once: lines lie across a reader's buffers.
        let mut from = std::io::BufReader::with_capacity(2, bytes);
        let mut all = Vec::new();
        loop {
            match read::<Request>(&mut from) {
                Ok(None) => return all,
                Ok(Some(message)) => all.push(Ok(message)),
                Err(error) => all.push(Err(format!("{error:#}"))),
            }
        }
    }

    #[test]
    fn stray_lines_are_errors_and_the_next_one_counts() {
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        let long = "x".repeat(LONGEST_LINE as usize + 10);
        for (line, said) in [
            ("", "something else"),
            ("Last login: Mon", "something else: Last login"),
            ("\u{1b}[2J", "\\x1b[2J"),
            ("{}", "no version"),
            ("[1]", "no version"),
            ("{\"v\":\"1\",\"order\":\"probe\"}", "no version"),
            ("{\"v\":2,\"order\":\"probe\"}", "version 2 of the protocol"),
            ("{\"v\":1,\"v\":1}", "something else"),
            ("{\"v\":1}", "missing field `order`"),
            ("{\"v\":1,\"order\":\"format\"}", "unknown variant `format`"),
            ("{\"v\":1,\"order\":\"\\u001b[2J\"}", "u{1b}[2J"),
            ("{\"v\":1,\"order\":{\"probe\":{}}}", "something else"),
            (
                "{\"v\":1,\"order\":{\"prepare\":{\"erase\":[]}}}",
                "missing field `plan`",
            ),
            (
                "{\"v\":1,\"order\":\"probe\",\"more\":1}",
                "unknown field `more`",
            ),
            ("{\"v\":1,\"order\":\"probe\"} {}", "something else"),
            (deep.as_str(), "something else"),
            (long.as_str(), "too long: xxx"),
        ] {
            let mut bytes = line.as_bytes().to_vec();
            bytes.push(b'\n');
            write(&mut bytes, &request(Order::Status)).unwrap();
            let all = all(&bytes);
            let start = &line[..line.len().min(60)];
            assert_eq!(all.len(), 2, "{start}");
            let text = all[0].as_ref().unwrap_err();
            assert!(text.contains(said), "{start}: {text}");
            assert!(text.len() < 1000 && !text.contains('\u{1b}'), "{start}");
            assert_eq!(all[1], Ok(request(Order::Status)), "{start}");
        }
    }

    #[test]
    fn an_end_amid_a_line_is_an_error() {
        let mut whole = Vec::new();
        write(&mut whole, &request(Order::Probe)).unwrap();
        assert_eq!(all(&whole), [Ok(request(Order::Probe))]);
        assert!(all(b"").is_empty());
        for end in 1..whole.len() {
            let text = all(&whole[..end]).remove(0).unwrap_err();
            assert!(text.contains("ended amid a line"), "{text}");
        }
        let endless = vec![b'{'; LONGEST_LINE as usize * 2];
        assert_eq!(all(&endless).len(), 1);
    }

    #[test]
    fn no_damage_to_a_message_is_a_crash() {
        let mut whole = Vec::new();
        write(&mut whole, &request(Order::Probe)).unwrap();
        for at in 0..whole.len() - 1 {
            for byte in 0..=255 {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                for message in all(&damaged).into_iter().flatten() {
                    assert_eq!(message.v, VERSION);
                }
            }
        }
    }
}
