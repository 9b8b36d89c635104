//! What a transfer found, did and left: as JSON for programs, as one HTML page
//! for people, and as a few lines for the consoles.
//!
//! Much in it comes from strangers (labels, host names, what fixes said):
//! nothing here trusts a string.

mod files;
mod html;
mod summary;

use std::time::Instant;

use p2v_copy::{Difference, Progress};
use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::preflight::Finding;
use crate::protocol::Fixed;
use crate::source::Source;
use crate::target::Target;

pub use files::{check_directory, write};
pub use html::page;
pub use summary::summary;

/// The version of [`Report`] as JSON.
pub const VERSION: u32 = 1;

/// A transfer, however it ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// p2v's version on the source.
    pub p2v: String,
    /// When it began, RFC 3339 in UTC: `2024-02-29T12:00:00Z`.
    pub started: String,
    /// When it ended; none while it runs.
    pub ended: Option<String>,
    /// Seconds between the two, by a clock that nobody sets.
    pub seconds: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether the target was told to start the new system.
    pub restarted: bool,
    /// Why it is not known whether the target did; none if it is, or was not
    /// told to.
    #[serde(default)]
    pub unconfirmed: Option<String>,
    /// The source.
    pub source: Source,
    /// The target as it was before.
    pub target: Target,
    /// What was to be done.
    pub plan: Plan,
    /// What tells that plan from others.
    pub plan_id: String,
    /// What was found before the first write.
    pub findings: Vec<Finding>,
    /// Each volume's copy, as far as they are complete.
    pub volumes: Vec<VolumeReport>,
    /// What differs between the two sides, if they were compared.
    pub differences: Option<Vec<Difference>>,
    /// What the fixes did.
    pub fixed: Option<Fixed>,
    #[serde(skip)]
    begun: Option<Instant>,
}

/// The copy of one volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeReport {
    /// Its name: `vda1`.
    pub volume: String,
    /// How long it took, pauses between tries with it.
    pub seconds: f64,
    /// What was copied.
    pub copied: Progress,
    /// Tries after the first.
    pub retries: u32,
}

impl VolumeReport {
    /// Bytes of contents a second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            self.copied.bytes_done as f64 / self.seconds
        } else {
            0.0
        }
    }
}

/// How a transfer ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has not.
    #[default]
    Running,
    /// All was done, and nothing is known that keeps it from starting.
    Moved,
    /// All was done, but it will not start as it is.
    WillNotStart,
    /// All was copied for now; a final pass is to come.
    Seeded,
    /// It failed.
    Failed,
}

impl Report {
    /// A report of a transfer that begins now.
    pub fn new(source: &Source, target: &Target, plan: &Plan) -> Self {
        Self {
            version: VERSION,
            p2v: env!("CARGO_PKG_VERSION").to_owned(),
            started: p2v_sys::time::now(),
            ended: None,
            seconds: 0.0,
            outcome: Outcome::Running,
            error: None,
            restarted: false,
            unconfirmed: None,
            source: source.clone(),
            target: target.clone(),
            plan: plan.clone(),
            plan_id: plan.id(),
            findings: Vec::new(),
            volumes: Vec::new(),
            differences: None,
            fixed: None,
            begun: Some(Instant::now()),
        }
    }

    /// It ends now, so.
    pub fn end(&mut self, result: Result<(), &anyhow::Error>) {
        self.ended = Some(p2v_sys::time::now());
        self.seconds = self
            .begun
            .map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        self.error = result.err().map(|error| format!("{error:#}"));
        self.outcome = match self.so_far() {
            // Without fixes there is more to come.
            Outcome::Running => Outcome::Seeded,
            outcome => outcome,
        };
    }

    /// Whether a comparison found something.
    pub fn has_differences(&self) -> bool {
        self.differences
            .as_ref()
            .is_some_and(|found| !found.is_empty())
    }

    /// How it has ended, or will if nothing more goes wrong: the target's
    /// console shows it before the end.
    pub(crate) fn so_far(&self) -> Outcome {
        match (&self.error, &self.fixed) {
            (Some(_), _) => Outcome::Failed,
            (None, Some(fixed)) if fixed.will_boot => Outcome::Moved,
            (None, Some(_)) => Outcome::WillNotStart,
            (None, None) => self.outcome,
        }
    }

    /// The moved system's own name.
    pub(crate) fn machine(&self) -> &str {
        let name = self.source.system.hostname.as_deref();
        name.filter(|name| !name.is_empty())
            .unwrap_or("the machine")
    }

    /// The instance's name, or what else its machine is called.
    pub(crate) fn instance(&self) -> &str {
        let name = self.target.instance.as_deref();
        name.unwrap_or(&self.target.hostname)
    }

    /// All volumes' copies together.
    pub(crate) fn copied(&self) -> VolumeReport {
        let mut all = VolumeReport::default();
        for volume in &self.volumes {
            let (sum, one) = (&mut all.copied, volume.copied);
            sum.entries += one.entries;
            sum.bytes_done += one.bytes_done;
            sum.bytes_sent += one.bytes_sent;
            sum.bytes_wire += one.bytes_wire;
            all.seconds += volume.seconds;
            all.retries += volume.retries;
        }
        all
    }

    /// How many fixes ended so: `changed`, `failed`.
    pub(crate) fn fixes_that(&self, outcome: &str) -> usize {
        let fixes = self.fixed.iter().flat_map(|fixed| &fixed.fixes);
        fixes.filter(|fix| fix.outcome == outcome).count()
    }
}
