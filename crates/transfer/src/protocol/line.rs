//! Messages as lines, one way and the other: what comes may be anything.

use std::io::{BufRead, Write};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::VERSION;

/// No message is longer, in bytes; a line that is comes from something else.
pub const LONGEST_LINE: u64 = 4 << 20;

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
    use crate::protocol::{Order, Request};

    fn request(order: Order) -> Request {
        Request {
            v: VERSION,
            run: String::new(),
            order,
        }
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
