//! The agent on real disks: image files behind loop devices. The kernel makes
//! no partitions of those, so volumes are loop devices with offsets.

mod contents;
mod disks;
mod hostile;
mod lab;
mod plans;
mod system;
mod together;

/// No test: what [`lab::Lab`] starts.
#[test]
fn agent_process() {
    lab::be_agent();
}
