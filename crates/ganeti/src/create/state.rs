//! What the node remembers of an instance: a JSON file each, from which the
//! migrator takes the host keys' fingerprints.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use super::host_keys::HostKey;

/// Raised when a field changes its meaning.
const VERSION: u32 = 1;

/// The content of INSTANCE.json.
#[derive(Debug, Serialize)]
pub struct InstanceState<'a> {
    /// Version of this format.
    pub version: u32,
    /// The instance's full name.
    pub instance: &'a str,
    /// Ganeti's UUID of it, which a new name does not change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<&'a str>,
    /// When create finished, in seconds since 1970.
    pub created: u64,
    /// The suite of its bootstrap root.
    pub suite: &'a str,
    /// The partition style: none, msdos or gpt.
    pub partition_style: &'a str,
    /// The root filesystem's type.
    pub filesystem: &'a str,
    /// The root filesystem's UUID.
    pub root_uuid: &'a str,
    /// The version of the kernel that its boot loader starts.
    pub kernel: &'a str,
    /// The SSH host keys.
    pub host_keys: &'a [HostKey],
}

impl<'a> InstanceState<'a> {
    /// This format's version, for [`InstanceState::version`].
    pub const VERSION: u32 = VERSION;
}

/// Replaces the instance's file in `directory`, whole or not at all. The
/// instance's name has been checked to hold no slash.
pub fn save(directory: &Path, state: &InstanceState) -> Result<PathBuf> {
    write(&path_of(directory, state.instance), state)
}

/// Gives what is kept of the instance `old` its new name. Another instance's
/// file, by its UUID, stays as it is: after an import under another name the
/// exported instance may still be there. The new one gets a copy then, since
/// the same host keys came with the disk.
pub fn rename(directory: &Path, old: &str, new: &str, uuid: Option<&str>) -> Result<()> {
    if old == new {
        return Ok(());
    }
    let (from, to) = (path_of(directory, old), path_of(directory, new));
    let reading = || format!("reading {}", from.display());
    let text = match std::fs::read(&from) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        read => read.with_context(reading)?,
    };
    let mut state: Map<String, Value> = serde_json::from_slice(&text).with_context(reading)?;
    let kept = state.get("uuid").and_then(Value::as_str);
    let is_another = matches!((kept, uuid), (Some(kept), Some(uuid)) if kept != uuid);
    state.insert("instance".to_owned(), new.into());
    if let Some(uuid) = uuid {
        state.insert("uuid".to_owned(), uuid.into());
    }
    write(&to, &state)?;
    if is_another {
        tracing::info!("host keys are kept in {} too", to.display());
        return Ok(());
    }
    std::fs::remove_file(&from).with_context(|| format!("removing {}", from.display()))?;
    tracing::info!("host keys are now kept in {}", to.display());
    Ok(())
}

fn path_of(directory: &Path, instance: &str) -> PathBuf {
    directory.join(format!("{instance}.json"))
}

fn write(path: &Path, state: &impl Serialize) -> Result<PathBuf> {
    let doing = || format!("writing {}", path.display());
    let directory = path.parent().with_context(doing)?;
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(doing)?;
    let mut text = serde_json::to_string_pretty(state).with_context(doing)?;
    text.push('\n');
    file.write_all(text.as_bytes()).with_context(doing)?;
    // Public halves only, and the migrator need not be root.
    let readable = std::fs::Permissions::from_mode(0o644);
    file.as_file()
        .set_permissions(readable)
        .with_context(doing)?;
    file.as_file().sync_all().with_context(doing)?;
    file.persist(path).with_context(doing)?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instances_own_file_moves_and_anothers_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(format!("{name}.json"));
        let read = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(at(name)).unwrap()).unwrap()
        };
        rename(dir.path(), "none", "b", Some("1")).unwrap();
        assert!(!at("b").exists());
        let text = r#"{"version":1,"instance":"a","uuid":"1","later":[1]}"#;
        std::fs::write(at("a"), text).unwrap();
        rename(dir.path(), "a", "b", Some("1")).unwrap();
        rename(dir.path(), "a", "b", Some("1")).unwrap();
        assert!(!at("a").exists());
        assert_eq!(read("b")["instance"], "b");
        assert_eq!(read("b")["later"][0], 1);
        rename(dir.path(), "b", "c", Some("2")).unwrap();
        assert_eq!(
            (&read("b")["uuid"], &read("c")["uuid"]),
            (&"1".into(), &"2".into())
        );
        std::fs::write(at("d"), "no json").unwrap();
        let text = format!("{:#}", rename(dir.path(), "d", "e", None).unwrap_err());
        assert!(text.contains("d.json") && at("d").exists(), "{text}");
    }
}
