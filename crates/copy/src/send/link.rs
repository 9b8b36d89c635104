//! Writes frames to the link.

use std::io::Write;
use std::time::Instant;

use anyhow::Result;

use super::counters::Counters;
use crate::compress::Packer;
use crate::failure::Failure;
use crate::frame::{Frame, FrameWriter};
use crate::queue::Queue;

/// The link as the sender's side writes to it.
pub struct Link<'a, W> {
    to: FrameWriter<W>,
    counters: &'a Counters<'a>,
    packer: &'a Packer,
}

impl<'a, W: Write> Link<'a, W> {
    /// Begins.
    pub fn new(to: W, packer: &'a Packer, counters: &'a Counters<'a>) -> Self {
        Self {
            to: FrameWriter::new(to),
            counters,
            packer,
        }
    }

    /// Writes one frame.
    pub fn write(&mut self, frame: &Frame) -> Result<()> {
        let begun = Instant::now();
        self.to.write(frame)?;
        self.packer.waited(begun.elapsed());
        self.counters.wire(frame.wire());
        Ok(())
    }

    /// Sends what is kept back.
    pub fn flush(&mut self) -> Result<()> {
        self.to.flush()
    }

    /// Writes all that comes out of the queue. A failure of any thread is told
    /// to the other side.
    pub fn run(&mut self, out: &Queue<Frame>, failure: &Failure) {
        while let Some(frame) = out.pop() {
            let mut result = self.write(&frame);
            self.packer.rooms.give(frame.payload);
            if out.len() == 0 {
                result = result.and_then(|()| self.to.flush());
            }
            failure.watch(result);
        }
        if let Some(message) = failure.message() {
            // The link may be what has failed.
            let _ = self.write(&Frame::failed(&message));
            let _ = self.to.flush();
        }
    }
}
