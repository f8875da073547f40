//! The waker of a future, and the reference that it is: a pointer to the header.
//!
//! A wake of an idle future puts it where a goroutine that is made ready would stand: next on the P at
//! hand, so that it runs beside the data it was woken for, or with those that were woken. It may be called
//! from anywhere, inside the runtime as well: it allocates nothing and frees nothing there.

use core::{
    mem::ManuallyDrop,
    ptr::NonNull,
    task::{RawWaker, RawWakerVTable, Waker},
};

use super::{
    cell::{self, Header, Poller},
    state::{Release, Wake},
};
use crate::{
    entry::{Entered, enter},
    policy::Cause,
    shared::Shared,
};

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| FutureRef::clone(&reference(data)).into_raw(),
    |data| ManuallyDrop::into_inner(reference(data)).wake(),
    |data| reference(data).wake(),
    |data| drop(ManuallyDrop::into_inner(reference(data))),
);

/// The reference that a waker's `data` is. The waker keeps it.
fn reference(data: *const ()) -> ManuallyDrop<FutureRef> {
    let header = NonNull::new(data.cast_mut().cast()).expect("a waker of a future names it");
    ManuallyDrop::new(FutureRef(header))
}

/// A waker for the time of a poll: not counted, and never dropped.
pub(crate) fn borrowed(header: NonNull<Header>) -> Waker {
    let raw = RawWaker::new(header.as_ptr().cast(), &VTABLE);
    // SAFETY: the functions fit the pointer, are thread-safe, and count by the state. The caller has the
    // run reference while it uses this, and does not drop it.
    unsafe { Waker::from_raw(raw) }
}

/// A counted name of a future: what wakers and handles are.
#[derive(Debug)]
pub(crate) struct FutureRef(NonNull<Header>);

// SAFETY: the header is shared by all who name it, and lives while it is counted.
unsafe impl Send for FutureRef {}
// SAFETY: as above.
unsafe impl Sync for FutureRef {}

impl FutureRef {
    /// # Safety
    ///
    /// `header` is a future of which one reference is the caller's, who gives it away.
    pub(crate) unsafe fn from_raw(header: NonNull<Header>) -> Self {
        Self(header)
    }

    fn into_raw(self) -> RawWaker {
        RawWaker::new(ManuallyDrop::new(self).0.as_ptr().cast(), &VTABLE)
    }

    pub(crate) fn into_waker(self) -> Waker {
        // SAFETY: the functions fit the pointer, count by the state, and may be called on any thread.
        unsafe { Waker::from_raw(self.into_raw()) }
    }

    /// The reference that `waker` is, if it is of a future of ours. The waker keeps it.
    pub(crate) fn behind(waker: &Waker) -> Option<ManuallyDrop<Self>> {
        core::ptr::eq(waker.vtable(), &VTABLE).then(|| reference(waker.data()))
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: this reference is counted.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Has the future polled once more.
    pub(crate) fn wake(&self) {
        if self.header().state.wake() == Wake::Schedule {
            self.schedule(ready);
        }
    }

    /// As [`wake`](Self::wake), from the timer thread, which then sees to it that those it has woken need
    /// not wait for a slice to end.
    pub(crate) fn wake_due(&self) {
        if self.header().state.wake() == Wake::Schedule {
            self.schedule(|shared, future, _| shared.put(None, future, Cause::Woken));
        }
    }

    /// Has the future end between two polls. False if it is over.
    pub(crate) fn abort(&self) -> bool {
        match self.header().state.abort() {
            Wake::Schedule => self.schedule(ready),
            Wake::Nothing if self.header().state.is_done() => return false,
            Wake::Nothing => {}
        }
        true
    }

    /// Queues the future, whose run reference is the caller's. This reference keeps the scheduler alive
    /// until that is done.
    fn schedule(&self, queue: impl FnOnce(&Shared, Poller, &Entered<'_>)) {
        let entered = enter();
        // SAFETY: the state gave the run reference to the caller.
        let future = unsafe { Poller::from_raw(self.0) };
        queue(self.header().shared(), future, &entered);
    }
}

/// Puts a future where it will run: next on this P, or with those that were woken.
pub(crate) fn ready(shared: &Shared, future: Poller, entered: &Entered<'_>) {
    let held = entered.machine().filter(|m| m.serves(shared)).and_then(|m| m.held());
    shared.put(held, future, Cause::Unparked);
    shared.notify();
}

impl Clone for FutureRef {
    fn clone(&self) -> Self {
        self.header().state.retain();
        Self(self.0)
    }
}

impl Drop for FutureRef {
    fn drop(&mut self) {
        match self.header().state.release() {
            Release::Named => {}
            Release::Schedule => self.last_of_an_idle_one(),
            Release::Free => self.last(),
        }
    }
}

impl FutureRef {
    /// Nobody can wake it any more: a carrier drops it. It has not left the gate, so its scheduler is
    /// there; and it is kept for the time of this by a name of the future. Not by a count of the scheduler:
    /// the caller may be inside the runtime of another one, and that count the last when this one has ended
    /// meanwhile, with all its memory. What is left of the future goes where that may be freed (`last`).
    #[cold]
    fn last_of_an_idle_one(&self) {
        let name = self.clone();
        let entered = enter();
        // SAFETY: the state gave the run reference to us.
        ready(self.header().shared(), unsafe { Poller::from_raw(self.0) }, &entered);
        drop(entered);
        // One that is being cancelled does not become idle again: this ends here, or in `last`.
        drop(name);
    }

    /// It is over: its memory goes, here, or, inside the runtime, by the hand of the next carrier.
    fn last(&self) {
        let entered = enter();
        let m = entered.machine().filter(|m| !entered.is_outermost() && m.held().is_some());
        if let Some(m) = m {
            // Of whichever scheduler this is the M: it waits for the carrier. One with nobody inside has no carriers
            // any more, and ends; its last Ms keep what they have no place to free.
            if m.shared().gate.enter_to_serve() {
                self.header().state.revive();
                // SAFETY: the revived reference is ours to give.
                ready(m.shared(), unsafe { Poller::from_raw(self.0) }, &entered);
            }
            return;
        }
        drop(entered);
        // SAFETY: so says the state; this is user code, or a plain thread, which no one preempts.
        unsafe { cell::free(self.0) };
    }
}
