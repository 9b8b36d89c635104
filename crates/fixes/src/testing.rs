//! Small roots for the tests of fixes.

use anyhow::Result;
use p2v_sys::Root;

use crate::draft::Draft;
use crate::machine::Machine;
use crate::{Fix, Verdict};

pub struct TestRoot {
    _dir: tempfile::TempDir,
    pub root: Root,
}

impl TestRoot {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        for (path, text) in files {
            match text.strip_prefix("-> ") {
                Some(target) => root.symlink(target, path).unwrap(),
                None => root.write(path, text, 0o644).unwrap(),
            }
        }
        Self { _dir: dir, root }
    }

    pub fn draft(&self) -> Draft<'_> {
        Draft::new(&self.root)
    }
}

/// A machine from JSON.
pub fn machine(text: &str) -> Machine {
    serde_json::from_str(text).unwrap()
}

/// What a fix makes of some files.
pub struct Outcome {
    pub verdict: Verdict,
    pub files: Vec<(String, Option<String>)>,
    pub warnings: Vec<String>,
    pub obstacles: Vec<String>,
    #[allow(dead_code)]
    pub steps: Vec<String>,
}

impl Outcome {
    /// A file's text after the fix.
    pub fn file(&self, path: &str) -> &str {
        let found = self.files.iter().find(|(name, _)| name == path);
        found
            .and_then(|(_, text)| text.as_deref())
            .unwrap_or_else(|| panic!("{path} has not changed; changed: {:?}", self.files))
    }

    pub fn changed(&self) -> Vec<&str> {
        self.files.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// Runs a fix, and runs it again to see that then all is right.
pub fn run(fix: Fix, machine: &Machine, files: &[(&str, &str)]) -> Result<Outcome> {
    let test = TestRoot::new(files);
    run_on(fix, machine, &test)
}

pub fn run_on(fix: Fix, machine: &Machine, test: &TestRoot) -> Result<Outcome> {
    let mut draft = test.draft();
    let verdict = fix(machine, &mut draft)?;
    let paths: Vec<String> = draft
        .paths()
        .map(|path| path.display().to_string())
        .collect();
    let mut changed = Vec::new();
    for path in paths {
        let text = match draft.link(&path)? {
            Some(target) => Some(format!("-> {}", target.display())),
            None => draft.text(&path)?,
        };
        changed.push((path, text));
    }
    assert_eq!(
        matches!(verdict, Verdict::Changed(_)),
        !changed.is_empty(),
        "{verdict:?} {changed:?}"
    );
    let warnings = draft.take_warnings();
    let obstacles = draft.take_obstacles();
    let steps = draft.take_steps().iter().map(ToString::to_string).collect();
    draft.apply()?;
    let again = fix(machine, &mut draft)?;
    assert!(draft.is_empty(), "a second run changes again: {again:?}");
    Ok(Outcome {
        verdict,
        files: changed,
        warnings,
        obstacles,
        steps,
    })
}
