//! Where a worker is: for whoever watches that it does not hang, and to say where it was when it did.

use super::page::Page;
use std::sync::atomic::Ordering::Relaxed;

/// A worker's words on a page that it shares with whoever watches.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    page: &'a Page,
    base: usize,
}

/// Words of a worker.
const EACH: usize = 8;
/// Steps begun, of all cells.
const BEATS: usize = 0;
/// The number of the cell.
const CELL: usize = 1;
/// The step.
const STEP: usize = 2;

impl<'a> Watch<'a> {
    /// The words of this worker.
    pub fn new(page: &'a Page, worker: usize) -> Self {
        Self {
            page,
            base: (worker + 1) * EACH,
        }
    }

    /// A cell is begun.
    pub fn begin(&self, cell: usize) {
        self.page[self.base + CELL].store(cell as u64, Relaxed);
        self.at(0);
    }

    /// A step is begun.
    pub fn at(&self, step: u64) {
        self.page[self.base + STEP].store(step, Relaxed);
        self.page[self.base + BEATS].fetch_add(1, Relaxed);
    }

    /// Steps begun so far.
    pub fn beats(&self) -> u64 {
        self.page[self.base + BEATS].load(Relaxed)
    }

    /// The cell and the step.
    pub fn place(&self) -> (usize, u64) {
        (
            self.page[self.base + CELL].load(Relaxed) as usize,
            self.page[self.base + STEP].load(Relaxed),
        )
    }
}
