//! The marker: follows edges from what is grey until nothing is.
//!
//! The mark stack holds addresses that *may* be white. Taking one, the marker tries to mark it;
//! whoever turns it from white to marked looks into it, and everybody else leaves it. So an
//! address may be on the stack, in a log and under another worker's hand at once, and is looked
//! into exactly once.
//!
//! Marking is cut into slices by a budget of objects, so that the driver can let others run in
//! between. Several workers may mark at once ([`crew`]): each has a stack of its own, marking is a
//! read-modify-write in the space, and `dirty` is set by whoever marked.

pub mod crew;
mod worker;

pub use self::worker::Worker;

use self::crew::Batch;
use crate::{engine::Engine, space::Space, trace::Tracer};
use core::ptr::NonNull;

/// One worker's stack and counts.
#[derive(Debug, Default)]
pub struct Marker {
    stack: Tracer,
    objects: u64,
    bytes: u64,
}

impl Marker {
    /// Makes a cell grey. It is marked when the marker gets to it.
    #[inline]
    pub fn shade(&mut self, cell: NonNull<u8>) {
        self.stack.edge(cell);
    }

    /// Whether nothing is grey here.
    pub fn is_empty(&self) -> bool {
        self.stack.is_empty()
    }

    /// Marks until nothing is grey here or `budget` objects were looked at. True if nothing is
    /// left.
    ///
    /// # Safety
    ///
    /// A cycle of this engine is between steps 4 and 7, and what was shaded was alive at its
    /// step 1 or is newer.
    pub unsafe fn drain<S: Space>(&mut self, engine: &Engine<S>, budget: usize) -> bool {
        let before = self.objects;
        for _ in 0..budget {
            let Some(cell) = self.stack.pop() else { break };
            // SAFETY: the caller's: the cell is not swept before step 8, and it is an object's,
            // whole by the time its address could be found.
            unsafe { self.look_into(engine, cell) };
        }
        if self.objects != before {
            engine.phase.set_dirty();
        }
        self.stack.is_empty()
    }

    /// # Safety
    ///
    /// The cell is allocated and holds an object.
    #[inline]
    unsafe fn look_into<S: Space>(&mut self, engine: &Engine<S>, cell: NonNull<u8>) {
        // SAFETY: the caller's.
        let Some(marked) = (unsafe { engine.space.mark(cell) }) else { return };
        self.objects += 1;
        self.bytes += marked.bytes as u64;
        if let Some(trace) = marked.kind.trace {
            // SAFETY: the object is of the cell's kind.
            unsafe { trace(cell, &mut self.stack) };
        }
    }

    /// Takes half of the grey cells off the stack, at most so many: the oldest, which lead to more
    /// than the newest do. In a tree, where a stack is no deeper than the tree, a few are half the work.
    fn split(&mut self, most: usize) -> Option<Batch> {
        self.stack.take_oldest(most).map(Batch)
    }

    /// Takes all grey cells off the stack.
    fn take_all(&mut self) -> Option<Batch> {
        let all = self.stack.take_all();
        (!all.is_empty()).then_some(Batch(all))
    }

    /// Puts a batch on the stack.
    fn take(&mut self, batch: Batch) {
        self.stack.put(batch.0);
    }

    /// Objects and bytes marked since the last call.
    pub fn take_counts(&mut self) -> (u64, u64) {
        (core::mem::take(&mut self.objects), core::mem::take(&mut self.bytes))
    }
}
