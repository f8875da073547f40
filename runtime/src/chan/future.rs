//! Sending and receiving as futures.
//!
//! # How
//!
//! A future that has to wait queues itself as a goroutine does, with ticket, node and slot in itself: it is
//! pinned, and takes itself out when it is dropped. Whoever serves it moves the value to or from its slot
//! and wakes it; it is *decided* then, and polling it only collects what there is.
//!
//! # Dropped after it was decided
//!
//! A `select` of futures drops the losers, and one of them may have been served a moment ago. A send that
//! was served has happened. A receive holds a value that nobody will look at: it goes back to where it came
//! from, to the next receiver that waits or in front of the ring. The ring may be full of values that were
//! sent since, so it can have more places than the channel's capacity says; they are made by the one that
//! drops, in user code.
//!
//! So what was served and not looked at still belongs to the channel: it lies in a list (`State::served`), and
//! changes hands under the lock. Of several, the youngest value goes back first, whoever is dropped: those that
//! were served later pass theirs on. And when all senders are gone and the ring is empty, a receiver takes the
//! oldest of these before it is told of the end; a receive that has lost its value so is told of it.
//!
//! # Rejected
//!
//! Telling a receive only that there is something to fetch, as other channels do: nothing has to be put
//! back. But a rendezvous then has no moment at which both have met, a `try_send` fails although a receiver
//! waits, and one that is told and dropped has to tell the next.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::marker::PhantomPinned;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::core::{Chan, Place, Side, Step};
use super::errors::{RecvError, SendError};
use super::state::Look;
use crate::wait::{Later, Outcome, Renewed, Ticket};
use sched_core::entry;

/// What [`Sender::send_async`](super::Sender::send_async) gives.
#[must_use = "a future does nothing unless it is polled"]
pub struct SendFuture<'a, T>(Operation<'a, T>);

/// What [`Receiver::recv_async`](super::Receiver::recv_async) gives.
#[must_use = "a future does nothing unless it is polled"]
pub struct RecvFuture<'a, T>(Operation<'a, T>);

/// A send or a receive on its way.
struct Operation<'a, T> {
    chan: &'a Chan<T>,
    side: Side,
    stage: Cell<Stage>,
    /// Of a send: the value, until it has moved. Of a receive: nothing, until a value has moved in. While
    /// the operation is queued it is the server's, by the ticket's rules.
    slot: UnsafeCell<MaybeUninit<T>>,
    place: Place,
    /// The list points to the place.
    _pinned: PhantomPinned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not tried yet.
    Fresh,
    /// The place is in the channel's list, or a server has taken it from there.
    Queued,
    /// The result was given.
    Over,
}

/// Whether the value has moved; else the other side is gone.
type Moved = bool;

// SAFETY: the cells are used by whoever polls or drops the future, one at a time, and by a server under the
// rules of `wait`; the value travels with them.
unsafe impl<T: Send> Send for Operation<'_, T> {}
// SAFETY: through a shared reference there is nothing to be done with it.
unsafe impl<T: Send> Sync for Operation<'_, T> {}

impl<T> Operation<'_, T> {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Moved> {
        let moved = match self.stage.get() {
            Stage::Fresh => self.begin(cx),
            Stage::Queued => self.ask(cx),
            Stage::Over => panic!("a future is polled after it was ready"),
        };
        if moved.is_ready() {
            self.stage.set(Stage::Over);
        }
        moved
    }

    fn slot(&self) -> *mut T {
        self.slot.get().cast()
    }

    /// The first poll: tries, and queues itself.
    fn begin(&self, cx: &mut Context<'_>) -> Poll<Moved> {
        for place in [None, Some(&self.place)] {
            // The ticket takes a clone of the waker, which is user code: not under the lock.
            place.into_iter().for_each(|place| {
                let ticket = || Ticket::for_waker(cx.waker().clone());
                place.prepare_future(self.slot().cast(), ticket);
            });
            // SAFETY: the slot is as the side demands. It and the place stay, as the future is pinned, until
            // the ticket is done or `drop` has withdrawn it.
            match unsafe { self.chan.look(self.side, self.slot(), place) } {
                Step::Moved => return Poll::Ready(true),
                Step::Refused => return Poll::Ready(false),
                Step::Busy => {}
                Step::Queued => self.stage.set(Stage::Queued),
            }
        }
        Poll::Pending
    }

    /// A later poll: looks whether it was decided, and waits on with the waker of today.
    fn ask(&self, cx: &mut Context<'_>) -> Poll<Moved> {
        let ticket = self.place.queued().0;
        if let Some(outcome) = ticket.outcome() {
            return Poll::Ready(outcome.ok && self.collect());
        }
        let mut waker = cx.waker().clone();
        let renewed = {
            let _inside = entry::enter();
            let _held = self.chan.lock().lock();
            // SAFETY: the ticket has one node, in a list of this channel's, whose lock is held.
            unsafe { ticket.renew(&mut waker) }
        };
        if renewed == Renewed::Decided {
            // A server has it in hand, and may have woken the waker of yesterday.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// It was served: whether a receive still has its value.
    fn collect(&self) -> bool {
        if self.side == Side::Send {
            return true;
        }
        let _inside = entry::enter();
        let held = self.chan.lock().lock();
        // SAFETY: the lock is held, and the node is this receive's.
        unsafe { self.chan.state(&held).collect(self.place.queued().1) }
    }

    /// Takes itself out of the list. If it has been decided: how.
    fn withdraw(&self) -> Option<Outcome> {
        let (ticket, node) = self.place.queued();
        let withdrawn = {
            let _inside = entry::enter();
            let held = self.chan.lock().lock();
            let withdrawn = ticket.claim();
            if withdrawn {
                // SAFETY: the lock is held. Who claims a node otherwise takes it out of this list; now it is there.
                unsafe { self.chan.state(&held).list(self.side).remove(node) };
            }
            withdrawn
        };
        if withdrawn {
            return None;
        }
        loop {
            if let Some(outcome) = ticket.outcome() {
                return Some(outcome);
            }
            // The server is between the claim and the end, a few instructions apart.
            sched_core::yield_now();
        }
    }

    /// Gives back the value that a dropped receive was served with, if it still has it.
    ///
    /// # Safety
    ///
    /// It was served and has not looked, and nobody uses the slot afterwards.
    unsafe fn put_back(&self) {
        let mut spare = Box::new_uninit_slice(0);
        loop {
            let inside = entry::enter();
            let held = self.chan.lock().lock();
            // SAFETY: the lock is held, and the reference ends with this turn.
            let state = unsafe { self.chan.state(&held) };
            // Freed at the end of the turn, outside.
            let _unused = state.ring().move_to(spare);
            // SAFETY: the lock is held, and the node is this receive's, whose value is given up.
            let look = unsafe { state.take_back(self.place.queued().1) };
            let places = state.ring().places();
            drop(held);
            match look {
                Look::Moved(partner) => {
                    let later = partner.map(|partner| partner.finish(true));
                    drop(inside);
                    return later.into_iter().for_each(Later::wake);
                }
                Look::Refused => {
                    drop(inside);
                    // SAFETY: there is one in the slot, and nobody wants it.
                    return unsafe { self.slot().drop_in_place() };
                }
                Look::Wait => {
                    drop(inside);
                    spare = Box::new_uninit_slice(2 * places + 1);
                }
            }
        }
    }
}

impl<T> Drop for Operation<'_, T> {
    fn drop(&mut self) {
        let outcome = match self.stage.get() {
            Stage::Fresh => None,
            Stage::Queued => self.withdraw(),
            // What there was has been given.
            Stage::Over => return,
        };
        match (self.side, outcome) {
            // SAFETY: nobody has taken the value, and nobody will.
            (Side::Send, None | Some(Outcome { ok: false, .. })) => unsafe {
                self.slot().drop_in_place();
            },
            // SAFETY: it was served, and is dropped.
            (Side::Recv, Some(Outcome { ok: true, .. })) => unsafe { self.put_back() },
            _ => {}
        }
    }
}

impl<'a, T> Operation<'a, T> {
    fn new(chan: &'a Chan<T>, side: Side, slot: MaybeUninit<T>) -> Self {
        Operation {
            chan,
            side,
            stage: Cell::new(Stage::Fresh),
            slot: UnsafeCell::new(slot),
            place: Place::default(),
            _pinned: PhantomPinned,
        }
    }

    /// Takes the value out of the slot.
    ///
    /// # Safety
    ///
    /// There is one, and nobody takes it again.
    unsafe fn value(&self) -> T {
        // SAFETY: the caller's claim.
        unsafe { self.slot().read() }
    }
}

impl<'a, T> SendFuture<'a, T> {
    pub(super) fn new(chan: &'a Chan<T>, value: T) -> Self {
        SendFuture(Operation::new(chan, Side::Send, MaybeUninit::new(value)))
    }
}

impl<'a, T> RecvFuture<'a, T> {
    pub(super) fn new(chan: &'a Chan<T>) -> Self {
        RecvFuture(Operation::new(chan, Side::Recv, MaybeUninit::uninit()))
    }
}

impl<T> Future for SendFuture<'_, T> {
    /// As [`Sender::send`](super::Sender::send).
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map(|moved| match moved {
            true => Ok(()),
            // SAFETY: a send that was refused has left the value in its place, and is over.
            false => Err(SendError(unsafe { self.0.value() })),
        })
    }
}

impl<T> Future for RecvFuture<'_, T> {
    /// As [`Receiver::recv`](super::Receiver::recv).
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map(|moved| match moved {
            // SAFETY: the receive has happened, and is over.
            true => Ok(unsafe { self.0.value() }),
            false => Err(RecvError),
        })
    }
}

impl<T> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFuture").field("stage", &self.0.stage.get()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvFuture").field("stage", &self.0.stage.get()).finish_non_exhaustive()
    }
}
