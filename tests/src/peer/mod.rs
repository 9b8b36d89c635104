//! The peers.
