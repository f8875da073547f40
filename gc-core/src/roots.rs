//! The table of roots: slots outside the heap that keep objects alive.
//!
//! A root is a slot that is filled once and emptied once. Emptying is a deletion like any other
//! and goes through the barrier ([`Engine::clear_root`](crate::engine::Engine::clear_root));
//! filling needs none, because whoever fills holds a guard, or another root, on the same object.
//!
//! The collector reads the table chunk by chunk without stopping anyone. A root that is made
//! behind its back is no loss: its object was reachable from somewhere when it was made, and if
//! that was deleted, the deletion was logged. A root that is made from another root without a
//! guard (a clone) is visible to the scan or its original is: the original's end is a guarded
//! deletion, after the clone was filled, so a handshake orders the two. Model:
//! `loom-tests/tests/gc_roots.rs`.
//!
//! Slots are recycled and chunks stay until the end of the heap, so a slot's address is stable. All memory is
//! asked for when the table grows: emptying a slot and giving it back need none.

use crate::{
    engine::Slot,
    sync::{Mutex, ROOT_CHUNK},
};
use core::ptr::NonNull;

/// [`ROOT_CHUNK`] slots.
type Chunk = [Slot];

/// A slot of the table, owned by one root.
#[derive(Debug)]
pub struct RootSlot(NonNull<Slot>);

// SAFETY: a slot is atomic, and lives as long as the table.
unsafe impl Send for RootSlot {}
// SAFETY: as above.
unsafe impl Sync for RootSlot {}

impl RootSlot {
    /// The slot.
    ///
    /// # Safety
    ///
    /// The table is alive.
    pub unsafe fn slot(&self) -> &Slot {
        // SAFETY: the caller's; chunks are not freed before the table.
        unsafe { self.0.as_ref() }
    }
}

#[derive(Debug, Default)]
struct Table {
    /// Each from a `Box`; never freed before the table.
    chunks: Vec<NonNull<Chunk>>,
    free: Vec<RootSlot>,
}

impl Table {
    /// A slot that nobody has; `None` if there is no memory for more.
    fn take(&mut self) -> Option<RootSlot> {
        if self.free.is_empty() {
            self.grow()?;
        }
        self.free.pop()
    }

    fn grow(&mut self) -> Option<()> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(ROOT_CHUNK).ok()?;
        self.chunks.try_reserve(1).ok()?;
        // For all slots that there are, so that each can come back.
        self.free.try_reserve((self.chunks.len() + 1) * ROOT_CHUNK - self.free.len()).ok()?;
        slots.extend(core::iter::repeat_with(|| Slot::new(None)).take(ROOT_CHUNK));
        let chunk = NonNull::from(Box::leak(slots.into_boxed_slice()));
        // SAFETY: just leaked.
        let slots = unsafe { chunk.as_ref() };
        self.free.extend(slots.iter().map(|slot| RootSlot(NonNull::from(slot))));
        self.chunks.push(chunk);
        Some(())
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for chunk in &self.chunks {
            // SAFETY: the chunk came from a Box, and roots own a share of the heap, so none is
            // left.
            drop(unsafe { Box::from_raw(chunk.as_ptr()) });
        }
    }
}

// SAFETY: chunks are atomic, and freed with the table alone.
unsafe impl Send for Table {}

/// All roots of a heap.
#[derive(Debug)]
pub struct Roots(Mutex<Table>);

impl Default for Roots {
    fn default() -> Self {
        Self(Mutex::new(Table::default()))
    }
}

impl Roots {
    fn table<R>(&self, f: impl FnOnce(&mut Table) -> R) -> R {
        // Nothing under this lock panics, so poison carries no news.
        f(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Makes a root of an object that a guard or another root keeps alive during the call. `None` if there
    /// is no memory for it.
    pub fn add(&self, cell: NonNull<u8>) -> Option<RootSlot> {
        let root = self.table(Table::take)?;
        // SAFETY: the table is alive: it is `self`.
        unsafe { root.slot() }.fill(Some(cell));
        Some(root)
    }

    /// Gives a slot back.
    ///
    /// # Safety
    ///
    /// The slot is of this table, and was emptied with the barrier.
    pub unsafe fn recycle(&self, root: RootSlot) {
        self.table(|table| table.free.push(root));
    }

    /// Calls `each` for the object of every root.
    pub fn scan(&self, mut each: impl FnMut(NonNull<u8>)) {
        let mut index = 0;
        while let Some(chunk) = self.chunk(index) {
            // SAFETY: chunks are not freed before the table.
            unsafe { chunk.as_ref() }.iter().filter_map(Slot::load).for_each(&mut each);
            index += 1;
        }
    }

    fn chunk(&self, index: usize) -> Option<NonNull<Chunk>> {
        self.table(|table| table.chunks.get(index).copied())
    }

    /// How many roots there are.
    pub fn count(&self) -> usize {
        self.table(|table| table.chunks.len() * ROOT_CHUNK - table.free.len())
    }
}
