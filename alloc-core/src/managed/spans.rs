//! The spans of one class: which wait for their sweep, which have free cells, and who has which.
//!
//! # Lists
//!
//! A span is on one of four lists, or in the hands of a sweeper:
//!
//! * *unswept*: it waits for this cycle's sweep;
//! * *partial*: swept, with free cells, in no cache;
//! * *rest*: swept, and full or in a cache;
//! * *early*: made for the cycle to come, by a cache whose owner has read its number before the class
//!   was opened for it.
//!
//! When a cycle begins, the second and the third become the first, and the fourth becomes the third, in
//! constant time.
//!
//! # Three things that must agree
//!
//! Where a span is listed, what its own word says ([`sweepgen`](super::sweepgen)), and how many are counted as
//! waiting ([`sweeping`](super::sweeping)). All three change under the lock of the lists, but for the word of
//! a span that a sweeper has: that is its own. So whoever holds the lock, and finds the class in the
//! generation that he acts on, knows the words of all spans on a list. Who comes with another
//! generation read the cycle's number too early, or late, and turns away.
//!
//! A span that is swept counts until it is listed again ([`relist`](Spans::relist)): a cycle begins when none
//! counts, and must find all of them.
//!
//! Models: `loom-tests/tests/alloc_sweep.rs`, by way of [`apart`](super::apart).

use core::{cmp, ptr, ptr::NonNull};

use super::{
    class::Class,
    part::{PartList, PartPtr, Swept},
    sweepgen::Generation,
    sweeping::Sweeping,
};
use crate::{stats::Counter, sync::Lock};

/// The spans of a class.
#[derive(Debug)]
pub(crate) struct Spans {
    lists: Lock<Lists>,
    /// Length of the unswept list, changed under the lock; a hint for those who do not have it.
    waiting: Counter,
}

/// Those that no sweeper holds.
#[derive(Debug)]
struct Lists {
    /// The generation that spans on `partial` and `rest` are of.
    now: Generation,
    unswept: PartList,
    partial: PartList,
    rest: PartList,
    early: PartList,
}

impl Spans {
    /// None, in generation `now`.
    pub(crate) fn new(now: Generation) -> Self {
        Spans {
            lists: Lock::new(Lists {
                now,
                unswept: PartList::EMPTY,
                partial: PartList::EMPTY,
                rest: PartList::EMPTY,
                early: PartList::EMPTY,
            }),
            waiting: Counter::new(),
        }
    }

    /// Begins a generation: all spans but the early ones wait for their sweep.
    pub(crate) fn open(&self, now: Generation, sweeping: &Sweeping) {
        let mut lists = self.lists.lock();
        let waiting = lists.open(now);
        self.waiting.add(waiting);
        sweeping.add(waiting);
    }

    /// The next span that waits, for the caller to sweep: it is on no list then.
    pub(crate) fn claim_unswept(&self, now: Generation) -> Option<PartPtr> {
        // Most classes are done early in a cycle; who misses a span just listed finds it next time.
        if self.waiting.get() == 0 {
            return None;
        }
        let mut lists = self.lists.lock();
        if lists.now != now {
            return None;
        }
        let part = lists.unswept.pop_front()?;
        self.waiting.sub(1);
        let claimed = part.state.claim(now);
        debug_assert!(claimed, "unswept spans are in nobody's hands, and of an earlier cycle");
        Some(part)
    }

    /// Ends the sweep of a span: lists it, or if no cell is left calls `free`.
    pub(crate) fn relist(
        &self,
        part: PartPtr,
        swept: Swept,
        now: Generation,
        sweeping: &Sweeping,
        free: impl FnOnce(PartPtr),
    ) {
        if swept.live == 0 {
            free(part);
        } else {
            let mut lists = self.lists.lock();
            part.state.finish(now);
            lists.list(part, swept.live < part.span().capacity());
        }
        sweeping.done();
    }

    /// Ends the sweep of a span that the caller's cache keeps. Also if no cell is left in it: its pages need
    /// not go to the page heap and come back.
    pub(crate) fn keep(&self, part: PartPtr, now: Generation, sweeping: &Sweeping) {
        {
            let mut lists = self.lists.lock();
            part.state.finish(now);
            let cached = part.state.cache(now);
            debug_assert!(cached, "a span that was just swept is on no list and in no cache");
            lists.list(part, false);
        }
        sweeping.done();
    }

    /// Takes a swept span with free cells for a cache.
    pub(crate) fn claim_partial(&self, now: Generation) -> Option<PartPtr> {
        let mut lists = self.lists.lock();
        if lists.now != now {
            return None;
        }
        let part = lists.partial.pop_front()?;
        let cached = part.state.cache(now);
        debug_assert!(cached, "spans with free cells are swept and in no cache");
        lists.list(part, false);
        Some(part)
    }

    /// Gives up a span that a cache took in `then`.
    pub(crate) fn uncache(&self, part: PartPtr, then: Generation) {
        let mut lists = self.lists.lock();
        if lists.now != then || !part.state.uncache(then) {
            // A cycle has begun since. The span is in the hands of its sweepers.
            return;
        }
        if part.unreserve() {
            lists.offer(part);
        }
    }

    /// Lists a span that was made in `now`, for the caller's cache.
    pub(crate) fn list_fresh(&self, part: PartPtr, now: Generation, sweeping: &Sweeping) {
        let mut lists = self.lists.lock();
        match now.cmp(&lists.now) {
            // The caller acts on the cycle before: the span is stale at birth.
            cmp::Ordering::Less => {
                lists.unswept.push_back(part);
                self.waiting.add(1);
                sweeping.add(1);
            }
            cmp::Ordering::Equal => lists.list(part, false),
            // Or on the cycle to come, for which the class is about to be opened.
            cmp::Ordering::Greater => lists.early.push_back(part),
        }
    }

    /// Offers a span of `class`, whose lists these are, if it is idle: it has free cells now.
    ///
    /// A sweeper may have freed the span since, and its record may begin a new life at this moment, for any class.
    pub(crate) fn offer(&self, part: PartPtr, class: NonNull<Class>) {
        let mut lists = self.lists.lock();
        // The word first. A span that is idle in this generation is not swept before the next, which waits for this
        // lock; and who made it idle has written whose it is before. Asked the other way round, the class may be that
        // of the old life, and the word that of the new one.
        if part.state.is_idle(lists.now) && ptr::eq(part.class_ptr(), class.as_ptr()) {
            lists.offer(part);
        }
    }

    /// Calls `each` for all spans that are on a list.
    pub(crate) fn for_each(&self, each: impl FnMut(PartPtr)) {
        let lists = self.lists.lock();
        let all = [&lists.unswept, &lists.partial, &lists.rest, &lists.early];
        all.into_iter().flat_map(|list| list.iter()).for_each(each);
    }
}

impl Lists {
    /// Returns how many wait.
    fn open(&mut self, now: Generation) -> usize {
        debug_assert!(self.unswept.is_empty(), "spans of the last cycle are not swept");
        self.now = now;
        self.unswept.append(&mut self.partial);
        self.unswept.append(&mut self.rest);
        self.rest.append(&mut self.early);
        self.unswept.len()
    }

    /// Lists a span that needs no sweep now.
    fn list(&mut self, part: PartPtr, has_free: bool) {
        part.in_partial.set(has_free);
        if has_free { self.partial.push_back(part) } else { self.rest.push_back(part) }
    }

    /// Moves an idle span to `partial`, unless it is there: it has free cells now.
    fn offer(&mut self, part: PartPtr) {
        debug_assert!(part.state.is_idle(self.now), "only spans that no cache has are offered");
        if !part.in_partial.get() {
            self.rest.remove(part);
            self.list(part, true);
        }
    }
}
