//! Everything that can be known before the first write to the target.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::protocol::Target;
use crate::source::Source;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// It is as it must be.
    Good,
    /// The transfer can go on.
    Warning,
    /// It cannot.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it weighs.
    pub weight: Weight,
    /// What was found; for an error or a warning also what to do.
    pub text: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let mark = match self.weight {
            Weight::Good => "ok",
            Weight::Warning => "warning",
            Weight::Error => "error",
        };
        write!(f, "{mark}: {}", self.text)
    }
}

/// Looks at all of it.
pub fn check(_source: &Source, _target: &Target, _plan: &Plan) -> Vec<Finding> {
    Vec::new()
}
