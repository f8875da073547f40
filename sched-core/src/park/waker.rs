//! A waiter as a waker, and back: two tables of functions, one for goroutines and one for plain threads.
//! A future's is `future/waker.rs`'s.

use core::{
    mem::ManuallyDrop,
    ptr::NonNull,
    task::{RawWaker, RawWakerVTable, Waker},
};

use super::{ThreadRef, Waiter, Who};
use crate::{future::waker::FutureRef, task::TaskRef};

impl Waiter {
    /// The waiter that `waker` is, if it is of this crate. The waker keeps it.
    fn behind(waker: &Waker) -> Option<ManuallyDrop<Self>> {
        let (data, vtable) = (waker.data(), core::ptr::from_ref(waker.vtable()));
        if core::ptr::eq(vtable, &GOROUTINE) {
            Some(goroutine_of(data))
        } else if core::ptr::eq(vtable, &THREAD) {
            Some(thread_of(data))
        } else {
            FutureRef::behind(waker)
                .map(|future| ManuallyDrop::new(Self::of_future(ManuallyDrop::into_inner(future))))
        }
    }

    /// Who is woken by `waker`, if it is of this crate: a future of a scheduler's, or a waiter that was
    /// made into a waker.
    pub fn of_waker(waker: &Waker) -> Option<Self> {
        Self::behind(waker).map(|waiter| (*waiter).clone())
    }
}

/// The waker of whom an unpark is enough: whoever waits in a loop over a condition of its own. It
/// allocates nothing.
impl From<Waiter> for Waker {
    fn from(waiter: Waiter) -> Self {
        let raw = match waiter.0 {
            Who::Goroutine(task) => RawWaker::new(task.into_raw().as_ptr().cast(), &GOROUTINE),
            Who::Thread(thread) => {
                RawWaker::new(ManuallyDrop::new(thread).0.as_ptr().cast(), &THREAD)
            }
            Who::Future(future) => return future.into_waker(),
        };
        // SAFETY: the functions of each table fit its pointer, count what is cloned and dropped, and may
        // be called on any thread.
        unsafe { Waker::from_raw(raw) }
    }
}

/// A waker of this crate is a waiter, whose unpark and drop, unlike any waker's, may be called inside the
/// runtime. Another one is given back.
impl TryFrom<Waker> for Waiter {
    type Error = Waker;

    fn try_from(waker: Waker) -> Result<Self, Waker> {
        match Waiter::behind(&waker) {
            Some(waiter) => {
                core::mem::forget(waker);
                Ok(ManuallyDrop::into_inner(waiter))
            }
            None => Err(waker),
        }
    }
}

static GOROUTINE: RawWakerVTable = RawWakerVTable::new(
    |data| raw_clone(&goroutine_of(data)),
    |data| ManuallyDrop::into_inner(goroutine_of(data)).unpark(),
    |data| goroutine_of(data).unpark(),
    |data| drop(ManuallyDrop::into_inner(goroutine_of(data))),
);

static THREAD: RawWakerVTable = RawWakerVTable::new(
    |data| raw_clone(&thread_of(data)),
    |data| ManuallyDrop::into_inner(thread_of(data)).unpark(),
    |data| thread_of(data).unpark(),
    |data| drop(ManuallyDrop::into_inner(thread_of(data))),
);

fn raw_clone(waiter: &Waiter) -> RawWaker {
    let waker = ManuallyDrop::new(Waker::from(waiter.clone()));
    RawWaker::new(waker.data(), waker.vtable())
}

/// The waiter that `data` of a waker with the table [`GOROUTINE`] is. The waker keeps it.
fn goroutine_of(data: *const ()) -> ManuallyDrop<Waiter> {
    let task = NonNull::new(data.cast_mut().cast()).expect("a waker names its goroutine");
    // SAFETY: from `into_raw`; it is not dropped here.
    ManuallyDrop::new(Waiter(Who::Goroutine(unsafe { TaskRef::from_raw(task) })))
}

/// As [`goroutine_of`], for [`THREAD`].
fn thread_of(data: *const ()) -> ManuallyDrop<Waiter> {
    let parker = NonNull::new(data.cast_mut().cast()).expect("a waker names its thread");
    ManuallyDrop::new(Waiter(Who::Thread(ThreadRef(parker))))
}
