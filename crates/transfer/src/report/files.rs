//! A report's two files: whole or not there, and never over others.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Report, html};

/// More reports of one machine's one second are somebody's mistake.
const MOST: u32 = 1000;

/// Whether a report can be written into `directory`, or it can be made: at the
/// end of a transfer it is late to find out. Nothing stays there.
///
/// # Errors
/// It cannot.
pub fn check_directory(directory: &Path) -> Result<()> {
    let there = directory.ancestors().find(|there| there.exists());
    let there = there.unwrap_or(Path::new("."));
    prepared(there, "{}\n").map(drop).with_context(|| {
        let directory = directory.display();
        format!("writing the report to {directory} (--report-dir names another directory)")
    })
}

/// Writes the report into `directory`, which is made if it is missing, as
/// `p2v-transfer-NAME-TIME.json` and `.html`; with a number if those exist.
/// Both belong to their owner alone: they describe a machine. Returns their
/// absolute paths, JSON's first: who is to copy them away reads them elsewhere.
///
/// # Errors
/// The directory cannot be written to.
pub fn write(directory: &Path, report: &Report) -> Result<(PathBuf, PathBuf)> {
    let doing = || format!("writing the report to {}", directory.display());
    let directory = &std::path::absolute(directory).with_context(doing)?;
    std::fs::create_dir_all(directory).with_context(doing)?;
    let json = serde_json::to_string_pretty(report).with_context(doing)? + "\n";
    let json = prepared(directory, &json).with_context(doing)?;
    let html = prepared(directory, &html::page(report)).with_context(doing)?;
    let stem = stem(report);
    let (mut json, mut html) = (json, html);
    for number in 1..=MOST {
        let name = match number {
            1 => stem.clone(),
            _ => format!("{stem}-{number}"),
        };
        let at = |ending: &str| directory.join(format!("{name}.{ending}"));
        match json.persist_noclobber(at("json")) {
            Ok(_) => {}
            Err(taken) if is_taken(&taken.error) => {
                json = taken.file;
                continue;
            }
            Err(failed) => return Err(failed.error).with_context(doing),
        }
        match html.persist_noclobber(at("html")) {
            Ok(_) => return Ok((at("json"), at("html"))),
            // The two go by one name: the next one, then.
            Err(taken) if is_taken(&taken.error) => {
                html = taken.file;
                json = taken_back(directory, &at("json")).with_context(doing)?;
            }
            Err(failed) => return Err(failed.error).with_context(doing),
        }
    }
    bail!("{}: there are {MOST} of the name {stem}", doing())
}

fn is_taken(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::AlreadyExists
}

/// A file with that text, on the disk, under a name that says it is unfinished.
fn prepared(directory: &Path, text: &str) -> std::io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".p2v-transfer-")
        .tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// The file that we have just put there, under an unfinished name again.
fn taken_back(directory: &Path, path: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let text = std::fs::read_to_string(path)?;
    let file = prepared(directory, &text)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// `p2v-transfer-web1-20240229T120000Z`.
fn stem(report: &Report) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    // A host name may hold anything; a file's name may not.
    let name = report.source.system.hostname.as_deref().unwrap_or_default();
    let name: String = name.chars().filter(plain).take(40).collect();
    let time: String = report
        .started
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    if name.is_empty() {
        format!("p2v-transfer-{time}")
    } else {
        format!("p2v-transfer-{name}-{time}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn reports_are_whole_private_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("new/deep");
        let mut report = html::samples::moved();
        report.started = "2024-02-29T12:00:00Z".to_owned();
        let (json, page) = write(&dir, &report).unwrap();
        assert_eq!(json, dir.join("p2v-transfer-web1-20240229T120000Z.json"));
        let text = std::fs::read_to_string(&json).unwrap();
        let read: Report = serde_json::from_str(&text).unwrap();
        let again = serde_json::to_string_pretty(&read).unwrap() + "\n";
        assert_eq!(again, text);
        let mode = std::fs::metadata(&page).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        // Only one of the two is in the way: both move on.
        std::fs::remove_file(&json).unwrap();
        let (json, second) = write(&dir, &report).unwrap();
        assert!(json.ends_with("p2v-transfer-web1-20240229T120000Z-2.json"));
        assert!(second.ends_with("p2v-transfer-web1-20240229T120000Z-2.html"));
        let third = write(&dir, &report).unwrap().0;
        assert!(third.ends_with("p2v-transfer-web1-20240229T120000Z-3.json"));
        assert_eq!(names(&dir).len(), 5, "{:?}", names(&dir));
    }

    #[test]
    fn a_relative_directory_is_named_in_full() {
        let dir = tempfile::tempdir().unwrap();
        let here = std::env::current_dir().unwrap();
        let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
        let relative = up.join(dir.path().strip_prefix("/").unwrap());
        let (json, page) = write(&relative, &html::samples::moved()).unwrap();
        assert!(json.is_absolute() && page.is_absolute(), "{json:?}");
        assert_eq!(json.parent().unwrap(), here.join(&relative));
        assert_eq!(names(dir.path()).len(), 2);
    }

    #[test]
    fn a_hostile_name_stays_in_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let mut report = html::samples::moved();
        report.started = "2024-02-29T12:00:00Z".to_owned();
        for (name, stem) in [
            (
                Some("../../etc/x\0\n"),
                "p2v-transfer-etcx-20240229T120000Z",
            ),
            (Some("/.."), "p2v-transfer-20240229T120000Z"),
            (None, "p2v-transfer-20240229T120000Z-2"),
        ] {
            report.source.system.hostname = name.map(str::to_owned);
            let (json, _) = write(dir.path(), &report).unwrap();
            assert_eq!(json, dir.path().join(format!("{stem}.json")));
        }
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = write(file.path(), &html::samples::moved()).unwrap_err();
        assert!(format!("{error:#}").starts_with("writing the report to /"));
        let error = check_directory(&file.path().join("deeper")).unwrap_err();
        assert!(format!("{error:#}").contains("--report-dir"), "{error:#}");
    }

    #[test]
    fn a_check_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        check_directory(&dir.path().join("new/deep")).unwrap();
        check_directory(dir.path()).unwrap();
        assert!(names(dir.path()).is_empty());
        check_directory(Path::new("new-relative")).unwrap();
    }
}
