//! A queue between threads that holds only so much, and that ends everywhere
//! when one of them fails.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Locks, also after a thread has panicked: the panic itself ends the work.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits, likewise.
pub fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition
        .wait(guard)
        .unwrap_or_else(PoisonError::into_inner)
}

struct Content<T> {
    items: VecDeque<T>,
    ended: bool,
}

/// See the module.
pub struct Queue<T> {
    content: Mutex<Content<T>>,
    changed: Condvar,
    most: usize,
}

impl<T> Queue<T> {
    /// Holds `most` items; who has more waits.
    pub fn new(most: usize) -> Self {
        Self {
            content: Mutex::new(Content {
                items: VecDeque::new(),
                ended: false,
            }),
            changed: Condvar::new(),
            most,
        }
    }

    /// Waits for room, and appends. False if it has ended: the item is dropped.
    pub fn push(&self, item: T) -> bool {
        let mut content = lock(&self.content);
        while content.items.len() >= self.most && !content.ended {
            content = wait(&self.changed, content);
        }
        if content.ended {
            return false;
        }
        content.items.push_back(item);
        self.changed.notify_all();
        true
    }

    /// Waits for the next; `None` if it has ended and nothing is left.
    pub fn pop(&self) -> Option<T> {
        let mut content = lock(&self.content);
        loop {
            if let Some(item) = content.items.pop_front() {
                self.changed.notify_all();
                return Some(item);
            }
            if content.ended {
                return None;
            }
            content = wait(&self.changed, content);
        }
    }

    /// The next, if there is one now.
    pub fn try_pop(&self) -> Option<T> {
        let item = lock(&self.content).items.pop_front();
        if item.is_some() {
            self.changed.notify_all();
        }
        item
    }

    /// How many wait in it.
    pub fn len(&self) -> usize {
        lock(&self.content).items.len()
    }

    /// Whether it is three quarters full: what comes now has to wait.
    pub fn is_crowded(&self) -> bool {
        self.len() >= self.most - self.most / 4
    }

    /// Nothing more comes; what is in it is still taken out.
    pub fn end(&self) {
        lock(&self.content).ended = true;
        self.changed.notify_all();
    }

    /// Nothing more comes, and what is in it is dropped.
    pub fn abandon(&self) {
        let mut content = lock(&self.content);
        content.ended = true;
        content.items.clear();
        self.changed.notify_all();
    }
}
