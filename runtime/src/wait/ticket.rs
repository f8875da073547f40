//! [`Ticket`]: one act of waiting and the word that decides how it ends.
//!
//! ```text
//!            claim (server)                  finish (server)
//!   OPEN ───────────────────────► TAKEN ───────────────────────► DONE{case, ok}
//!     └── claim (owner, deadline) ─► TAKEN, and nobody will finish it: withdrawn
//! ```
//!
//! The word is 0 when open, 1 when taken, and `2 + 2·case + ok` when done: `case` tells a `select!`
//! which of its cases won, `ok` tells success from "the channel was closed".

use std::task::Waker;
use std::time::Instant;

use sched_core::park::{self, WaitReason, Waiter, Woken};
use sched_core::sync::{AtomicUsize, Ordering, UnsafeCell};

const OPEN: usize = 0;
const TAKEN: usize = 1;
const DONE: usize = 2;

/// How an act of waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Which case of a `select!` won; 0 elsewhere.
    pub(crate) case: usize,
    /// Whether the wish was granted. False: the thing waited for was closed.
    pub(crate) ok: bool,
}

impl Outcome {
    fn pack(self) -> usize {
        DONE + 2 * self.case + usize::from(self.ok)
    }

    fn unpack(word: usize) -> Option<Self> {
        let body = word.checked_sub(DONE)?;
        Some(Outcome { case: body / 2, ok: body % 2 == 1 })
    }
}

/// One act of waiting. It lies on the waiter's stack, or in its future; see the module's essay for who may
/// touch it.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// Written by whoever wins the claim, then by the one that finishes; read by the owner.
    state: AtomicUsize,
    /// Written by the owner in `new`; taken by the server between TAKEN and DONE. A goroutine's or a
    /// thread's is a [`Waiter`] in the form of a waker.
    waker: UnsafeCell<Option<Waker>>,
}

/// What [`Ticket::renew`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Renewed {
    /// The new waker will be woken.
    Waits,
    /// The ticket was decided: the old one has been woken, or is about to be.
    Decided,
}

impl Ticket {
    /// A ticket for the goroutine or thread that calls.
    pub(crate) fn new() -> Self {
        Self::for_waker(park::current().into())
    }

    /// A ticket for whoever `waker` wakes.
    pub(crate) fn for_waker(waker: Waker) -> Self {
        Ticket { state: AtomicUsize::new(OPEN), waker: UnsafeCell::new(Some(waker)) }
    }

    /// Has `waker` woken in the place of the one before, which is then in its place.
    ///
    /// # Safety
    ///
    /// The caller is the owner, and holds the lock of the one list that the ticket's node is in.
    pub(crate) unsafe fn renew(&self, waker: &mut Waker) -> Renewed {
        // Relaxed: under the lock nobody claims it.
        if self.state.load(Ordering::Relaxed) != OPEN {
            return Renewed::Decided;
        }
        self.waker.with_mut(|place| {
            // SAFETY: servers touch the place after a claim, which needs the lock that the caller holds.
            if let Some(before) = unsafe { &mut *place } {
                std::mem::swap(before, waker);
            }
        });
        Renewed::Waits
    }

    /// Tries to become the one that decides. At most one call per ticket ever returns true.
    pub(crate) fn claim(&self) -> bool {
        // Acquire: a server that lost to another one's finish, or a waiter that withdraws, must not
        // look at the slot before the decision. What the owner wrote before it appended the node
        // comes to the server through the list's lock, not through this word. Relaxed on failure:
        // the loser learns only that somebody else decides.
        self.state.compare_exchange(OPEN, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Ends the waiting and wakes the owner. One whose waker is not the scheduler's is not woken yet: that
    /// is user code, and the caller may be inside the runtime. The waker is given back.
    ///
    /// # Safety
    ///
    /// The caller won [`claim`](Self::claim) on this ticket and calls this once. From the moment of
    /// the store the ticket and its nodes may be gone: hence a raw pointer, and no `&self` that
    /// would have to stay valid until the return.
    #[must_use]
    pub(crate) unsafe fn finish(this: *const Ticket, outcome: Outcome) -> Option<Waker> {
        // SAFETY: the ticket lives until the store below (invariant 2), and between TAKEN and DONE
        // the winner of the claim, our caller, is the only one that touches `waker`.
        let waker = unsafe { (*this).waker.with_mut(|place| (*place).take()) };
        // Release: publishes the value in the slot; pairs with the Acquire load in `outcome`.
        // SAFETY: as above; this is the last access.
        unsafe { (*this).state.store(outcome.pack(), Ordering::Release) };
        match Waiter::try_from(waker?) {
            Ok(waiter) => {
                waiter.unpark();
                None
            }
            Err(waker) => Some(waker),
        }
    }

    /// The outcome, if there is one yet.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        // Acquire: makes the value that the server put into the slot visible; pairs with the
        // Release store in `finish`.
        Outcome::unpack(self.state.load(Ordering::Acquire))
    }

    /// Parks until a server has finished the ticket.
    pub(crate) fn wait(&self, reason: WaitReason) -> Outcome {
        loop {
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            park::park(reason);
        }
    }

    /// Parks until the ticket is finished or `deadline` has passed. `None` means withdrawn: the
    /// owner won its own ticket, and has to take its nodes out of their lists.
    pub(crate) fn wait_until(&self, reason: WaitReason, deadline: Instant) -> Option<Outcome> {
        loop {
            if let Some(outcome) = self.outcome() {
                return Some(outcome);
            }
            if park::park_until(reason, deadline) == Woken::Timeout {
                return if self.claim() { None } else { Some(self.wait(reason)) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_packing() {
        for case in [0, 1, 2, 1000, usize::MAX / 4] {
            for ok in [false, true] {
                let outcome = Outcome { case, ok };
                assert_eq!(Outcome::unpack(outcome.pack()), Some(outcome));
            }
        }
        assert_eq!(Outcome::unpack(OPEN), None);
        assert_eq!(Outcome::unpack(TAKEN), None);
    }

    #[test]
    fn one_claim_wins() {
        let ticket = Ticket::new();
        assert!(ticket.claim());
        assert!(!ticket.claim());
        // SAFETY: the claim above was ours, and this is its only finish.
        let foreign = unsafe { Ticket::finish(&ticket, Outcome { case: 3, ok: true }) };
        assert!(foreign.is_none());
        assert_eq!(ticket.wait(WaitReason::Select), Outcome { case: 3, ok: true });
    }

    #[test]
    fn a_passed_deadline_withdraws() {
        let ticket = Ticket::new();
        assert_eq!(ticket.wait_until(WaitReason::Select, Instant::now()), None);
        assert!(!ticket.claim(), "a withdrawn ticket cannot be won");
    }
}
