//! Waiting: how a goroutine or a thread blocks on something in this crate.
//!
//! # Problem
//!
//! A receiver on an empty channel, a locker of a held mutex, a `select!` over ten channels: each
//! must be put to sleep beside the thing it waits for, be found there by the one that serves it,
//! and be served *exactly once*, although a `select!` lies in ten queues at the same time, its
//! deadline may pass at that very moment, and all its memory is on its own stack.
//!
//! # Words
//!
//! - A [`Ticket`] stands for one act of waiting. It holds who waits (a goroutine, a plain thread or
//!   a future, in the form of a `Waker`) and one word of state.
//! - A [`Node`] is the ticket's entry in one queue. A plain receive has one, a `select!` one for
//!   each case. It points to the *slot*: the place of the value to give, or for the value to get.
//! - A [`List`] is the queue, a doubly linked list of nodes in order of arrival. It belongs to the
//!   thing waited for and is touched only under that thing's lock.
//! - The *server* is whoever makes the waiting end: a sender serves a receiver.
//! - [`Claimed`] is the evidence that a server has won a ticket; it must be `finish`ed.
//!
//! # Algorithm
//!
//! ```text
//! waiter                                  server
//! 1 lock, look, nothing there             1 lock
//! 2 append nodes, unlock                  2 pop nodes until one's ticket goes OPEN → TAKEN
//! 3 park until the ticket is DONE         3 copy the value to or from the slot, unlock
//!   (deadline passed: OPEN → TAKEN        4 move the Waiter out, ticket := DONE, unpark
//!   by itself, then it has withdrawn)
//! 4 lock each queue it may still be in, take its nodes out, unlock
//! ```
//!
//! # Invariants
//!
//! 1. Only one party moves a ticket from OPEN to TAKEN: a server, or the waiter when it gives up.
//!    That party alone decides how the waiting ends; so no value is given twice or lost.
//! 2. A node and its ticket stay in place until the ticket is DONE or its owner has withdrawn, *and*
//!    the owner has taken its other nodes out of their queues under their locks. A server may
//!    therefore follow any node it finds in a list whose lock it holds, and a claimed one until it
//!    finishes it, also after it has released the lock.
//! 3. A party that looks for a partner is in no queue. (A `select!` looks and appends while it holds
//!    all its locks.) So nobody ever has to claim two tickets at once.
//! 4. Waiters are woken after the lock is released, as in Go: a woken one never runs straight into
//!    the lock of the one that woke it. Those who are woken by a waker of the user's come last, when the
//!    server has left the runtime ([`Later`]).
//!
//! # Futures
//!
//! A future that waits has ticket and node in itself, which is pinned; the ticket holds its waker. A
//! goroutine or thread is held in the same form. When the future is dropped it withdraws, as one whose
//! deadline has passed.
//!
//! # Source
//!
//! Go's `sudog`, `g.selectDone` and `runtime/chan.go`. Go marks the winner in the goroutine itself;
//! here the mark lies in the ticket, because plain threads wait as well, and because a ticket then
//! needs no generation number.
//!
//! # Rejected
//!
//! - *A node on the heap with a reference count* (std's mpmc, flume): an allocation on each wait.
//! - *Claiming two tickets*, which a `select!` that registers with its channels one by one needs
//!   (crossbeam-channel): two selects that face each other then have to back off or spin.

mod list;
mod ticket;

pub(crate) use list::{Claimed, Later, List, Node};
pub(crate) use ticket::{Outcome, Renewed, Ticket};

use std::time::Instant;

/// How long an operation may wait.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// It returns at once.
    None,
    /// It gives up at this instant.
    Until(Instant),
    /// It never gives up.
    Forever,
}
