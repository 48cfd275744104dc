//! The textbook's bounded buffer, as it stands in every textbook, and the same as a `VecDeque`. Property tests compare
//! every ring with both.

use std::collections::VecDeque;
use std::fmt::Debug;

/// A bounded first-in first-out buffer that one can look into.
pub trait Buffer<T> {
    /// An empty buffer with room for so many.
    fn with_room_for(capacity: usize) -> Self;

    /// Puts an item last; gives it back if there is no room.
    fn put(&mut self, item: T) -> Result<(), T>;

    /// Takes the first item.
    fn take(&mut self) -> Option<T>;

    /// How many items there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item with so many before it.
    fn at(&mut self, number: usize) -> Option<&mut T>;
}

/// An array of N slots of which N - 1 are used; empty when `in == out`, full when `(in + 1) % N == out`.
#[derive(Debug)]
pub struct Textbook<T> {
    buffer: Vec<Option<T>>,
    n: usize,
    /// `in` is a word of the language.
    in_: usize,
    out: usize,
}

impl<T: Debug> Buffer<T> for Textbook<T> {
    fn with_room_for(capacity: usize) -> Self {
        let n = capacity + 1;
        Self {
            buffer: (0..n).map(|_| None).collect(),
            n,
            in_: 0,
            out: 0,
        }
    }

    fn put(&mut self, item: T) -> Result<(), T> {
        if (self.in_ + 1) % self.n == self.out {
            return Err(item);
        }
        self.buffer[self.in_] = Some(item);
        self.in_ = (self.in_ + 1) % self.n;
        Ok(())
    }

    fn take(&mut self) -> Option<T> {
        if self.in_ == self.out {
            return None;
        }
        let item = self.buffer[self.out].take();
        self.out = (self.out + 1) % self.n;
        item
    }

    fn len(&self) -> usize {
        (self.in_ + self.n - self.out) % self.n
    }

    fn at(&mut self, number: usize) -> Option<&mut T> {
        if number >= self.len() {
            return None;
        }
        self.buffer[(self.out + number) % self.n].as_mut()
    }
}

/// A `VecDeque` with a bound.
#[derive(Debug)]
pub struct Queue<T> {
    items: VecDeque<T>,
    capacity: usize,
}

impl<T> Buffer<T> for Queue<T> {
    fn with_room_for(capacity: usize) -> Self {
        Self {
            items: VecDeque::new(),
            capacity,
        }
    }

    fn put(&mut self, item: T) -> Result<(), T> {
        if self.items.len() == self.capacity {
            return Err(item);
        }
        self.items.push_back(item);
        Ok(())
    }

    fn take(&mut self) -> Option<T> {
        self.items.pop_front()
    }

    fn len(&self) -> usize {
        self.items.len()
    }

    fn at(&mut self, number: usize) -> Option<&mut T> {
        self.items.get_mut(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps_its_bound_and_its_order<B: Buffer<u32>>() {
        for capacity in 1..5 {
            let mut buffer = B::with_room_for(capacity);
            for round in 0..10 {
                for item in 0..capacity as u32 {
                    assert_eq!(buffer.put(round + item), Ok(()));
                }
                assert_eq!(buffer.put(99), Err(99));
                assert_eq!(buffer.len(), capacity);
                for item in 0..capacity as u32 {
                    assert_eq!(buffer.at(0), Some(&mut (round + item)));
                    assert_eq!(buffer.take(), Some(round + item));
                }
                assert_eq!((buffer.take(), buffer.at(0)), (None, None));
            }
        }
    }

    #[test]
    fn the_textbook_and_the_queue_agree() {
        keeps_its_bound_and_its_order::<Textbook<u32>>();
        keeps_its_bound_and_its_order::<Queue<u32>>();
    }
}
