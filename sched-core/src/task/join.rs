//! The handle of a goroutine: wait for its end, and have its result.
//!
//! # Words
//!
//! The *goroutine* runs its closure, drops what nobody wants, runs its TLS destructors and ends.
//! The *handle* is the one [`JoinHandle`] of it: it may be dropped, asked, or joined, once.
//!
//! # Who frees the packet, who wakes whom
//!
//! Both meet in the goroutine's [`State`](super::state::State), by read-modify-writes of one word:
//!
//! * `complete` against `drop_handle`: *either* the goroutine learns that the handle is gone, *or*
//!   the handle learns that the result is stored, as one of the two comes second; that one frees
//!   the packet. It does so in user code, where destructors may run.
//! * `finish` against `set_joiner`: likewise, either the goroutine sees the waiter and wakes it, or
//!   the joiner sees the end and does not wait.
//!
//! `finish` is not `complete`: between the two lie the destructors of thread-locals, which may still
//! use what the joiner thinks is free. `std::thread` promises that a join waits for them; so do we.
//!
//! # Rejected
//!
//! The result inside an `Arc` shared by both: the goroutine's share would be let go inside the
//! runtime, where a user's destructor must not run.

use core::{fmt, marker::PhantomData, ptr::NonNull};
use std::any::Any;

use super::{
    TaskId, TaskRef, raw,
    state::{DropHandle, Join},
};
use crate::park::{self, WaitReason};

/// The right to wait for a goroutine and to have its result.
///
/// Dropping the handle lets the goroutine run on; its result is then dropped where it ends.
///
/// ```
/// use sched_core::{Config, NoHooks, Scheduler};
/// # use std::sync::Arc;
/// let scheduler = Scheduler::new(Config::default(), Arc::new(NoHooks))?;
/// let handle = scheduler.spawn(|| 6 * 7)?;
/// assert_eq!(handle.join().unwrap(), 42);
/// scheduler.shutdown(None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinHandle<T> {
    task: TaskRef,
    packet: NonNull<raw::Header>,
    result: PhantomData<T>,
}

// SAFETY: the handle is the only one to look at the result, and `T: Send` lets it travel with it.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: through a shared handle one can only ask whether the goroutine has ended.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    ///
    /// `packet` was packed with result type `T` and given to `task`, of which this is the only
    /// handle.
    pub(crate) unsafe fn new(task: TaskRef, packet: NonNull<raw::Header>) -> Self {
        Self { task, packet, result: PhantomData }
    }

    /// Waits for the goroutine's end, TLS destructors included, and gives its result.
    ///
    /// Parks the calling goroutine, or blocks the calling thread.
    ///
    /// # Errors
    ///
    /// What the goroutine panicked with.
    pub fn join(self) -> Result<T, Box<dyn Any + Send + 'static>> {
        self.wait();
        // SAFETY: the goroutine is done, so its result is written and visible, and nobody but this
        // handle uses the packet now.
        let result = unsafe { raw::take_result::<T>(self.packet) };
        result.expect("a finished goroutine has left a result, and a handle joins once")
    }

    fn wait(&self) {
        if self.is_finished() {
            return;
        }
        // SAFETY: `join` consumes the handle, so this is the one call for this goroutine.
        unsafe { self.task.store_joiner(park::current()) };
        if self.task.state.set_joiner() == Join::Done {
            // SAFETY: the goroutine ended before it could see the waiter, so it leaves it alone.
            drop(unsafe { self.task.take_joiner() });
            return;
        }
        while !self.is_finished() {
            park::park(WaitReason::Join);
        }
    }

    /// Whether the goroutine has ended; [`join`](Self::join) will then return at once.
    pub fn is_finished(&self) -> bool {
        self.task.state.is_done()
    }

    /// The goroutine's number, unique in its scheduler.
    pub fn id(&self) -> TaskId {
        self.task.id()
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if self.task.state.drop_handle() == DropHandle::DropResult {
            // SAFETY: the closure has returned and the goroutine leaves the packet to its handle.
            unsafe { raw::free_packet(self.packet) };
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .field("finished", &self.is_finished())
            .finish()
    }
}
