//! Spans of one size class that no cache owns and that have free cells.
//!
//! A cache that runs dry asks here before it takes fresh pages; a cache that holds more
//! half-empty spans than it may, or ends, leaves them here. Two ways in:
//!
//! * [`Central::leave`], by an owner, under the lock, onto the list;
//! * [`Central::put_back`], by whoever frees the first cell of a full span: into a lock-free
//!   set, since that thread may be a signal handler or hold any lock. The next one to hold
//!   the lock moves the set to the list.
//!
//! When the last cell of a span in the set or on the list is freed, the freeing thread takes the span
//! out ([`Central::reap`]), if it gets the lock at once; else a later `claim` finds it, or a
//! `reap_any`.
//!
//! Spans on the list are ordered: whoever has fewer cells in use is not known, so the last
//! to come is the first to go, its cells being the warmest.

use core::ptr::NonNull;

use crate::{
    owned::{collect, free_cells},
    remote::{Pushed, State},
    span::{Span, SpanList, SpanPtr},
    span_set::SpanSet,
    sync::{Lock, const_fn},
};

/// The central of one class.
#[derive(Debug)]
pub(crate) struct Central {
    list: Lock<SpanList>,
    incoming: SpanSet<Span>,
}

impl Central {
    const_fn! {
        pub(crate) fn new() -> Self {
            Central { list: Lock::new(SpanList::EMPTY), incoming: SpanSet::new() }
        }
    }

    /// Hands a span with free cells to the cache `owner`.
    pub(crate) fn claim(&self, owner: usize) -> Option<SpanPtr> {
        let mut list = self.list.lock();
        self.receive(&mut list);
        let span = list.pop_front()?;
        span.set_listed(None);
        span.remote.claim();
        span.set_owner(owner);
        Some(span)
    }

    /// Takes a span with free cells from its owner, who must be the caller. True if others have
    /// freed all its cells meanwhile, so that it can be reaped.
    fn leave(&self, span: SpanPtr) -> bool {
        let mut list = self.list.lock();
        span.set_owner(0);
        span.remote.list(span.used.get());
        span.set_listed(Some(span.class()));
        list.push_front(span);
        span.remote.snapshot().is_empty()
    }

    /// Takes a full span of which a cell was freed, from the thread whose push found that.
    fn put_back(&self, span: SpanPtr) {
        let Some(element) = NonNull::new(span.as_ptr()) else { return };
        // SAFETY: exactly one push moves the word from *full* to *incoming*, so the caller alone
        // may stack the record, and records are never unmapped while the heap is there.
        unsafe { self.incoming.push(element) };
    }

    /// Takes out `span` if it is listed here and all its cells are free. Never waits.
    pub(crate) fn reap(&self, span: SpanPtr, class: usize) -> Option<SpanPtr> {
        let mut list = self.list.try_lock()?;
        self.receive(&mut list);
        // The record may have had another life since the caller freed its cell, and may be in the
        // middle of a third. What is marked as listed by us is on our list and stays there while we
        // hold the lock, whoever it is; state and class, read one after the other, prove nothing.
        if !span.is_listed(class) || !span.remote.snapshot().is_empty() {
            return None;
        }
        list.remove(span);
        span.set_listed(None);
        span.remote.claim();
        Some(span)
    }

    /// Does what a push onto the remote list of `span` found to be done; never waits. Returns a span
    /// that the caller must free: all its cells are free, and nobody has it.
    pub(crate) fn after_push(
        &self,
        span: SpanPtr,
        class: usize,
        pushed: Pushed,
    ) -> Option<SpanPtr> {
        match pushed {
            Pushed::Queued => None,
            Pushed::Emptied => self.reap(span, class),
            Pushed::PutBack => {
                self.put_back(span);
                // Others may have freed all its cells before it lay in the set.
                let now = span.remote.snapshot();
                let emptied = now.state() == State::Incoming && now.is_empty();
                if emptied { self.reap(span, class) } else { None }
            }
        }
    }

    /// Takes a span from its owner `number`, the caller, which has it on none of its lists. Returns a
    /// span that the caller must free, as [`Central::after_push`].
    pub(crate) fn disown(&self, span: SpanPtr, class: usize, number: usize) -> Option<SpanPtr> {
        if free_cells(span) == 0 {
            span.set_owner(0);
            if span.remote.disown_full(span.used.get()).is_ok() {
                return None;
            }
            span.set_owner(number);
            collect(span);
        }
        // All cells in use were freed by others: nobody can push any more.
        if span.used.get() == span.remote.snapshot().count() {
            span.set_owner(0);
            return Some(span);
        }
        if self.leave(span) { self.reap(span, class) } else { None }
    }

    /// Takes out any span all of whose cells are free.
    pub(crate) fn reap_any(&self) -> Option<SpanPtr> {
        let mut list = self.list.lock();
        self.receive(&mut list);
        let mut at = list.first();
        while let Some(span) = at {
            if span.remote.snapshot().is_empty() {
                list.remove(span);
                span.set_listed(None);
                span.remote.claim();
                return Some(span);
            }
            at = span.next.get();
        }
        None
    }

    /// Moves what was put back to the list.
    fn receive(&self, list: &mut SpanList) {
        for element in self.incoming.take_all() {
            // SAFETY: only records of this heap are pushed.
            let span = unsafe { SpanPtr::from_raw(element) };
            span.remote.arrive();
            span.set_listed(Some(span.class()));
            list.push_back(span);
        }
    }

    pub(crate) fn acquire(&self) {
        self.list.acquire();
    }

    /// # Safety
    ///
    /// As [`Lock::release`].
    pub(crate) unsafe fn unlock(&self) {
        // SAFETY: passed on.
        unsafe { self.list.release() }
    }
}
