//! [`Ticket`]: one act of waiting and the word that decides how it ends.
//!
//! ```text
//!            claim (server)                  finish (server)
//!   OPEN ───────────────────────► TAKEN ───────────────────────► DONE{case, ok}
//!     └── claim (owner, deadline) ─► TAKEN, and nobody will finish it: withdrawn
//!
//!   SOLE ──────────────────────────────────────────────────────► DONE{case, ok}
//! ```
//!
//! The word is 0 when open, 1 when taken, 2 when sole, and `3 + 2·case + ok` when done: `case` tells a
//! `select!` which of its cases won, `ok` tells success from "the channel was closed".
//!
//! A *sole* ticket has one node, and its owner never gives up. Whoever finds the node under its list's lock
//! takes it out, so nobody else can claim the ticket, and the claim need not be written down.

use std::task::Waker;
use std::time::Instant;

use sched_core::park::{self, Batch, Caller, WaitReason, Waiter, Woken};
use sched_core::sync::{AtomicUsize, Ordering, UnsafeCell};

const OPEN: usize = 0;
const TAKEN: usize = 1;
const SOLE: usize = 2;
const DONE: usize = 3;

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
    /// Whom to wake. Written by the owner at first; taken by the server after its claim.
    whom: UnsafeCell<Option<Whom>>,
}

#[derive(Debug)]
enum Whom {
    /// The goroutine or thread on whose stack the ticket lies.
    Owner(Caller),
    /// Of a future.
    Waker(Waker),
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
        Self::with(OPEN, Whom::Owner(park::caller()))
    }

    /// As [`new`](Self::new), for a caller that waits with one node and without a deadline.
    pub(crate) fn sole() -> Self {
        Self::with(SOLE, Whom::Owner(park::caller()))
    }

    /// A ticket for whoever `waker` wakes.
    pub(crate) fn for_waker(waker: Waker) -> Self {
        Self::with(OPEN, Whom::Waker(waker))
    }

    fn with(state: usize, whom: Whom) -> Self {
        Ticket { state: AtomicUsize::new(state), whom: UnsafeCell::new(Some(whom)) }
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
        self.whom.with_mut(|place| {
            // SAFETY: servers touch the place after a claim, which needs the lock that the caller holds.
            if let Some(Whom::Waker(before)) = unsafe { &mut *place } {
                std::mem::swap(before, waker);
            }
        });
        Renewed::Waits
    }

    /// Tries to become the one that decides. At most one call per ticket ever returns true; of a sole one,
    /// for whoever takes its node out of the list.
    pub(crate) fn claim(&self) -> bool {
        // Relaxed: a ticket is sole from its beginning to its end.
        if self.state.load(Ordering::Relaxed) == SOLE {
            return true;
        }
        // Acquire: a server that lost to another one's finish, or a waiter that withdraws, must not
        // look at the slot before the decision. What the owner wrote before it appended the node
        // comes to the server through the list's lock, not through this word. Relaxed on failure:
        // the loser learns only that somebody else decides.
        self.state.compare_exchange(OPEN, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Ends the waiting and wakes the owner. One whose waker is not the scheduler's is not woken yet: that
    /// is user code, and the caller may be inside the runtime. The waker is given back. Others are woken when
    /// `batch` is dropped, at the latest.
    ///
    /// # Safety
    ///
    /// The caller won [`claim`](Self::claim) on this ticket and calls this once. From the moment of
    /// the store the ticket and its nodes may be gone: hence a raw pointer, and no `&self` that
    /// would have to stay valid until the return.
    #[must_use]
    pub(crate) unsafe fn finish(
        this: *const Ticket,
        outcome: Outcome,
        batch: &mut Batch,
    ) -> Option<Waker> {
        // SAFETY: the ticket lives until it is done (invariant 2), and until then the winner of the claim,
        // our caller, is the only one that touches `whom`.
        let whom = unsafe { (*this).whom.with_mut(|place| (*place).take()) };
        let done = || {
            // Release: publishes the value in the slot; pairs with the Acquire load in `outcome`.
            // SAFETY: as above; this is the last access.
            unsafe { (*this).state.store(outcome.pack(), Ordering::Release) }
        };
        match whom.expect("a ticket is finished once") {
            // SAFETY: the owner waits until the ticket is done.
            Whom::Owner(owner) => unsafe { owner.release(batch, done) },
            Whom::Waker(waker) => {
                done();
                match Waiter::try_from(waker) {
                    Ok(waiter) => waiter.unpark(),
                    Err(waker) => return Some(waker),
                }
            }
        }
        None
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
        // Relaxed: see `claim`.
        debug_assert_ne!(self.state.load(Ordering::Relaxed), SOLE, "its owner never gives up");
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
        let foreign =
            unsafe { Ticket::finish(&ticket, Outcome { case: 3, ok: true }, &mut Batch::new()) };
        assert!(foreign.is_none());
        assert_eq!(ticket.wait(WaitReason::Select), Outcome { case: 3, ok: true });
    }

    #[test]
    fn a_sole_ticket_is_done_when_it_is_finished() {
        let ticket = Ticket::sole();
        assert!(ticket.claim());
        assert_eq!(ticket.outcome(), None);
        // SAFETY: the claim above was ours, and this is its only finish.
        let foreign =
            unsafe { Ticket::finish(&ticket, Outcome { case: 0, ok: true }, &mut Batch::new()) };
        assert!(foreign.is_none());
        assert_eq!(ticket.wait(WaitReason::Receive), Outcome { case: 0, ok: true });
    }

    #[test]
    fn a_passed_deadline_withdraws() {
        let ticket = Ticket::new();
        assert_eq!(ticket.wait_until(WaitReason::Select, Instant::now()), None);
        assert!(!ticket.claim(), "a withdrawn ticket cannot be won");
    }
}
