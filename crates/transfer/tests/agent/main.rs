//! The agent on real disks: image files behind loop devices. The kernel makes
//! no partitions of those, so volumes are loop devices with offsets.

mod bench;
mod contents;
mod disks;
mod hostile;
mod plans;
mod system;
mod together;

/// No test: what [`bench::Bench`] starts.
#[test]
fn agent_process() {
    bench::be_agent();
}
