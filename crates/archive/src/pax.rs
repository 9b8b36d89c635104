//! The records of a pax header: `LENGTH KEY=VALUE\n`, where the length counts
//! the whole record and the value may hold any bytes.
//!
//! See <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html>.

use anyhow::{Context, Result};

/// Splits a pax header into its keys and values.
pub(super) fn records(mut data: &[u8]) -> Result<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !data.is_empty() {
        let (record, rest) = split(data).context("reading a pax header: it is malformed")?;
        records.push(record);
        data = rest;
    }
    Ok(records)
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn split(data: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = data.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
    let body = data.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some(((&body[..equals], &body[equals + 1..]), &data[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_newlines() {
        let data = b"10 a=b\nc=d\n8 key=v\n";
        let expected: Vec<Record<'_>> = vec![(b"a", b"b\nc=d")];
        // 10 is one short of the record: the rest must not be taken for one.
        assert!(records(data).is_err());
        let data = b"11 a=b\nc=d\n";
        assert_eq!(records(data).unwrap(), expected);
    }

    #[test]
    fn malformed_headers_are_errors() {
        for data in [
            &b"x"[..],
            b"99 a=b\n",
            b"7 a=b\n\n\n",
            b"4 a\n",
            b"-1 a=b\n",
        ] {
            assert!(records(data).is_err(), "{data:?}");
        }
    }
}
