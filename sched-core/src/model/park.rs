//! [`park`](crate::park) for the threads of a model: one permit each, in a [`Parker`].

use core::{
    mem::ManuallyDrop,
    task::{RawWaker, RawWakerVTable, Waker},
};
use std::{sync::Arc, time::Instant};

pub use crate::reason::WaitReason;

use crate::parker::Parker;

loom::thread_local! {
    static OWN: Waiter = Waiter(Arc::new(Parker::new()));
}

/// How [`park_until`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Woken {
    /// There was a permit; it is used up.
    Unparked,
    /// The deadline has passed.
    Timeout,
}

/// A thread of the model.
#[derive(Clone, Debug)]
pub struct Waiter(Arc<Parker>);

/// The waiter that the calling thread is.
pub fn current() -> Waiter {
    OWN.with(Waiter::clone)
}

/// Threads have no queue.
#[derive(Debug, Default)]
pub struct Batch;

impl Batch {
    /// Nobody.
    pub const fn new() -> Self {
        Batch
    }
}

/// A thread of the model that is about to wait.
#[derive(Debug)]
pub struct Caller(Waiter);

/// The calling thread.
pub fn caller() -> Caller {
    Caller(current())
}

impl Caller {
    /// Calls `end`, and unparks who waits.
    ///
    /// # Safety
    ///
    /// As outside a model.
    pub unsafe fn release(self, _: &mut Batch, end: impl FnOnce()) {
        end();
        self.0.unpark();
    }
}

/// Waits for a permit.
pub fn park(_: WaitReason) {
    super::assert_outside();
    current().0.park();
}

/// Waits for a permit. A deadline in the past has passed; another one never does.
pub fn park_until(reason: WaitReason, deadline: Instant) -> Woken {
    if deadline > Instant::now() {
        park(reason);
        return Woken::Unparked;
    }
    super::assert_outside();
    match current().0.park_until(0) {
        crate::parker::Woken::Unparked => Woken::Unparked,
        crate::parker::Woken::Timeout => Woken::Timeout,
    }
}

impl Waiter {
    /// Leaves a permit.
    pub fn unpark(&self) {
        self.0.unpark();
    }

    /// As [`unpark`](Self::unpark): threads wait for no slice.
    pub fn unpark_urgently(&self) {
        self.unpark();
    }

    /// Whether it sleeps, and nobody has woken it: then it has done all that it does before.
    pub fn is_asleep(&self) -> bool {
        self.0.is_asleep()
    }
}

impl From<Waiter> for Waker {
    fn from(waiter: Waiter) -> Self {
        // SAFETY: the functions of the table fit its pointer, count what is cloned and dropped, and may be
        // called on any thread.
        unsafe { Waker::from_raw(RawWaker::new(Arc::into_raw(waiter.0).cast(), &TABLE)) }
    }
}

impl TryFrom<Waker> for Waiter {
    type Error = Waker;

    fn try_from(waker: Waker) -> Result<Self, Waker> {
        if !core::ptr::eq(waker.vtable(), &TABLE) {
            return Err(waker);
        }
        Ok(ManuallyDrop::into_inner(behind(ManuallyDrop::new(waker).data())))
    }
}

static TABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        let waker = ManuallyDrop::new(Waker::from((*behind(data)).clone()));
        RawWaker::new(waker.data(), waker.vtable())
    },
    |data| ManuallyDrop::into_inner(behind(data)).unpark(),
    |data| behind(data).unpark(),
    |data| drop(ManuallyDrop::into_inner(behind(data))),
);

/// The waiter that `data` of a waker is. The waker keeps it.
fn behind(data: *const ()) -> ManuallyDrop<Waiter> {
    // SAFETY: from `Arc::into_raw`; it is not dropped here.
    ManuallyDrop::new(Waiter(unsafe { Arc::from_raw(data.cast()) }))
}
