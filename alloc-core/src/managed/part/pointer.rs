//! The making of records, and what leads to them: pointers, and lists through their links.

use core::{cell::Cell, ops::Deref, ptr, ptr::NonNull};

use super::Part;
use crate::{
    list::{List, Listed},
    managed::sweepgen::{Generation, SweepWord},
    span::SpanPtr,
    sync::{AtomicPtr, AtomicU64, AtomicUsize, Lock},
};

/// A pointer to a record of a heap that is still there; see [`SpanPtr`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PartPtr(NonNull<Part>);

// SAFETY: a shared pointer to a `Sync` record.
unsafe impl Send for PartPtr {}
// SAFETY: as above.
unsafe impl Sync for PartPtr {}

impl PartPtr {
    /// Makes memory a record, which has yet to [`begin`](Part::begin).
    ///
    /// # Safety
    ///
    /// `at` is memory of `bytes(words)` bytes, aligned, and no live record. It outlives the result.
    pub(crate) unsafe fn make(at: NonNull<Part>, words: usize, span: SpanPtr) -> Self {
        // SAFETY: promised by the caller. Atomics are written, not left zeroed.
        unsafe {
            at.write(Part {
                state: SweepWord::cached(Generation::of(0)),
                span: Cell::new(span),
                class: AtomicPtr::new(ptr::null_mut()),
                words,
                flip: AtomicUsize::new(0),
                lock: Lock::new(()),
                reserve: AtomicU64::new(0),
                word: AtomicUsize::new(0),
                prev: Cell::new(None),
                next: Cell::new(None),
                in_partial: Cell::new(false),
                doomed_next: Cell::new(None),
                in_doomed: Cell::new(false),
                poison: Cell::new(None),
            });
            let bits = at.add(1).cast::<AtomicU64>();
            for i in 0..3 * words {
                bits.add(i).write(AtomicU64::new(0));
            }
        }
        PartPtr(at)
    }

    /// # Safety
    ///
    /// `part` is a record of a heap that outlives the result.
    pub(crate) unsafe fn from_raw(part: NonNull<Part>) -> Self {
        PartPtr(part)
    }

    pub(crate) fn as_non_null(self) -> NonNull<Part> {
        self.0
    }
}

impl Deref for PartPtr {
    type Target = Part;
    fn deref(&self) -> &Part {
        // SAFETY: records are type-stable, only ever borrowed shared, and the heap is still
        // there: the promise of whoever made this pointer.
        unsafe { self.0.as_ref() }
    }
}

/// Records of one class or in a pool, under its lock.
pub(crate) type PartList = List<PartPtr>;

impl Listed for PartPtr {
    fn prev(&self) -> &Cell<Option<Self>> {
        &self.prev
    }

    fn next(&self) -> &Cell<Option<Self>> {
        &self.next
    }
}
