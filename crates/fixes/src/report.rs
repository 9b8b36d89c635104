//! What came of a run of fixes.d.

use serde::Serialize;

use crate::part::Part;
use crate::{Draft, Verdict};

/// What came of a run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The parts that ran, in order.
    pub parts: Vec<PartReport>,
    /// Why the system will not start; nothing known where it is empty.
    pub obstacles: Vec<String>,
    /// A dry run's changes, as a unified diff.
    #[serde(skip)]
    pub diff: Vec<u8>,
}

/// What came of one part.
#[derive(Debug, Serialize)]
pub struct PartReport {
    /// Its name in fixes.d.
    pub name: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What it said that somebody has to look at.
    pub warnings: Vec<String>,
    /// The programs of the transferred system that ran, or would.
    pub steps: Vec<String>,
}

/// What came of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "text")]
pub enum Outcome {
    /// It does not apply, and why.
    NotNeeded(String),
    /// All is as it must be.
    Right(String),
    /// What it changed.
    Changed(Vec<String>),
    /// An operator's fix ran and was content.
    Ran,
    /// An operator's fix, which a dry run leaves alone.
    Skipped,
    /// Why it failed.
    Failed(String),
}

impl Report {
    /// Whether nothing failed.
    pub fn is_success(&self) -> bool {
        let failed = |part: &PartReport| matches!(part.outcome, Outcome::Failed(_));
        !self.parts.iter().any(failed)
    }
}

impl Outcome {
    pub(crate) fn tell(&mut self, more: Vec<String>) {
        if let Self::Changed(lines) = self {
            lines.extend(more);
        }
    }
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::NotNeeded(why) => Self::NotNeeded(why),
            Verdict::Right(what) => Self::Right(what),
            Verdict::Changed(lines) => Self::Changed(lines),
        }
    }
}

impl std::fmt::Display for PartReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = &self.name;
        match &self.outcome {
            Outcome::NotNeeded(why) => write!(f, "{name}: not needed: {why}"),
            Outcome::Right(what) => write!(f, "{name}: right: {what}"),
            Outcome::Changed(lines) => write!(f, "{name}: {}", lines.join("\n  ")),
            Outcome::Ran => write!(f, "{name}: done"),
            Outcome::Skipped => write!(f, "{name}: an operator's, not run"),
            Outcome::Failed(why) => write!(f, "{name}: failed: {why}"),
        }
    }
}

impl Report {
    pub(crate) fn add(&mut self, part: &Part, outcome: (Outcome, Vec<String>), draft: &mut Draft) {
        let (outcome, steps) = outcome;
        let vital = part.built_in.is_some_and(|fix| fix.vital);
        if let (Outcome::Failed(why), true) = (&outcome, vital) {
            self.obstacles.push(format!("{}: {why}", part.name));
        }
        let part = PartReport {
            name: part.name.clone(),
            outcome,
            warnings: draft.take_warnings(),
            steps,
        };
        match part.outcome {
            Outcome::Failed(_) => tracing::error!("{part}"),
            _ => tracing::info!("{part}"),
        }
        for warning in &part.warnings {
            tracing::warn!("{}: {warning}", part.name);
        }
        self.parts.push(part);
    }
}
