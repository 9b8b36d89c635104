//! A report in which a stranger has said everything.

use serde_json::Value;

use super::failed;
use crate::report::Report;

/// With `text` for everything that a stranger can say.
pub(crate) fn hostile(text: &str) -> Report {
    let value = serde_json::to_value(failed()).unwrap();
    serde_json::from_value(replaced(value, text, "")).unwrap()
}

/// Every string replaced, but for the names of kinds and the paths by which the
/// two sides are matched.
fn replaced(value: Value, text: &str, key: &str) -> Value {
    const KEPT: [&str; 8] = [
        "hypervisor",
        "boot",
        "hostname_policy",
        "weight",
        "source",
        "path",
        "name",
        "outcome",
    ];
    match value {
        Value::String(word) => {
            let kept = KEPT.contains(&key) && word.len() < 12 && !word.contains(' ');
            let policy = key == "hostname" && word == "keep";
            Value::String(if kept || policy {
                word
            } else {
                text.to_owned()
            })
        }
        Value::Array(list) => {
            let list = list.into_iter().map(|value| replaced(value, text, key));
            Value::Array(list.collect())
        }
        Value::Object(map) => {
            let map = map
                .into_iter()
                .map(|(key, value)| match (key.as_str(), value) {
                    // Kinds that are words: Swap, Reserved.
                    ("fill" | "content", Value::String(word)) => (key, Value::String(word)),
                    (_, value) => {
                        let value = replaced(value, text, &key);
                        (key, value)
                    }
                });
            Value::Object(map.collect())
        }
        other => other,
    }
}
