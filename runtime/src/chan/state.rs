//! [`State`]: what lies under a channel's lock, and what one look at it comes to. The essay is
//! [`core`](super::core)'s.

use std::mem;
use std::ptr;

use super::core::Side;
use super::ring::Ring;
use crate::wait::{Claimed, List};

/// What one look at the channel, under its lock, came to.
#[must_use]
pub(crate) enum Look {
    /// The value has moved. A waiter that was served with it must be finished after the unlock.
    Moved(Option<Claimed>),
    /// The other side is gone for ever.
    Refused,
    /// It would have to wait.
    Wait,
}

/// The part under the lock.
pub(crate) struct State<T> {
    ring: Ring<T>,
    receivers: List,
    senders: List,
    senders_gone: bool,
    receivers_gone: bool,
}

impl<T> State<T> {
    pub(super) fn new(capacity: usize) -> Self {
        State {
            ring: Ring::new(capacity),
            receivers: List::new(),
            senders: List::new(),
            senders_gone: false,
            receivers_gone: false,
        }
    }

    /// Tries to send the value at `from`; after `Moved` the place holds none.
    ///
    /// # Safety
    ///
    /// The channel's lock is held. `from` holds a value that the caller gives up on `Moved`.
    pub(crate) unsafe fn send(&mut self, from: *const T) -> Look {
        if self.receivers_gone {
            return Look::Refused;
        }
        // SAFETY: the lock is held.
        if let Some(receiver) = unsafe { self.receivers.claim_front() } {
            // SAFETY: a node in `receivers` has an empty place for a `T` as its slot (see `queue`),
            // it stays in place until finished, and nobody else has it: we hold the claim.
            unsafe { ptr::copy_nonoverlapping(from, receiver.slot().cast(), 1) };
            return Look::Moved(Some(receiver));
        }
        if self.ring.is_full() {
            return Look::Wait;
        }
        // SAFETY: not full; the value is given up by the caller.
        unsafe { self.ring.push(from) };
        Look::Moved(None)
    }

    /// Tries to receive into `to`; after `Moved` the place holds a value.
    ///
    /// # Safety
    ///
    /// The channel's lock is held. `to` is an empty place for a `T`.
    pub(crate) unsafe fn recv(&mut self, to: *mut T) -> Look {
        let room_for_another = self.ring.will_have_room();
        // SAFETY: the lock is held.
        let sender = if room_for_another { unsafe { self.senders.claim_front() } } else { None };
        if self.ring.is_empty() {
            let Some(sender) = sender else {
                return if self.senders_gone { Look::Refused } else { Look::Wait };
            };
            // SAFETY: a node in `senders` has a value as its slot; with the claim it is ours.
            unsafe { ptr::copy_nonoverlapping(sender.slot().cast(), to, 1) };
            return Look::Moved(Some(sender));
        }
        // SAFETY: not empty, and `to` is an empty place.
        unsafe { self.ring.pop(to) };
        if let Some(sender) = &sender {
            // SAFETY: `pop` made room; the sender's value is ours, as above.
            unsafe { self.ring.push(sender.slot().cast()) };
        }
        Look::Moved(sender)
    }

    /// Takes back the value at `from`, which had left for a receiver that is gone: it is the oldest. False
    /// if there is no place for it; see [`Ring::move_to`].
    ///
    /// # Safety
    ///
    /// The channel's lock is held. `from` holds a value that the caller gives up if this is `Moved`.
    pub(super) unsafe fn take_back(&mut self, from: *const T) -> Look {
        if self.receivers_gone {
            return Look::Refused;
        }
        // SAFETY: the lock is held.
        if let Some(receiver) = unsafe { self.receivers.claim_front() } {
            // SAFETY: as in `send`.
            unsafe { ptr::copy_nonoverlapping(from, receiver.slot().cast(), 1) };
            return Look::Moved(Some(receiver));
        }
        if !self.ring.has_place() {
            return Look::Wait;
        }
        // SAFETY: there is a place; the value is given up by the caller.
        unsafe { self.ring.push_front(from) };
        Look::Moved(None)
    }

    /// `gone` will never come back: takes all that wait on the other side, to be refused. What receivers that
    /// are gone have left in the ring comes to `rest`, which is empty.
    ///
    /// # Safety
    ///
    /// The channel's lock is held.
    pub(super) unsafe fn close(&mut self, gone: Side, rest: &mut Ring<T>) -> Option<Claimed> {
        match gone {
            Side::Send => {
                self.senders_gone = true;
                // SAFETY: the lock is held.
                unsafe { self.receivers.claim_all() }
            }
            Side::Recv => {
                self.receivers_gone = true;
                mem::swap(rest, &mut self.ring);
                // SAFETY: the lock is held.
                unsafe { self.senders.claim_all() }
            }
        }
    }

    /// The ring: for its length, and for one who makes it larger.
    pub(super) fn ring(&mut self) -> &mut Ring<T> {
        &mut self.ring
    }

    /// The queue for one side.
    pub(crate) fn list(&self, side: Side) -> &List {
        match side {
            Side::Send => &self.senders,
            Side::Recv => &self.receivers,
        }
    }
}
