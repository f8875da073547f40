//! What a driver does with the entries of a queue: sifts them, and of those that are left takes out the tokens of the
//! dead; a piece at a time. None of it may fail, so each step that needs memory has another way.
//!
//! ```text
//!   entries    │ marked, so they live │ white when they were sifted │ to be sifted │
//!              0                    marked                        next
//!   fresh      │ there was no room for them │ newer: somebody held the object while marking went on │
//!              0                           new
//! ```

use core::ptr::NonNull;
use std::collections::VecDeque;

/// An object, by its cell, and what is to be said when it is gone.
pub(super) struct Entry<K> {
    /// `None`: the object has died, and the token has no place in the queue yet.
    pub(super) cell: Option<NonNull<u8>>,
    pub(super) token: K,
}

// SAFETY: the address is compared and looked up, not followed; the token may be sent.
unsafe impl<K: Send> Send for Entry<K> {}

/// Entries that the driver has seen.
pub(super) struct Known<K> {
    pub(super) entries: Vec<Entry<K>>,
    /// Those before this one were found marked in this cycle.
    marked: usize,
    /// Those before this one have been sifted, or looked at.
    next: usize,
    /// How many new entries there was no room for; likewise.
    new: usize,
    new_next: usize,
    /// Tokens on their way to the queue.
    pub(super) dead: VecDeque<K>,
}

/// Entries that are looked at between two pauses.
const PIECE: usize = 1024;

impl<K> Known<K> {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), marked: 0, next: 0, new: 0, new_next: 0, dead: VecDeque::new() }
    }

    /// A round has marked nothing: all are to be sifted that were not found marked before, new ones as well.
    pub(super) fn begin(&mut self, fresh: &mut Vec<Entry<K>>) {
        if self.entries.try_reserve(fresh.len()).is_ok() {
            self.entries.append(fresh);
        }
        (self.next, self.new, self.new_next) = (self.marked, fresh.len(), 0);
    }

    /// Sifts a piece of them; whether there is more.
    pub(super) fn sift(&mut self, is_marked: Survives<'_>) -> bool {
        for _ in 0..PIECE {
            let Some(entry) = self.entries.get(self.next) else { return false };
            if entry.cell.is_some_and(is_marked) {
                self.entries.swap(self.marked, self.next);
                self.marked += 1;
            }
            self.next += 1;
        }
        true
    }

    /// Marking has ended: those that are left are to be looked at.
    pub(super) fn end(&mut self) {
        (self.next, self.marked) = (self.marked, 0);
    }

    /// Looks at a piece of them; whether there is more.
    pub(super) fn look(&mut self, survives: Survives<'_>) -> bool {
        let end = self.entries.len();
        look(&mut self.entries, &mut self.next, end, &mut self.dead, survives)
    }

    /// Looks at a piece of the new ones that there was no room for; whether there is more.
    pub(super) fn look_at_new(
        &mut self,
        fresh: &mut Vec<Entry<K>>,
        survives: Survives<'_>,
    ) -> bool {
        look(fresh, &mut self.new_next, self.new, &mut self.dead, survives)
    }

    /// Puts tokens into the queue, if there is room.
    pub(super) fn deliver(&mut self, ready: &mut VecDeque<K>) {
        if ready.try_reserve(self.dead.len()).is_ok() {
            ready.append(&mut self.dead);
        }
    }
}

/// What a cycle does not free.
pub(super) type Survives<'a> = &'a dyn Fn(NonNull<u8>) -> bool;

/// Looks at a piece of the entries before `end`, and takes out the tokens of the dead; whether there is more.
fn look<K>(
    entries: &mut Vec<Entry<K>>,
    next: &mut usize,
    end: usize,
    dead: &mut VecDeque<K>,
    survives: Survives<'_>,
) -> bool {
    for _ in 0..PIECE {
        match entries.get_mut(*next) {
            Some(entry) if *next < end => {
                if entry.cell.is_some_and(survives) {
                    *next += 1;
                } else if dead.try_reserve(1).is_ok() {
                    dead.push_back(entries.swap_remove(*next).token);
                } else {
                    entry.cell = None;
                    *next += 1;
                }
            }
            _ => return false,
        }
    }
    true
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::{cell::Cell, ptr};

    fn sift(known: &mut Known<usize>, fresh: &mut Vec<Entry<usize>>, is_marked: Survives<'_>) {
        known.begin(fresh);
        while known.sift(is_marked) {}
    }

    /// Over two rounds, of which the second marks some more, and two cycles.
    #[test]
    fn what_is_marked_is_not_looked_at_after_marking() {
        const ALL: usize = 3 * PIECE;
        let address = |n| NonNull::new(ptr::without_provenance_mut(n));
        let mut fresh = (1..=ALL).map(|n| Entry { cell: address(n), token: n }).collect();
        let mut known = Known::new();
        let (asked, looked) = (Cell::new(0), Cell::new(0));
        let multiple_of = |n| move |cell: NonNull<u8>| cell.addr().get().is_multiple_of(n);
        sift(&mut known, &mut fresh, &multiple_of(2));
        sift(&mut known, &mut fresh, &|cell| {
            asked.set(asked.get() + 1);
            multiple_of(3)(cell)
        });
        known.end();
        let dies = |_| {
            looked.set(looked.get() + 1);
            false
        };
        while known.look(&dies) {}
        assert_eq!(
            (asked.get(), looked.get()),
            (ALL / 2, ALL / 3),
            "what was marked is looked at again"
        );
        assert!(known.dead.iter().all(|token| token % 2 != 0 && token % 3 != 0));
        assert_eq!((known.entries.len(), known.dead.len()), (ALL - ALL / 3, ALL / 3));
        sift(&mut known, &mut fresh, &|_| false);
        known.end();
        while known.look(&dies) {}
        assert_eq!((known.entries.len(), known.dead.len()), (0, ALL));
    }
}
