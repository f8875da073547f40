//! [`State`]: what lies under a channel's lock, and what one look at it comes to. The essay is
//! [`core`](super::core)'s.

use std::mem;
use std::ptr;

use super::core::Side;
use super::ring::Ring;
use crate::wait::{Claimed, List, Node};

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
    /// Receives that have their value and have not looked yet, in the order of the values: futures, which may
    /// be dropped. The values are older than those in the ring, and their owners' only under the lock.
    served: List,
    senders_gone: bool,
    receivers_gone: bool,
}

impl<T> State<T> {
    pub(super) fn new(capacity: usize) -> Self {
        State {
            ring: Ring::new(capacity),
            receivers: List::new(),
            senders: List::new(),
            served: List::new(),
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
        // SAFETY: the lock is held, and the value is given up if it moves.
        if let Some(receiver) = unsafe { self.serve(from) } {
            return Look::Moved(Some(receiver));
        }
        if self.ring.is_full() {
            return Look::Wait;
        }
        // SAFETY: not full; the value is given up by the caller.
        unsafe { self.ring.push(from) };
        Look::Moved(None)
    }

    /// Moves the value at `from` to the receiver that has waited longest, if any waits.
    ///
    /// # Safety
    ///
    /// As [`send`](Self::send), if this is `Some`.
    unsafe fn serve(&mut self, from: *const T) -> Option<Claimed> {
        // SAFETY: the lock is held.
        let receiver = unsafe { self.receivers.claim_front() }?;
        // SAFETY: a node in `receivers` has an empty place for a `T` as its slot (see `Chan::look`),
        // it stays in place until finished, and nobody else has it: we hold the claim.
        unsafe { ptr::copy_nonoverlapping(from, receiver.slot().cast(), 1) };
        if let Some(served) = receiver.droppable() {
            // SAFETY: the lock is held; its owner takes it out before it ends (`collect`, `take_back`).
            unsafe { self.served.push_back(served) };
        }
        Some(receiver)
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
                // SAFETY: the lock is held, and `to` is an empty place.
                return if self.senders_gone { unsafe { self.recv_last(to) } } else { Look::Wait };
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

    /// The channel is closed and empty. What a receive has got that has not looked yet is there for others: it may
    /// never look, and they would be told of the end before it comes back.
    ///
    /// # Safety
    ///
    /// As [`recv`](Self::recv).
    unsafe fn recv_last(&mut self, to: *mut T) -> Look {
        let Some(served) = self.served.front() else { return Look::Refused };
        // SAFETY: what is in the list has a value in its slot, which its owner has lost with the place in the list.
        unsafe { ptr::copy_nonoverlapping(served.slot().cast(), to, 1) };
        // SAFETY: the lock is held, and the node is in this list.
        unsafe { self.served.remove(served) };
        Look::Moved(None)
    }

    /// A receive that was served looks: whether it still has its value. If not, the channel is closed, and empty.
    ///
    /// # Safety
    ///
    /// The channel's lock is held; `served` is that of a receive of this channel.
    pub(super) unsafe fn collect(&mut self, served: &Node) -> bool {
        let there = served.is_queued();
        // SAFETY: the lock is held, and the node is in this list or none.
        unsafe { self.served.remove(served) };
        there
    }

    /// A receive that was served is dropped, and its value is another's. Those that were served after it pass
    /// theirs on, so that the youngest value leaves them: to whoever waits, or in front of the ring. `Wait` if
    /// there is no place for it, see [`Ring::move_to`]; `Refused` if the value is still there, and nobody wants it.
    ///
    /// # Safety
    ///
    /// As [`collect`](Self::collect). If this is `Moved`, the slot holds no value any more.
    pub(super) unsafe fn take_back(&mut self, served: &Node) -> Look {
        if !served.is_queued() {
            return Look::Moved(None);
        }
        let wanted = !self.receivers_gone;
        if wanted && self.receivers.is_empty() && !self.ring.has_place() {
            return Look::Wait;
        }
        let slot = served.slot().cast::<T>();
        for younger in self.served.behind(served).map(Node::slot) {
            // SAFETY: each node in the list has a value in a slot of its own.
            unsafe { ptr::swap_nonoverlapping(slot, younger.cast(), 1) };
        }
        // SAFETY: the lock is held, and the node is in this list.
        unsafe { self.served.remove(served) };
        if !wanted {
            return Look::Refused;
        }
        // SAFETY: the lock is held; the value is given up if it moves.
        match unsafe { self.serve(slot) } {
            Some(receiver) => Look::Moved(Some(receiver)),
            // All who seemed to wait were decided elsewhere.
            None if !self.ring.has_place() => {
                // SAFETY: the lock is held; the owner is at work. It is the youngest by now.
                unsafe { self.served.push_back(served) };
                Look::Wait
            }
            None => {
                // SAFETY: there is a place; the value is given up.
                unsafe { self.ring.push_front(slot) };
                Look::Moved(None)
            }
        }
    }

    /// No sender will come back. Gives who is to be told next, and whether of a value: what a receive was served
    /// with that has not looked yet is for those who wait, as in [`recv`](Self::recv); then the rest hears of the
    /// end. To be called until that.
    ///
    /// # Safety
    ///
    /// The channel's lock is held.
    pub(super) unsafe fn close_senders(&mut self) -> Option<(Claimed, bool)> {
        self.senders_gone = true;
        let served = self.served.front().map(ptr::from_ref);
        // SAFETY: what is in the list is in place while the lock is held, with a value in its slot, which its
        // owner loses with the place in the list.
        let given = served.and_then(|served| unsafe {
            let receiver = self.serve((*served).slot().cast())?;
            self.served.remove(&*served);
            Some((receiver, true))
        });
        // SAFETY: the lock is held.
        given.or_else(|| Some((unsafe { self.receivers.claim_all() }?, false)))
    }

    /// No receiver will come back: gives the senders that wait, to be refused. What lies in the ring comes to
    /// `rest`, which is empty.
    ///
    /// # Safety
    ///
    /// The channel's lock is held.
    pub(super) unsafe fn close_receivers(&mut self, rest: &mut Ring<T>) -> Option<Claimed> {
        self.receivers_gone = true;
        mem::swap(rest, &mut self.ring);
        // SAFETY: the lock is held.
        unsafe { self.senders.claim_all() }
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
