//! [`List`]: the queue of those who wait, threaded through their own stacks.
//!
//! A list owns nothing. Its nodes lie on the stacks of the waiters, and the list is touched only
//! under the lock of the thing that it belongs to; `Cell`s suffice. The equation: a node is reached
//! from exactly one list if `queued`, else from none.

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::task::Waker;

use sched_core::entry;
use sched_core::park::Batch;
use sched_core::sync::prefetch;

use super::ticket::{Outcome, Ticket};

/// A ticket's entry in one list.
#[derive(Debug)]
pub(crate) struct Node {
    /// Neighbours and membership, guarded by the list's lock. In a [`Claimed`] chain `next` belongs
    /// to whoever holds the chain, but for the last one's, which a list may have again.
    prev: Cell<*const Node>,
    next: Cell<*const Node>,
    queued: Cell<bool>,
    // From here on all is set once, before the node is queued.
    /// The owner may be dropped between being served and looking: once served, the node stands for the value in
    /// `slot`.
    droppable: bool,
    ticket: *const Ticket,
    case: usize,
    slot: *mut (),
    _pinned: PhantomPinned,
}

impl Node {
    /// A node for `ticket`. `slot` is the place of the value; what lies there is agreed between the
    /// owner of the list and those who queue in it.
    pub(crate) fn new(ticket: *const Ticket, case: usize, slot: *mut ()) -> Self {
        Node {
            prev: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
            queued: Cell::new(false),
            droppable: false,
            ticket,
            case,
            slot,
            _pinned: PhantomPinned,
        }
    }

    /// The same, of an owner that may be dropped after it was served: then the node is for the list of what was
    /// served and not collected.
    pub(crate) fn droppable(self) -> Self {
        Node { droppable: true, ..self }
    }

    /// Whether it lies in a list. Valid only under that list's lock.
    pub(crate) fn is_queued(&self) -> bool {
        self.queued.get()
    }

    /// The place of the value.
    pub(crate) fn slot(&self) -> *mut () {
        self.slot
    }
}

/// Waiters in order of arrival.
#[derive(Debug)]
pub(crate) struct List {
    head: Cell<*const Node>,
    tail: Cell<*const Node>,
}

// SAFETY: a list is a pair of pointers to nodes whose owners keep them in place (invariant 2 of the
// module's essay); it is used under a lock, so moving it to another thread moves the right to
// follow them.
unsafe impl Send for List {}

impl List {
    pub(crate) const fn new() -> Self {
        List { head: Cell::new(ptr::null()), tail: Cell::new(ptr::null()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_null()
    }

    /// The first node, without a claim. Valid only under the list's lock.
    pub(crate) fn front(&self) -> Option<&Node> {
        // SAFETY: a queued node stays in place until it is taken out, which needs the lock that
        // our caller holds (invariant 2).
        unsafe { self.head.get().as_ref() }
    }

    /// Those behind `node`, which is in this list. Valid only under the list's lock.
    pub(crate) fn behind<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Node> {
        let next = |node: &Node| {
            // SAFETY: neighbours are queued here, so they are in place; our caller holds the lock.
            unsafe { node.next.get().as_ref() }
        };
        std::iter::successors(next(node), move |node| next(node))
    }

    /// Appends `node`.
    ///
    /// # Safety
    ///
    /// The caller holds the list's lock. The node and its ticket stay in place until the ticket is
    /// done, or withdrawn and the node removed.
    pub(crate) unsafe fn push_back(&self, node: &Node) {
        debug_assert!(!node.queued.get(), "a node is in one list at most");
        let last = self.tail.replace(node);
        node.prev.set(last);
        node.next.set(ptr::null());
        node.queued.set(true);
        // SAFETY: `last` is queued here, so it is in place; we hold the lock.
        match unsafe { last.as_ref() } {
            Some(last) => last.next.set(node),
            None => self.head.set(node),
        }
    }

    /// Puts `node` before all others: for one that was first before and did not get its turn.
    ///
    /// # Safety
    ///
    /// As [`push_back`](Self::push_back).
    pub(crate) unsafe fn push_front(&self, node: &Node) {
        debug_assert!(!node.queued.get(), "a node is in one list at most");
        let first = self.head.replace(node);
        node.next.set(first);
        node.prev.set(ptr::null());
        node.queued.set(true);
        // SAFETY: `first` is queued here, so it is in place; we hold the lock.
        match unsafe { first.as_ref() } {
            Some(first) => first.prev.set(node),
            None => self.tail.set(node),
        }
    }

    /// Takes `node` out, if it is still in.
    ///
    /// # Safety
    ///
    /// The caller holds the lock of this list, and `node` is in no other one.
    pub(crate) unsafe fn remove(&self, node: &Node) {
        if !node.queued.replace(false) {
            return;
        }
        let (prev, next) = (node.prev.get(), node.next.get());
        // SAFETY: neighbours are queued here, so they are in place; we hold the lock.
        match unsafe { prev.as_ref() } {
            Some(prev) => prev.next.set(next),
            None => self.head.set(next),
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(next) => next.prev.set(prev),
            None => self.tail.set(prev),
        }
    }

    /// Pops nodes until one can be claimed. Those that cannot have been decided elsewhere; their
    /// owners are on the way to take them out, and find them out already.
    ///
    /// # Safety
    ///
    /// The caller holds the list's lock.
    pub(crate) unsafe fn claim_front(&self) -> Option<Claimed> {
        loop {
            let node = self.front()?;
            // SAFETY: the caller holds the lock, and the node is in this list.
            unsafe { self.remove(node) };
            // SAFETY: a queued node's ticket is in place (invariant 2).
            if unsafe { &*node.ticket }.claim() {
                return Some(Claimed { head: node, last: node });
            }
        }
    }

    /// Empties the list, in which all tickets are sole, with one look at it, however many there are.
    ///
    /// # Safety
    ///
    /// The caller holds the list's lock; each ticket was made by [`Ticket::sole`].
    pub(crate) unsafe fn take_all(&self) -> Option<Claimed> {
        let last = self.tail.replace(ptr::null());
        let head = self.head.replace(ptr::null());
        (!head.is_null()).then(|| Claimed { head, last })
    }

    /// Empties the list and claims what can be claimed, in order. For closing.
    ///
    /// # Safety
    ///
    /// The caller holds the list's lock.
    pub(crate) unsafe fn claim_all(&self) -> Option<Claimed> {
        // SAFETY: the caller holds the lock, here and for each call below.
        let mut all = unsafe { self.claim_front() }?;
        // SAFETY: as above.
        while let Some(more) = unsafe { self.claim_front() } {
            all.join(more);
        }
        Some(all)
    }
}

/// Evidence that the tickets of one or more nodes were won. Their owners stay parked until
/// [`finish`](Claimed::finish), which is called after the lock is released.
#[must_use = "whoever claims a ticket must finish it, or its owner sleeps for ever"]
#[derive(Debug)]
pub(crate) struct Claimed {
    head: *const Node,
    last: *const Node,
}

impl Claimed {
    /// The slot of the first node.
    pub(crate) fn slot(&self) -> *mut () {
        // SAFETY: a claimed node stays in place until it is finished.
        unsafe { &*self.head }.slot
    }

    /// The first node, if it stands for the value in its slot from now on.
    pub(crate) fn droppable(&self) -> Option<&Node> {
        // SAFETY: as above.
        let node = unsafe { &*self.head };
        node.droppable.then_some(node)
    }

    /// Puts `more` behind those that are here. None of them is droppable and served.
    fn join(&mut self, more: Claimed) {
        // SAFETY: claimed nodes stay in place until they are finished, and we hold them all.
        unsafe { &*self.last }.next.set(more.head);
        self.last = more.last;
        mem::forget(more);
    }

    /// Wakes all owners in order, up to one whose waker is user code: it and what comes behind it is
    /// [`Later`]. `ok` is what their outcome says.
    pub(crate) fn finish(self, ok: bool) -> Later {
        let Claimed { head: mut node, last } = self;
        mem::forget(self);
        let mut batch = Batch::new();
        loop {
            // SAFETY: a claimed node is in place until its ticket is finished.
            let (ticket, case, link) = unsafe { ((*node).ticket, (*node).case, &(*node).next) };
            // The last one's link is not the chain's.
            let next = if ptr::eq(node, last) { ptr::null() } else { link.get() };
            if !next.is_null() {
                // One that has waited for long is in no cache, and who comes behind it is known only by it.
                prefetch(next.addr());
            }
            // SAFETY: this chain is the evidence of the claim, and each node is visited once.
            let waker = unsafe { Ticket::finish(ticket, Outcome { case, ok }, &mut batch) };
            if waker.is_some() || next.is_null() {
                let rest = (!next.is_null()).then(|| Claimed { head: next, last });
                return Later { waker, rest, ok };
            }
            node = next;
        }
    }
}

/// Those who are woken when the caller has left the runtime. Nobody, as a rule.
#[must_use = "whoever is to be woken later sleeps until then"]
#[derive(Debug)]
pub(crate) struct Later {
    waker: Option<Waker>,
    rest: Option<Claimed>,
    ok: bool,
}

impl Later {
    /// Wakes them, outside the runtime.
    ///
    /// All are done before the first is woken: a waker may drop the futures of the others, which wait for
    /// that. One that panics does so alone: the caller has moved a value and must come to note it.
    #[inline]
    pub(crate) fn wake(self) {
        if self.waker.is_some() {
            self.wake_one_by_one();
        }
    }

    #[cold]
    fn wake_one_by_one(self) {
        let Later { waker, mut rest, ok } = self;
        let mut more = Vec::new();
        while let Some(claimed) = rest {
            let inside = entry::enter();
            let later = claimed.finish(ok);
            drop(inside);
            more.extend(later.waker);
            rest = later.rest;
        }
        for waker in waker.into_iter().chain(more) {
            // What it panicked with may panic again when dropped, so it stays.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake())).map_err(mem::forget);
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        debug_assert!(std::thread::panicking(), "a claimed ticket was not finished");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ticket: &Ticket, case: usize) -> Node {
        Node::new(ticket, case, ptr::null_mut())
    }

    #[test]
    fn first_in_first_out_and_removal_anywhere() {
        let tickets: Vec<_> = (0..5).map(|_| Ticket::new()).collect();
        let nodes: Vec<_> = tickets.iter().enumerate().map(|(i, t)| node(t, i)).collect();
        let list = List::new();
        // SAFETY: one thread, so the lock is not needed; nodes outlive the list's use.
        unsafe {
            nodes.iter().for_each(|n| list.push_back(n));
            list.remove(&nodes[2]);
            list.remove(&nodes[0]);
            list.remove(&nodes[4]);
            list.remove(&nodes[4]);
            list.push_front(&nodes[4]);
            for expected in [4, 1, 3] {
                list.claim_front().expect("three are left").finish(true).wake();
                assert_eq!(tickets[expected].outcome(), Some(Outcome { case: expected, ok: true }));
            }
            assert!(list.claim_front().is_none());
        }
        assert!(list.is_empty());
    }

    #[test]
    fn closing_skips_those_already_decided() {
        let tickets: Vec<_> = (0..4).map(|_| Ticket::new()).collect();
        let nodes: Vec<_> = tickets.iter().enumerate().map(|(i, t)| node(t, i)).collect();
        let list = List::new();
        // SAFETY: one thread; nodes outlive the list's use.
        unsafe {
            nodes.iter().for_each(|n| list.push_back(n));
            assert!(tickets[1].claim());
            list.claim_all().expect("three can be claimed").finish(false).wake();
        }
        assert!(list.is_empty());
        for case in [0, 2, 3] {
            assert_eq!(tickets[case].outcome(), Some(Outcome { case, ok: false }));
        }
        assert_eq!(tickets[1].outcome(), None);
    }
}
