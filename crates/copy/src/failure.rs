//! The first failure of several threads, which ends all of them.

use std::sync::Mutex;

use anyhow::Error;

use crate::queue::lock;

/// See the module.
pub struct Failure<'a> {
    first: Mutex<Option<Error>>,
    end: &'a (dyn Fn() + Sync),
}

impl<'a> Failure<'a> {
    /// `end` makes all threads end.
    pub fn new(end: &'a (dyn Fn() + Sync)) -> Self {
        Self {
            first: Mutex::new(None),
            end,
        }
    }

    /// Keeps a thread's failure if it is the first, and ends the others.
    pub fn watch(&self, result: anyhow::Result<()>) {
        if let Err(error) = result {
            lock(&self.first).get_or_insert(error);
            (self.end)();
        }
    }

    /// What the other side said of its failure: it is why this side then saw
    /// the link end.
    pub fn said(&self, error: Error) {
        let mut first = lock(&self.first);
        if first.as_ref().is_none_or(is_of_link) {
            *first = Some(error);
        }
        drop(first);
        (self.end)();
    }

    /// The first one's message, to be told to the other side.
    pub fn message(&self) -> Option<String> {
        lock(&self.first).as_ref().map(|error| format!("{error:#}"))
    }

    /// The first one.
    pub fn take(&self) -> Option<Error> {
        lock(&self.first).take()
    }
}

fn is_of_link(error: &Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| matches!(cause.kind(), BrokenPipe | ConnectionReset | UnexpectedEof))
}
