//! Futures as goroutines: a task may be a closure on its own stack, or a [`Future`].
//!
//! # The reader's problem
//!
//! A million tasks that wait for most of their time: as goroutines they cost a page of stack each, as
//! futures a few hundred bytes. Elsewhere the price is that nothing in a future may block. Here a future
//! lies in the same run queues as goroutines and is polled on the stack of a goroutine, its *carrier*
//! (`carrier`). So a poll may lock, receive from a channel, sleep, read a file, or compute for ever:
//! its carrier becomes a goroutine that does so, and the next future gets another one.
//!
//! ```
//! use sched_core::{Config, NoHooks, Scheduler, future::block_on};
//! # use std::sync::Arc;
//! let scheduler = Scheduler::new(Config::default(), Arc::new(NoHooks))?;
//! let goroutine = scheduler.spawn(|| 6)?;
//! let future = scheduler.spawn_future(async move { goroutine.await.unwrap() * 7 })?;
//! assert_eq!(block_on(future).unwrap(), 42);
//! # scheduler.shutdown(None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a future may assume
//!
//! * A poll is one piece of code on one goroutine: what is said of goroutines holds for it, thread-locals
//!   included. From one poll to the next nothing is kept: it may be another carrier, on another thread,
//!   and the carrier's thread-locals are seen by other futures in between. Task-locals of other libraries
//!   that are set for the time of a poll work; a thread-local that shall outlive an await does not.
//! * It is polled again after each wake, and seldom without one. Wakes before a poll count once.
//! * One that wakes itself stands behind all that are ready. One that computes is preempted.
//! * A panic is the handle's `Err`, and the future is dropped.
//!
//! # Its end
//!
//! A future ends when it is ready; when it panics; when somebody called
//! [`JoinHandle::abort`](crate::JoinHandle::abort); or when nobody can wake it any more: all its wakers and its handle are gone.
//! The last two drop it between two polls, on a carrier, in user code: never where the waker was dropped.
//! Its handle then says [`Cancelled`]. To drop a handle is not to abort: the future goes on.
//!
//! # Memory
//!
//! One allocation: 80 bytes and the larger of the future and its result.
//!
//! # Rooms
//!
//! [`state`] is the word, `cell` the memory, `waker` the names, `carrier` who polls, [`berth`] where
//! it rests, `block_on` polls on the spot, `relay` reaches other people's wakers.

pub mod berth;
pub mod state;

mod block_on;
#[cfg(not(loom))]
pub(crate) mod carrier;
#[cfg(not(loom))]
pub(crate) mod cell;
#[cfg(not(loom))]
pub(crate) mod relay;
#[cfg(not(loom))]
pub(crate) mod waker;

pub use block_on::block_on;

use core::fmt;

/// What the handle of a cancelled future says, in the place of what a panic would have left.
///
/// ```
/// use sched_core::{Config, NoHooks, Scheduler, future::Cancelled};
/// # use std::sync::Arc;
/// let scheduler = Scheduler::new(Config::default(), Arc::new(NoHooks))?;
/// let handle = scheduler.spawn_future(std::future::pending::<()>())?;
/// assert!(handle.abort());
/// assert!(handle.join().unwrap_err().is::<Cancelled>());
/// # scheduler.shutdown(None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the future was cancelled")
    }
}

impl core::error::Error for Cancelled {}
