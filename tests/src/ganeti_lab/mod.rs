//! A Ganeti cluster of one node on this machine, with the OS definition
//! installed as `make install` does it: Ganeti is the judge.
//!
//! [`node_root`] keeps a Debian with Ganeti; [`node`] runs a machine over it
//! in namespaces, which vanish with this process; [`Cluster`] installs the OS
//! definition there and initializes Ganeti. [`acceptance`] is what it is all
//! for. Nothing on the host is changed, and nothing of it is needed but its
//! kernel, loop devices, nsenter and mmdebstrap.

pub mod acceptance;
pub mod cluster;
pub mod files;
pub mod killed;
pub mod node;
pub mod node_root;
pub mod os_logs;
pub mod relay;
pub mod scratch;

pub use cluster::Cluster;
