//! What a driver does with the entries of a queue: looks at each, a piece at a time, and takes out the tokens of the
//! dead. None of it may fail, so each step that needs memory has another way.

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
    /// Those before this one have been looked at in this cycle.
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
        Self { entries: Vec::new(), next: 0, new: 0, new_next: 0, dead: VecDeque::new() }
    }

    /// A cycle has ended: all are to be looked at, new ones as well.
    pub(super) fn begin(&mut self, fresh: &mut Vec<Entry<K>>) {
        if self.entries.try_reserve(fresh.len()).is_ok() {
            self.entries.append(fresh);
        }
        (self.next, self.new, self.new_next) = (0, fresh.len(), 0);
    }

    /// Looks at a piece of them; whether there is more.
    pub(super) fn look(&mut self, survives: Survives<'_>) -> bool {
        let end = self.entries.len();
        look(&mut self.entries, &mut self.next, end, &mut self.dead, survives)
    }

    /// Looks at a piece of the new ones that there was no room for; whether there is more. Newer ones come
    /// behind them, and those survive.
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
