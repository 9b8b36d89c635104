//! What was found where something was looked at, and what to do about it.

use serde::{Deserialize, Serialize};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// It is as it must be.
    Good,
    /// It can go on.
    Warning,
    /// It cannot.
    Error,
}

impl std::fmt::Display for Weight {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.pad(match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it weighs.
    pub weight: Weight,
    /// What was found.
    pub text: String,
    /// What to do, where the text does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}: {}", self.weight, self.whole())
    }
}

impl Finding {
    /// What is as it must be.
    pub fn good(text: impl Into<String>) -> Self {
        Self::of(Weight::Good, text)
    }

    /// What somebody should look at.
    pub fn warning(text: impl Into<String>) -> Self {
        Self::of(Weight::Warning, text)
    }

    /// What must be mended first.
    pub fn error(text: impl Into<String>) -> Self {
        Self::of(Weight::Error, text)
    }

    /// The same with what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Text and remedy in one line.
    pub fn whole(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}: {remedy}", self.text),
            None => self.text.clone(),
        }
    }

    fn of(weight: Weight, text: impl Into<String>) -> Self {
        Self {
            weight,
            text: text.into(),
            remedy: None,
        }
    }
}
