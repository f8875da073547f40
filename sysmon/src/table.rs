//! [`Table`]: a list that has all its memory from birth.
//!
//! # Problem
//!
//! The monitor frees threads that wait for each other. Such a thread may have been stopped anywhere,
//! in the middle of an allocation too, with the allocator's lock in its hand. A monitor that then
//! allocates waits for that lock; its holder waits for a processor; the processor is held by a thread
//! that waits for the same lock, and only the monitor could take it away. So a look neither
//! allocates nor frees, not even now and then: whatever it writes down goes into tables that were
//! made before the first look.
//!
//! # Why a bound
//!
//! A machine knows how many workers it can have at most ([`Machine::most_workers`]). Memory for as
//! many is address space only, until it is written to: a large allocation comes from the kernel as
//! untouched pages.
//!
//! # Rejected
//!
//! * *A `Vec` that has grown large enough in the steady state*: the look at which it grows is the one
//!   that finds many workers blocked at once, which is when the lock is most likely held. (A program
//!   with libc's allocator, preempted every millisecond, hung in 4 of 36 runs.)
//! * *Growing on another thread*: the monitor would do without the new workers meanwhile, or wait.
//!
//! [`Machine::most_workers`]: crate::Machine::most_workers

use std::ops::{Deref, DerefMut};

/// A list with room for a fixed number of entries. It neither allocates nor frees between its birth
/// and its end.
///
/// ```
/// let mut table = sysmon::Table::with_room(2);
/// table.extend([1, 2, 3]);
/// assert_eq!(*table, [1, 2], "there is no room for a third");
/// ```
#[derive(Debug)]
pub struct Table<T> {
    /// Never longer than `room`, so it never grows.
    entries: Vec<T>,
    room: usize,
}

impl<T> Table<T> {
    /// An empty table for up to `room` entries. This allocates.
    pub fn with_room(room: usize) -> Self {
        Table { entries: Vec::with_capacity(room), room }
    }

    /// Appends `entry`; drops it if the table is full.
    pub fn push(&mut self, entry: T) {
        if self.entries.len() < self.room {
            self.entries.push(entry);
        }
    }

    /// Forgets all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Forgets the entries that `keep` does not want.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.entries.retain(keep);
    }
}

impl<T> Extend<T> for Table<T> {
    /// Appends entries as long as there is room.
    fn extend<I: IntoIterator<Item = T>>(&mut self, entries: I) {
        let left = self.room - self.entries.len();
        entries.into_iter().take(left).for_each(|entry| self.push(entry));
    }
}

impl<T> Deref for Table<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.entries
    }
}

impl<T> DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.entries
    }
}
