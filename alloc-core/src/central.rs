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
//! to come is the first to go, its cells being the warmest. Those with holes lie at the back.
//!
//! # The scavenger's walk
//!
//! A span's holes are made by who holds it alone, so the scavenger takes a listed span out as a cache
//! would ([`Central::next_quiet`]), works on it without the lock, and lists it again
//! ([`Central::shelve`]). It walks the list some spans at a time, and may go on at its next step; where it is,
//! is noted beside the list, so that whoever takes a span out there moves the note on.
//!
//! How long a span was left alone is told by the number of the step since which it was, not by how often it was
//! met: so no span needs to be met at every step.

use core::{mem, ptr::NonNull};

use crate::{
    owned::{collect, is_full},
    remote::{Freed, State},
    scavenge::Thrift,
    span::{Span, SpanList, SpanPtr},
    span_set::SpanSet,
    stats::Counter,
    stirred::Stirred,
    sync::{Lock, const_fn},
};

/// Spans that the scavenger looks at under one hold of the lock.
const LOOKS: usize = 64;

/// The central of one class.
#[derive(Debug)]
pub(crate) struct Central {
    list: Lock<Listed>,
    incoming: SpanSet<Span>,
    /// Bytes of holes that have been filled since the scavenger asked. Any cache adds.
    pub(crate) recalled: Counter,
}

/// The spans, and where the scavenger's walk is.
#[derive(Debug)]
struct Listed {
    spans: SpanList,
    /// The next one to look at; none between two walks.
    walk: Option<SpanPtr>,
    /// Something may have come before that place since the walk began.
    passed: bool,
    /// How long the class waits for its holes.
    thrift: Thrift,
    /// Bytes of holes made since the scavenger began its last walk.
    given: usize,
}

impl Listed {
    fn remove(&mut self, span: SpanPtr) {
        if self.walk == Some(span) {
            self.walk = span.next.get();
        }
        self.spans.remove(span);
        span.set_listed(None);
    }
}

/// Which spans a walk takes: those into which nothing was freed for more than `steps` steps, at step `now`; or all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ripe {
    pub(crate) now: u32,
    pub(crate) steps: Option<u8>,
}

/// How a walk begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    /// For how many steps nothing may have been freed into a span before it is taken, for a policy that says how
    /// long; none if all are, by an age of 0.
    pub(crate) steps: Option<u8>,
    /// Something may lie before the place where it begins that is not met.
    pub(crate) passed: bool,
}

/// What the scavenger finds at its place in the list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// A span that is the scavenger's now.
    Taken(SpanPtr),
    /// None yet.
    More,
    /// The end of the list.
    End,
}

/// A stretch of a walk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) found: Quiet,
    /// Spans that were looked at, and those of them that will be ripe later.
    pub(crate) looks: usize,
    pub(crate) ripening: usize,
}

impl Central {
    const_fn! {
        pub(crate) fn new() -> Self {
            Central {
                list: Lock::new(Listed {
                    spans: SpanList::EMPTY,
                    walk: None,
                    passed: false,
                    thrift: Thrift::NEW,
                    given: 0,
                }),
                incoming: SpanSet::new(),
                recalled: Counter::new(),
            }
        }
    }

    /// Hands a span with free cells to the cache `owner`.
    pub(crate) fn claim(&self, owner: usize) -> Option<SpanPtr> {
        let mut list = self.list.lock();
        self.receive(&mut list);
        let span = list.spans.first()?;
        list.remove(span);
        span.remote.claim();
        span.set_owner(owner);
        Some(span)
    }

    /// Takes a span with free cells from its owner, who must be the caller. True if others have
    /// freed all its cells meanwhile, so that it can be reaped.
    fn leave(&self, span: SpanPtr, since: u32) -> bool {
        let mut list = self.list.lock();
        span.set_owner(0);
        span.remote.list(span.used.get());
        span.set_listed(Some(span.class()));
        let now = span.remote.snapshot();
        span.since.set(since);
        span.through.set(false);
        span.seen.set(now.count());
        list.spans.push_front(span);
        now.is_empty()
    }

    /// Takes a full span of which a cell was freed, from the thread whose free found that.
    fn put_back(&self, span: SpanPtr) {
        let Some(element) = NonNull::new(span.as_ptr()) else { return };
        // SAFETY: exactly one free moves the word from *full* to *incoming*, so the caller alone
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
        span.remote.claim();
        Some(span)
    }

    /// Does what a free by another than the owner of `span` found to be done, and says that something was freed; never
    /// waits. Returns a span that the caller must free: all its cells are free, and nobody has it.
    pub(crate) fn after_remote_free(
        &self,
        span: SpanPtr,
        class: usize,
        freed: Freed,
        stirred: &Stirred,
    ) -> Option<SpanPtr> {
        let free = match freed {
            Freed::Queued => None,
            Freed::Emptied => self.reap(span, class),
            Freed::PutBack => {
                self.put_back(span);
                // Others may have freed all its cells before it lay in the set.
                let now = span.remote.snapshot();
                let emptied = now.state() == State::Incoming && now.is_empty();
                if emptied { self.reap(span, class) } else { None }
            }
        };
        stirred.note();
        free
    }

    /// Takes a span from its owner `number`, the caller, which has it on none of its lists, and has let
    /// it lie `since` that step of the scavenger; and says so. Returns a span that the caller must free, as
    /// [`Central::after_remote_free`].
    pub(crate) fn disown(
        &self,
        span: SpanPtr,
        class: usize,
        number: usize,
        since: u32,
        stirred: &Stirred,
    ) -> Option<SpanPtr> {
        let free = self.give_up(span, class, number, since);
        stirred.note();
        free
    }

    fn give_up(&self, span: SpanPtr, class: usize, number: usize, since: u32) -> Option<SpanPtr> {
        if is_full(span) {
            span.set_owner(0);
            if span.remote.disown_full(span.used.get()).is_ok() {
                return None;
            }
            span.set_owner(number);
            collect(span);
        }
        // All cells in use were freed by others: none is left to be freed.
        if span.used.get() == span.remote.snapshot().count() {
            span.set_owner(0);
            return Some(span);
        }
        if self.leave(span, since) { self.reap(span, class) } else { None }
    }

    /// Takes out any span all of whose cells are free.
    pub(crate) fn reap_any(&self) -> Option<SpanPtr> {
        let mut list = self.list.lock();
        self.receive(&mut list);
        let span = list.spans.iter().find(|span| span.remote.snapshot().is_empty())?;
        list.remove(span);
        span.remote.claim();
        Some(span)
    }

    /// Something came since the scavenger looked: if its walk stopped in the middle, perhaps where that will not meet it.
    pub(crate) fn came(&self) {
        let mut list = self.list.lock();
        list.passed = list.walk.is_some();
    }

    /// A walk begins, by the scavenger where its last one stopped before its end, or `anew` by others.
    pub(crate) fn begin_walk(&self, age: u8, anew: bool) -> Begun {
        let mut guard = self.list.lock();
        let list = &mut *guard;
        if list.walk.is_none() || anew {
            self.receive(list);
            list.walk = list.spans.first();
            list.passed = false;
            if !anew {
                list.thrift.step(mem::take(&mut list.given), self.recalled.take());
            }
        }
        Begun { steps: (age > 0).then(|| list.thrift.steps(age)), passed: list.passed }
    }

    /// Goes on to the next ripe span, and takes it out of the list; looks at [`LOOKS`] spans at most.
    pub(crate) fn next_quiet(&self, ripe: Ripe) -> Stretch {
        let mut list = self.list.lock();
        let mut stretch = Stretch { found: Quiet::More, looks: 0, ripening: 0 };
        while stretch.looks < LOOKS {
            let Some(span) = list.walk else {
                stretch.found = Quiet::End;
                break;
            };
            stretch.looks += 1;
            if is_quiet(span, ripe) {
                list.remove(span);
                span.remote.claim();
                stretch.found = Quiet::Taken(span);
                break;
            }
            list.walk = span.next.get();
            stretch.ripening += usize::from(!span.through.get());
        }
        stretch
    }

    /// Lists a span again that [`Central::next_quiet`] gave, now with `given` bytes more of holes.
    /// Returns a span that the caller must free, as [`Central::after_remote_free`].
    pub(crate) fn shelve(&self, span: SpanPtr, class: usize, given: usize) -> Option<SpanPtr> {
        let emptied = {
            let mut list = self.list.lock();
            list.given += given;
            span.remote.list(span.used.get());
            span.set_listed(Some(class));
            span.through.set(true);
            span.seen.set(0);
            list.spans.push_back(span);
            span.remote.snapshot().is_empty()
        };
        if emptied { self.reap(span, class) } else { None }
    }

    /// Moves what was put back to the list. Since when it is left alone, the scavenger's first look says.
    fn receive(&self, list: &mut Listed) {
        for element in self.incoming.take_all() {
            // SAFETY: only records of this heap are pushed.
            let span = unsafe { SpanPtr::from_raw(element) };
            span.remote.arrive();
            span.set_listed(Some(span.class()));
            span.through.set(false);
            // No list is as long: a change, for whoever looks.
            span.seen.set(u32::MAX);
            list.spans.push_back(span);
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

/// Looks at a listed span, at the scavenger's step `now`; whether it is ripe. Under the central's lock.
fn is_quiet(span: SpanPtr, ripe: Ripe) -> bool {
    let count = span.remote.snapshot().count();
    if span.seen.replace(count) != count {
        span.through.set(false);
        span.since.set(ripe.now.wrapping_sub(1));
    }
    let left_alone = ripe.now.wrapping_sub(span.since.get());
    !span.through.get() && ripe.steps.is_none_or(|steps| left_alone > u32::from(steps))
}
