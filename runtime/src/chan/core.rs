//! [`Chan`]: the algorithm of a channel, as in Go's `runtime/chan.go`.
//!
//! # Algorithm
//!
//! One lock, one [`Ring`], two [`List`]s. Under the lock:
//!
//! ```text
//! send: receivers gone?            refused, the value stays with the sender
//!       a receiver waits?          copy the value straight into its slot, it is done
//!       room in the ring?          append
//!       else                       queue, with a pointer to the value
//! recv: ring not empty?            take the oldest; a sender waits? append its value, it is done
//!       a sender waits?            copy the value straight out of its slot (capacity 0), it is done
//!       senders gone?              what another was served with and has not looked at (`future`), or refused
//!       else                       queue, with a pointer to the empty slot
//! ```
//!
//! # Invariants
//!
//! 1. Receivers wait only if the ring is empty; senders only if it is full. Both lists hold nodes
//!    only when all of them are cases of one `select!`, or of tickets decided elsewhere.
//!    A ring may hold more than the capacity for a while: a value that had reached a receive that was
//!    then dropped (`future`) lies in front of all others.
//! 2. Values leave in the order in which their sends took effect: a waiting sender's value enters
//!    the ring in the same critical section that made room.
//! 3. Under the lock values are moved by copy and nothing of the user's runs: no `Drop`, no `Clone`.
//! 4. A ticket is finished, and its owner woken, after the lock is released.
//!
//! # Closing
//!
//! There is no `close`. When the last sender goes, receivers drain the ring, and what has reached futures that have
//! not looked, and are then refused; when the last receiver goes, senders are refused, get their value back, and what
//! lies in the ring is dropped there and then. Go's panics on a closed channel cannot be written down.

use std::cell::OnceCell;
use std::mem::MaybeUninit;

use super::ring::Ring;
use super::state::{Look, State};
use crate::wait::{Node, Patience, Ticket};
use sched_core::entry;
use sched_core::lock::{Guard as LockGuard, Lock};
use sched_core::park::WaitReason;
use sched_core::sync::{AtomicUsize, Ordering, UnsafeCell};

/// Why an operation did not move its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The other side is gone.
    Closed,
    /// It would have to wait, or has waited long enough.
    Busy,
}

/// What a look came to, with all that follows it.
#[must_use]
pub(super) enum Step {
    Moved,
    Refused,
    /// It would have to wait, and is not queued.
    Busy,
    Queued,
}

/// Where a waiter's ticket and node lie, once it has to wait: on its own stack, or in its future.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Whoever waits here never gives up.
    for_ever: bool,
    ticket: OnceCell<Ticket>,
    node: OnceCell<Node>,
}

impl Place {
    fn of(patience: Patience) -> Self {
        Place { for_ever: matches!(patience, Patience::Forever), ..Place::default() }
    }

    /// As [`prepare`](Self::prepare), with a ticket for the goroutine or thread that calls.
    fn prepare_own(&self, slot: *mut ()) -> &Node {
        let ticket = if self.for_ever { Ticket::sole } else { Ticket::new };
        self.prepare(ticket, |ticket| Node::new(ticket, 0, slot))
    }

    /// As [`prepare`](Self::prepare), for a future, which may be dropped after it was served.
    pub(super) fn prepare_future(&self, slot: *mut (), ticket: impl FnOnce() -> Ticket) -> &Node {
        self.prepare(ticket, |ticket| Node::new(ticket, 0, slot).droppable())
    }

    fn is_prepared(&self) -> bool {
        self.node.get().is_some()
    }

    /// The node, made at the first call with a ticket. The place does not move any more.
    fn prepare(
        &self,
        ticket: impl FnOnce() -> Ticket,
        node: impl FnOnce(&Ticket) -> Node,
    ) -> &Node {
        if !self.is_prepared() {
            // `set`, as `get_or_init` takes a first time for a rare one, and this is nearly always one.
            let unset = self.ticket.set(ticket()).is_ok();
            debug_assert!(unset, "ticket and node are made together");
            let ticket = self.ticket.get().expect("it was just set");
            let unset = self.node.set(node(ticket)).is_ok();
            debug_assert!(unset, "as above");
        }
        self.queued().1
    }

    /// The ticket and node of a place that is queued.
    pub(super) fn queued(&self) -> (&Ticket, &Node) {
        match (self.ticket.get(), self.node.get()) {
            (Some(ticket), Some(node)) => (ticket, node),
            _ => unreachable!("a place is prepared before it is queued"),
        }
    }
}

/// The two sides of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Send,
    Recv,
}

impl Side {
    fn reason(self) -> WaitReason {
        match self {
            Side::Send => WaitReason::Send,
            Side::Recv => WaitReason::Receive,
        }
    }
}

/// A channel. `Sender` and `Receiver` share it in an `Arc`.
pub(crate) struct Chan<T> {
    lock: Lock<()>,
    /// Guarded by `lock`. Beside it, not in it: the lock is then of one type whatever `T` is, and a
    /// `select!` can hold locks of channels of many types in one array.
    state: UnsafeCell<State<T>>,
    capacity: usize,
    /// Live `Sender`s and `Receiver`s. The last one to go closes the channel.
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

// SAFETY: values travel through the channel from thread to thread, which needs `T: Send`; the state
// is reached under the lock only.
unsafe impl<T: Send> Send for Chan<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Chan<T> {}

impl<T> Chan<T> {
    /// A channel with one sender and one receiver.
    pub(crate) fn new(capacity: usize) -> Self {
        Chan {
            lock: Lock::new(()),
            state: UnsafeCell::new(State::new(capacity)),
            capacity,
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        }
    }

    /// The lock, for those that hold several at once.
    pub(crate) fn lock(&self) -> &Lock<()> {
        &self.lock
    }

    /// The state.
    ///
    /// # Safety
    ///
    /// The caller holds this channel's lock as long as it uses the result, and has no other
    /// reference to the state.
    #[expect(clippy::mut_from_ref, reason = "the lock makes it unique")]
    pub(crate) unsafe fn state(&self, _held: &LockGuard<'_, ()>) -> &mut State<T> {
        // SAFETY: unique by the caller's promise.
        self.state.with_mut(|state| unsafe { &mut *state })
    }

    /// One look at the channel, and what follows it outside the lock. With a `place`, one that would
    /// have to wait is queued in the same critical section, if the place can be prepared there.
    ///
    /// # Safety
    ///
    /// `slot` fits `side` as [`State::send`] and [`State::recv`] demand. After [`Step::Queued`] place
    /// and slot stay as [`List::push_back`] demands.
    pub(super) unsafe fn look(&self, side: Side, slot: *mut T, place: Option<&Place>) -> Step {
        // Kept until the partner is woken: no preemption between the unlock and the wake-up.
        let inside = entry::enter();
        let held = self.lock.lock_patiently();
        // SAFETY: the lock is held, and the reference ends with this function.
        let state = unsafe { self.state(&held) };
        let look = match side {
            // SAFETY: the lock is held, and the slot holds a value, says the caller.
            Side::Send => unsafe { state.send(slot) },
            // SAFETY: the lock is held, and the slot is an empty place, says the caller.
            Side::Recv => unsafe { state.recv(slot) },
        };
        match (look, place) {
            (Look::Moved(None), _) => Step::Moved,
            (Look::Moved(Some(partner)), _) => {
                drop(held);
                let later = partner.finish(true);
                drop(inside);
                later.wake();
                Step::Moved
            }
            (Look::Refused, _) => Step::Refused,
            // Whoever holds a P is a goroutine, whose record is there: nothing is allocated.
            (Look::Wait, Some(place)) if inside.proc_index().is_some() || place.is_prepared() => {
                // SAFETY: the lock is held; the place stays, says the caller.
                unsafe { state.list(side).push_back(place.prepare_own(slot.cast())) };
                Step::Queued
            }
            (Look::Wait, _) => Step::Busy,
        }
    }

    /// Sends from or receives into `slot`.
    ///
    /// # Safety
    ///
    /// As [`State::send`] or [`State::recv`], by `side`. On success the value has moved.
    unsafe fn transfer(&self, side: Side, slot: *mut T, patience: Patience) -> Result<(), Failure> {
        let place = Place::of(patience);
        let waits = !matches!(patience, Patience::None);
        loop {
            // SAFETY: the slot is as the caller promises. The place stays on this frame until the
            // ticket is done, or withdrawn and the node removed, which `await_turn` sees to.
            match unsafe { self.look(side, slot, waits.then_some(&place)) } {
                Step::Moved => return Ok(()),
                Step::Refused => return Err(Failure::Closed),
                Step::Busy if !waits => return Err(Failure::Busy),
                // A plain thread: its record may have to be allocated, so not under the lock.
                Step::Busy => {
                    place.prepare_own(slot.cast());
                }
                Step::Queued => return self.await_turn(side, &place, patience),
            }
        }
    }

    /// Parks a queued node until it has been served, refused, or its time is over.
    fn await_turn(&self, side: Side, place: &Place, patience: Patience) -> Result<(), Failure> {
        let (ticket, node) = place.queued();
        let outcome = match patience {
            Patience::Until(deadline) => ticket.wait_until(side.reason(), deadline),
            Patience::None | Patience::Forever => Some(ticket.wait(side.reason())),
        };
        match outcome {
            Some(outcome) if outcome.ok => Ok(()),
            Some(_) => Err(Failure::Closed),
            None => {
                let _inside = entry::enter();
                let held = self.lock.lock();
                // SAFETY: the lock is held; the node was queued in this list and no other.
                unsafe { self.state(&held).list(side).remove(node) };
                Err(Failure::Busy)
            }
        }
    }

    /// Sends `value`, or gives it back.
    pub(crate) fn send(&self, value: T, patience: Patience) -> Result<(), (T, Failure)> {
        let mut slot = MaybeUninit::new(value);
        // SAFETY: the slot holds the value; it is not used again after a success.
        unsafe { self.transfer(Side::Send, slot.as_mut_ptr(), patience) }.map_err(|why| {
            // SAFETY: a send that failed has left the value in place.
            (unsafe { slot.assume_init_read() }, why)
        })
    }

    /// Receives a value.
    pub(crate) fn recv(&self, patience: Patience) -> Result<T, Failure> {
        let mut slot = MaybeUninit::uninit();
        // SAFETY: the slot is an empty place; after a success it holds a value.
        unsafe { self.transfer(Side::Recv, slot.as_mut_ptr(), patience) }?;
        // SAFETY: the receive succeeded.
        Ok(unsafe { slot.assume_init() })
    }

    /// How many values lie in the ring.
    pub(crate) fn len(&self) -> usize {
        let _inside = entry::enter();
        let held = self.lock.lock();
        // SAFETY: the lock is held, and the reference ends in this statement.
        unsafe { self.state(&held) }.ring().len()
    }

    /// How many values the ring was made for.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Counts one more `Sender` or `Receiver`.
    pub(crate) fn join(&self, side: Side) {
        // Relaxed: the caller holds one of this side, so the count cannot fall to zero meanwhile,
        // and nothing is published by the number itself (as `Arc::clone`).
        let before = self.count(side).fetch_add(1, Ordering::Relaxed);
        assert!(before < usize::MAX / 2, "too many handles of one channel");
    }

    /// Counts one less; the last one closes the channel.
    pub(crate) fn leave(&self, side: Side) {
        // AcqRel: what every handle did happens before the closing by the last one (as `Arc::drop`).
        if self.count(side).fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close(side);
        }
    }

    fn count(&self, side: Side) -> &AtomicUsize {
        match side {
            Side::Send => &self.senders,
            Side::Recv => &self.receivers,
        }
    }

    /// `gone` will never come back: refuses all that wait on the other side, now and later.
    fn close(&self, gone: Side) {
        // Made here, as nothing may be allocated or dropped under the lock. The values that nobody will receive
        // are dropped outside the runtime: it is user code.
        let mut rest = Ring::new(0);
        loop {
            let inside = entry::enter();
            let held = self.lock.lock();
            // SAFETY: the lock is held, and the reference ends with this turn.
            let state = unsafe { self.state(&held) };
            let told = match gone {
                // SAFETY: the lock is held.
                Side::Send => unsafe { state.close_senders() },
                // SAFETY: as above.
                Side::Recv => unsafe { state.close_receivers(&mut rest) }.map(|all| (all, false)),
            };
            drop(held);
            let Some((waiting, ok)) = told else { return };
            let later = waiting.finish(ok);
            drop(inside);
            later.wake();
            if !ok {
                return;
            }
        }
    }
}
