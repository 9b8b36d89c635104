//! Memory for frames, used again and again: memory that is new for every frame
//! is given and taken back by the kernel, page by page, which costs more than
//! what is done in it.

use std::sync::Mutex;

use crate::frame::USUAL;
use crate::queue::lock;

/// So many are kept, about as many as are in use at one time.
const KEPT: usize = 40;

/// See the module.
#[derive(Default)]
pub struct Rooms(Mutex<Vec<Vec<u8>>>);

impl Rooms {
    /// One, with what it last held.
    pub fn take(&self) -> Vec<u8> {
        lock(&self.0).pop().unwrap_or_default()
    }

    /// One that is empty.
    pub fn take_empty(&self) -> Vec<u8> {
        let mut room = self.take();
        room.clear();
        room
    }

    /// Keeps one for the next who takes it, unless it is of an unusual size.
    pub fn give(&self, room: Vec<u8>) {
        let mut kept = lock(&self.0);
        if (USUAL / 2..=USUAL * 2).contains(&room.capacity()) && kept.len() < KEPT {
            kept.push(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_taken_again_if_its_size_is_usual() {
        let rooms = Rooms::default();
        rooms.give(vec![7; USUAL]);
        rooms.give(vec![1; 10]);
        rooms.give(Vec::with_capacity(USUAL * 3));
        assert_eq!(rooms.take(), vec![7; USUAL]);
        assert_eq!(rooms.take().capacity(), 0);
        for _ in 0..KEPT + 5 {
            rooms.give(vec![7; USUAL]);
        }
        assert_eq!(rooms.0.lock().unwrap().len(), KEPT);
        assert!(rooms.take_empty().is_empty());
    }
}
