//! What the source's side and the agent say to each other: JSON, a line a
//! message, each with the protocol's version.
//!
//! The agent reads [`Request`]s from its standard input, one at a time, and
//! writes [`Answer`]s to its standard output: any number of notes, then one
//! result. Contents go over a connection of their own: an agent that was started
//! with [`DataOrder`] speaks the crate `p2v-copy`'s binary stream after one line.

mod line;

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
#[cfg(doc)]
use crate::target::{Target, TargetDisk};

pub use line::{LONGEST_LINE, read, write};

/// Raised when either side could misunderstand the other.
pub const VERSION: u32 = 1;

/// A line to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`].
    pub v: u32,
    /// Which run of a transfer gives it: its connections all say the same, and
    /// no other run's do. What changes something needs one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run: String,
    /// What to do.
    pub order: Order,
}

/// What the agent can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Say what you are: answered by [`Target`].
    Probe,
    /// Partition and format the disks as planned, unless they were made for
    /// this very plan; mount them to be filled. Answered by [`Prepared`].
    Prepare {
        /// What they shall be.
        plan: Box<Plan>,
        /// What somebody has agreed to lose, as it was shown. Whatever else
        /// would be lost is an error.
        erase: Vec<Loss>,
        /// Whether somebody has agreed to end another run that is at work.
        take_over: bool,
    },
    /// All volumes are filled: put the tree together and run the fixes.
    /// Answered by [`Fixed`].
    Fix {
        /// The plan.
        plan: Box<Plan>,
    },
    /// Unmount all, and restart if told so. Answered by nothing more than done.
    Finish {
        /// The plan.
        plan: Box<Plan>,
        /// Whether the system is as it shall be: then no later transfer goes on
        /// with its disks unasked. Else the volumes keep what tells whose they are.
        complete: bool,
        /// Whether to restart into the new system.
        restart: bool,
        /// What to say on the console.
        summary: Vec<String>,
    },
    /// Say how far the last transfer came: answered by [`Status`].
    Status,
}

/// A disk that somebody has agreed to erase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// See [`TargetDisk`].
    pub device: String,
    /// See [`TargetDisk`]: what was on it when it was agreed to.
    pub holds: Vec<String>,
}

/// A line from the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// [`VERSION`].
    pub v: u32,
    /// What it says.
    pub say: Say,
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Say {
    /// A line about what it is doing.
    Note(String),
    /// It could not: why, and what to do.
    Failed(String),
    /// It is done; the order says of what type this is.
    Done(serde_json::Value),
}

/// What an agent for contents is told, as its one line: then the stream of
/// `p2v-copy` follows in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataOrder {
    /// [`VERSION`].
    pub v: u32,
    /// See [`Request`].
    pub run: String,
    /// The plan that the volume was made for.
    pub plan_id: String,
    /// The volume's name: `vda1`.
    pub volume: String,
    /// What to do with it.
    pub work: DataWork,
}

/// What is done with a volume's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataWork {
    /// Receive its files.
    Files,
    /// Receive its blocks.
    Blocks,
    /// Compare its files.
    Compare,
    /// Compare its blocks.
    CompareBlocks,
}

/// What [`Order::Prepare`] did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prepared {
    /// Whether the disks were as planned already, and nothing was formatted.
    pub resumed: bool,
    /// Volumes of which a copy was finished earlier.
    pub complete: Vec<String>,
}

/// What [`Order::Fix`] did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    /// Whether nothing is known that keeps the system from starting.
    pub will_boot: bool,
    /// What is known that does.
    pub obstacles: Vec<String>,
    /// Each fix, in order.
    pub fixes: Vec<FixResult>,
}

/// What one fix did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixResult {
    /// Its part: `10-repair-fstab`.
    pub part: String,
    /// `changed`, `right`, `not needed`, `failed`, `ran` (an operator's).
    pub outcome: String,
    /// What it said.
    pub lines: Vec<String>,
}

/// How far a transfer came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The plan.
    pub plan_id: Option<String>,
    /// `none`, `prepared`, `copying`, `fixing`, `fixed`, `finishing`, `finished`.
    pub phase: String,
    /// A line each.
    pub lines: Vec<String>,
}
