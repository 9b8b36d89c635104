//! Runs fixes.d on a root, by the rules of [`p2v_parts`].
//!
//! A part that is one of [`BUILT_IN`], two lines that call `p2v fix`, runs in
//! this process on a draft; an operator's own runs as the program it is. One
//! that fails is named, what it had drafted is dropped, and the rest still run.
//! A dry run makes one draft of all and runs no program.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use p2v_parts::Parts;
use p2v_sys::{Root, interrupt};

use crate::part::{Part, installed, parts};
use crate::report::{Outcome, Report};
use crate::{BuiltIn, Draft, Machine, Step, by_name};

/// An operator's fix may rebuild an initramfs.
const DEADLINE: Duration = Duration::from_secs(45 * 60);

/// What to run on which root.
#[derive(Debug, Default)]
pub struct Request {
    /// The directory that the transferred system's root is mounted on.
    pub root: PathBuf,
    /// The directory of fixes; `None` for the installed one, or all built-in
    /// fixes where none is installed.
    pub directory: Option<PathBuf>,
    /// Only the part, or the fix, of this name.
    pub only: Option<String>,
    /// Make no edit and run no program.
    pub dry_run: bool,
}

/// Runs what is asked for. `environment` is what operators' fixes get besides
/// what the machine says. Fails only where nothing could be run.
pub fn run(
    request: &Request,
    machine: &Machine,
    environment: &BTreeMap<OsString, OsString>,
) -> Result<Report> {
    let root = Root::open(&request.root)?;
    let directory = request.directory.as_deref().or_else(installed);
    let parts = chosen(request)?;
    let mut draft = Draft::new(&root);
    let mut report = Report::default();
    for part in parts {
        interrupt::check().with_context(|| format!("running {}", part.name))?;
        let outcome = match (part.built_in, directory) {
            (Some(fix), _) => run_built_in(fix, machine, &mut draft, request.dry_run),
            (None, Some(directory)) if !request.dry_run => {
                (run_program(directory, &part.name, environment), Vec::new())
            }
            (None, _) => (Outcome::Skipped, Vec::new()),
        };
        report.add(&part, outcome, &mut draft);
    }
    report.obstacles.extend(draft.take_obstacles());
    if request.dry_run {
        report.diff = draft.diff()?;
    }
    Ok(report)
}

fn chosen(request: &Request) -> Result<Vec<Part>> {
    let mut all = parts(request.directory.as_deref())?;
    let Some(only) = &request.only else {
        return Ok(all);
    };
    all.retain(|part| {
        let fix = part.built_in.map(|fix| fix.name);
        part.name == *only || fix == Some(only.as_str())
    });
    match (all.is_empty(), by_name(only)) {
        (false, _) => Ok(all),
        // One that is turned off can still be asked for.
        (true, Some(fix)) => Ok(vec![Part {
            name: fix.part(),
            built_in: Some(fix),
        }]),
        (true, None) => Err(anyhow!("there is no fix {only}; see `p2v fixes --list`")),
    }
}

fn run_built_in(
    fix: &BuiltIn,
    machine: &Machine,
    draft: &mut Draft,
    dry_run: bool,
) -> (Outcome, Vec<String>) {
    let mark = draft.mark();
    // A fix reads what strangers wrote: its panic is its failure alone.
    let caught = catch_unwind(AssertUnwindSafe(|| (fix.run)(machine, draft)));
    let verdict = caught.unwrap_or_else(|_| Err(anyhow!("it ended in a panic, which is a bug")));
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(error) => {
            draft.roll_back(mark);
            return (Outcome::Failed(format!("{error:#}")), Vec::new());
        }
    };
    let steps = draft.take_steps();
    let last_resort = draft.take_last_resort();
    let named = steps.iter().map(ToString::to_string).collect();
    let mut outcome = Outcome::from(verdict);
    if dry_run {
        for step in &steps {
            tracing::info!("{}: would run {step}", fix.part());
        }
        return (outcome, named);
    }
    let done = draft
        .apply()
        .and_then(|()| run_steps(fix, draft.root(), &steps));
    match (done, last_resort) {
        (Ok(told), _) => outcome.tell(told),
        (Err(error), None) => outcome = Outcome::Failed(format!("{error:#}")),
        (Err(error), Some(step)) => {
            draft.warn(format!("{error:#}"));
            match run_steps(fix, draft.root(), &[step]) {
                Ok(told) => outcome = Outcome::Changed(told),
                Err(second) => outcome = Outcome::Failed(format!("{error:#}; then {second:#}")),
            }
        }
    }
    (outcome, named)
}

/// Runs them in order up to the first that fails; returns what their checks
/// say.
fn run_steps(fix: &BuiltIn, root: &Root, steps: &[Step]) -> Result<Vec<String>> {
    let mut told = Vec::new();
    for step in steps {
        tracing::info!("{}: running {step}", fix.part());
        told.extend(step.run(root)?);
    }
    Ok(told)
}

fn run_program(
    directory: &Path,
    name: &str,
    environment: &BTreeMap<OsString, OsString>,
) -> Outcome {
    let run = || Parts::in_directory(directory)?.run_one(name, environment, DEADLINE);
    match run() {
        Ok(()) => Outcome::Ran,
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BUILT_IN;
    use std::os::unix::fs::PermissionsExt;

    fn script(directory: &Path, name: &str, text: &str, mode: u32) {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn request(dir: &Path) -> Request {
        let (root, directory) = (dir.join("root"), dir.join("fixes.d"));
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(root.join("etc/fstab"), "/dev/sda1 / ext4\n").unwrap();
        script(
            &directory,
            "10-repair-fstab",
            "#!/bin/sh\nexec p2v fix repair-fstab\n",
            0o755,
        );
        script(
            &directory,
            "15-repair-crypttab",
            "#!/bin/sh\nexec p2v fix repair-crypttab\n",
            0o644,
        );
        script(
            &directory,
            "11-fail",
            "#!/bin/sh\necho no luck >&2\nexit 3\n",
            0o755,
        );
        let text = "#!/bin/sh\necho \"$INSTANCE_NAME\" >\"$TARGET/etc/named\"\n";
        script(&directory, "12-own", text, 0o755);
        Request {
            root,
            directory: Some(directory),
            ..Request::default()
        }
    }

    fn machine() -> Machine {
        crate::testing::machine(
            r#"{"instance": "a", "volumes": [{"device": "/dev/vda1", "kind": "ext4", "uuid": "aaaa",
                "mount_point": "/"}]}"#,
        )
    }

    #[test]
    fn a_failing_part_is_named_and_the_rest_still_run() {
        let dir = tempfile::tempdir().unwrap();
        let request = request(dir.path());
        let target = request.root.clone().into_os_string();
        let environment = [
            ("TARGET".into(), target),
            ("INSTANCE_NAME".into(), "a".into()),
        ];
        let report = run(&request, &machine(), &environment.into()).unwrap();
        let names: Vec<_> = report.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["10-repair-fstab", "11-fail", "12-own"]);
        assert!(!report.is_success());
        let text = report.parts[1].to_string();
        assert!(text.contains("exit status 3: no luck"), "{text}");
        let read = |name: &str| std::fs::read_to_string(request.root.join(name)).unwrap();
        assert_eq!(read("etc/fstab"), "UUID=aaaa / ext4\n");
        assert_eq!(read("etc/named"), "a\n");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["parts"][2]["outcome"], "ran");
    }

    #[test]
    fn a_dry_run_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let request = Request {
            dry_run: true,
            ..request(dir.path())
        };
        let report = run(&request, &machine(), &BTreeMap::new()).unwrap();
        assert!(report.is_success());
        assert_eq!(report.parts[1].outcome, Outcome::Skipped);
        let diff = String::from_utf8(report.diff).unwrap();
        assert!(
            diff.ends_with("-/dev/sda1 / ext4\n+UUID=aaaa / ext4\n"),
            "{diff}"
        );
        let fstab = std::fs::read_to_string(request.root.join("etc/fstab")).unwrap();
        assert_eq!(fstab, "/dev/sda1 / ext4\n");
        assert!(!request.root.join("etc/named").exists());
    }

    #[test]
    fn one_alone_even_if_it_is_turned_off() {
        let dir = tempfile::tempdir().unwrap();
        let mut request = request(dir.path());
        for (only, expected) in [
            ("repair-fstab", Some("10-repair-fstab")),
            ("10-repair-fstab", Some("10-repair-fstab")),
            ("repair-crypttab", Some("15-repair-crypttab")),
            ("12-own", Some("12-own")),
            ("other", None),
        ] {
            request.only = Some(only.to_owned());
            request.dry_run = true;
            let report = run(&request, &machine(), &BTreeMap::new()).ok();
            let names = report.map(|report| report.parts[0].name.clone());
            assert_eq!(names.as_deref(), expected, "{only}");
        }
    }

    #[test]
    fn the_scripts_of_this_tree_are_the_built_in_fixes() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixes.d");
        let found: Vec<_> = parts(Some(&directory))
            .unwrap()
            .into_iter()
            .map(|part| (part.name, part.built_in.map(|fix| fix.name)))
            .collect();
        let expected: Vec<_> = BUILT_IN
            .iter()
            .map(|fix| (fix.part(), Some(fix.name)))
            .collect();
        assert_eq!(found, expected);
    }
}
