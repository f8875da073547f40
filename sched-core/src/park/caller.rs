//! [`Caller`]: who is about to wait, named without counting.
//!
//! # Problem
//!
//! A [`Waiter`](super::Waiter) counts a reference, as it may outlive whom it names. Two who hand values to and
//! fro make one and drop it at each wait: two read-modify-writes of a line that both of them use. But who
//! waits for something that lies on its own stack stays until it is told that the wait is over. So its name
//! need not be counted, if whoever ends the wait takes care of the one moment in which it may be gone: between
//! the end and the unpark.
//!
//! # That moment
//!
//! On an M of the same scheduler nothing has to be done: the records of goroutines stay for as long as their
//! scheduler, which the M keeps. If the goroutine has ended meanwhile, the unpark leaves a permit that
//! nobody sent for the record's next one, and every wait is a loop over a condition. Anybody else keeps the
//! scheduler by a counted name of one of its goroutines ([`Batch`]).

use core::ptr::NonNull;

use super::{Batch, ThreadRef};
use crate::{goroutine, task::Task};

/// The goroutine or plain thread that is about to wait. Made by [`caller`].
///
/// ```
/// use sched_core::park::{self, Batch, WaitReason};
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// let (done, caller) = (AtomicBool::new(false), park::caller());
/// std::thread::scope(|scope| {
///     // SAFETY: the caller waits for `done`, which is stored by `end`.
///     scope.spawn(|| unsafe {
///         caller.release(&mut Batch::new(), || done.store(true, Ordering::Release));
///     });
///     while !done.load(Ordering::Acquire) {
///         park::park(WaitReason::Park);
///     }
/// });
/// ```
#[derive(Debug)]
pub struct Caller(Whom);

#[derive(Debug)]
enum Whom {
    Goroutine(NonNull<Task>),
    /// Counted: a thread that ends gives its record to another.
    Thread(ThreadRef),
}

// SAFETY: a pointer to a record that is Sync, which is there until `release`.
unsafe impl Send for Caller {}
// SAFETY: as above.
unsafe impl Sync for Caller {}

/// The calling goroutine or thread, for a wait that is about to begin.
#[inline]
pub fn caller() -> Caller {
    Caller(match goroutine::with_own(|task| NonNull::from(task)) {
        Some(task) => Whom::Goroutine(task),
        None => Whom::Thread(ThreadRef::current()),
    })
}

impl Caller {
    /// Calls `end`, by which the wait is over, and unparks who waits, maybe by way of `batch`: then it is queued
    /// when that is dropped, at the latest.
    ///
    /// # Safety
    ///
    /// Who waits does not end before `end` is called.
    #[inline]
    pub unsafe fn release(self, batch: &mut Batch, end: impl FnOnce()) {
        match self.0 {
            // SAFETY: the caller's promise.
            Whom::Goroutine(task) => unsafe { goroutine::release(task, batch, end) },
            Whom::Thread(thread) => {
                end();
                thread.unpark();
            }
        }
    }
}
