//! The parts that a machine can have in a move, and how they are told.

use std::path::Path;

use p2v_ramboot::IN_RAM;
use p2v_sys::command::in_path;
use p2v_transfer::source;
use serde::Serialize;

use crate::Place;

/// A machine's part in a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A node of a Ganeti cluster, where instances are made.
    Node,
    /// The machine that moves.
    Source,
    /// The instance that it moves into, booted into RAM.
    Target,
}

impl Role {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Node, Self::Source, Self::Target];

    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Source => "source",
            Self::Target => "target",
        }
    }

    /// This machine's roles, at least one:
    ///
    /// - target, and nothing else, if p2v's init put its root into RAM;
    /// - node, if the OS definition or a part of its configuration is there, or
    ///   Ganeti is;
    /// - source, if it is neither, or nothing uses its disks: then it was
    ///   started from a live medium.
    pub fn detect(place: &Place) -> Vec<Self> {
        if Path::new(IN_RAM).exists() {
            return vec![Self::Target];
        }
        let paths = &place.paths;
        let is_node = paths.os_dir.exists() || paths.config_dir.exists() || in_path("gnt-cluster");
        match is_node {
            true if source::lie_still() => vec![Self::Node, Self::Source],
            true => vec![Self::Node],
            false => vec![Self::Source],
        }
    }
}
