//! One piece of work for several threads, until it is done or one fails.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};

/// What the threads mostly do, which decides how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// They compute: as many as there are processors.
    Processor,
    /// They wait for the disk, which answers many questions faster than one
    /// after the other: some more.
    Disk,
}

impl Load {
    fn threads(self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        match self {
            Self::Processor => processors,
            Self::Disk => processors.max(8),
        }
    }
}

/// Calls `work` with every run of up to `at_once` neighbouring `items`, in
/// several threads. Each thread has a state of its own, made by `state`; they
/// are returned. After a failure no new run is begun, and the first failure is
/// returned.
pub fn each<T: Sync, S: Send>(
    load: Load,
    items: &[T],
    at_once: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &[T]) -> Result<()> + Sync,
) -> Result<Vec<S>> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let states = Mutex::new(Vec::new());
    let thread = || {
        let mut own = state();
        while let Some(run) = take(items, &next, at_once) {
            if let Err(error) = work(&mut own, run) {
                next.store(items.len(), Ordering::Relaxed);
                keep(&failure, |first| {
                    first.get_or_insert(error);
                });
            }
        }
        keep(&states, |states| states.push(own));
    };
    std::thread::scope(|scope| {
        for _ in 0..load.threads().min(items.len().div_ceil(at_once)) {
            scope.spawn(thread);
        }
    });
    match (failure.into_inner(), states.into_inner()) {
        (Ok(None), Ok(states)) => Ok(states),
        (Ok(Some(error)), _) => Err(error),
        _ => bail!("a thread has failed"),
    }
}

fn take<'a, T>(items: &'a [T], next: &AtomicUsize, at_once: usize) -> Option<&'a [T]> {
    let start = next.fetch_add(at_once, Ordering::Relaxed);
    let end = items.len().min(start.saturating_add(at_once));
    items.get(start..end).filter(|run| !run.is_empty())
}

/// A poisoned lock means that a thread has panicked, which ends everything.
fn keep<T>(place: &Mutex<T>, change: impl FnOnce(&mut T)) {
    if let Ok(mut content) = place.lock() {
        change(&mut content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        let items: Vec<usize> = (0..1000).collect();
        let work = |sum: &mut usize, run: &[usize]| {
            assert!(run.len() <= 7);
            *sum += run.iter().sum::<usize>();
            Ok(())
        };
        let sums = each(Load::Disk, &items, 7, || 0, work).unwrap();
        assert_eq!(sums.iter().sum::<usize>(), 999 * 500);
    }

    #[test]
    fn failure_ends_the_work() {
        let items: Vec<usize> = (0..100_000).collect();
        let done = AtomicUsize::new(0);
        let work = |(): &mut (), _: &[usize]| {
            done.fetch_add(1, Ordering::Relaxed);
            bail!("no")
        };
        let error = each(Load::Processor, &items, 1, || (), work).unwrap_err();
        assert_eq!(error.to_string(), "no");
        assert!(done.into_inner() < 1000);
    }
}
