//! The handle of a goroutine or a future: wait for its end, and have its result.
//!
//! # Words
//!
//! The *goroutine* runs its closure, drops what nobody wants, runs its TLS destructors and ends.
//! The *handle* is the one [`JoinHandle`] of it: it may be dropped, asked, awaited, or joined, once.
//! The *joiner* is whom the end has to tell.
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
//! * `finish` against `drop_handle`: either the goroutine takes the waiter out, or the handle does: it does not
//!   stay until the goroutine ends.
//!
//! `finish` is not `complete`: between the two lie the destructors of thread-locals, which may still
//! use what the joiner thinks is free. `std::thread` promises that a join waits for them; so do we.
//!
//! # Joiners that are futures
//!
//! The handle is a future itself. One of ours that awaits a goroutine is told inside the runtime, as a
//! goroutine is. Any other waker is user code, which must not run there, and gets a
//! relay between (`future::relay`), which later polls with the same waker keep. A future that ends tells its
//! joiner in user code: there every waker can be called.
//!
//! # Rejected
//!
//! The result inside an `Arc` shared by both: the goroutine's share would be let go inside the
//! runtime, where a user's destructor must not run.

use core::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    ptr::NonNull,
    task::{Context, Poll, Waker},
};

use super::{
    TaskId, TaskRef,
    about::Birth,
    raw::{self, Outcome},
    state::{DropHandle, Join},
};
use crate::{
    future::{
        relay::{self, relay},
        state::{DropHandle as DropFuture, Join as JoinFuture},
        waker::FutureRef,
    },
    park::{self, WaitReason, Waiter},
};

/// The right to wait for a goroutine or a future and to have its result.
///
/// [`join`](Self::join) waits for it on a goroutine or a thread; in a future it is awaited, with the same
/// result. Dropping the handle lets it run on; its result is then dropped where it ends.
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
    of: Of,
    result: PhantomData<T>,
}

enum Of {
    Goroutine { task: TaskRef, packet: NonNull<raw::Header> },
    Future(FutureRef),
}

// SAFETY: the handle is the only one to look at the result, and `T: Send` lets it travel with it.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: through a shared handle one can only ask whether the goroutine has ended, or abort it.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

/// The result does not lie in the handle.
impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    ///
    /// `packet` was packed with result type `T` and given to `task`, of which this is the only
    /// handle.
    pub(crate) unsafe fn new(task: TaskRef, packet: NonNull<raw::Header>) -> Self {
        Self { of: Of::Goroutine { task, packet }, result: PhantomData }
    }

    /// # Safety
    ///
    /// `T` is the output of the future, of which this is the only handle.
    pub(crate) unsafe fn of_future(future: FutureRef) -> Self {
        Self { of: Of::Future(future), result: PhantomData }
    }

    /// Waits for the end, a goroutine's TLS destructors included, and gives the result.
    ///
    /// Parks the calling goroutine, or blocks the calling thread.
    ///
    /// # Errors
    ///
    /// What the goroutine or future panicked with;
    /// [`Cancelled`](crate::future::Cancelled) if the future was cancelled.
    ///
    /// # Panics
    ///
    /// If the handle was awaited to the end before.
    pub fn join(self) -> Outcome<T> {
        if !self.is_finished() {
            self.of.announce(Joiner::Caller);
        }
        while !self.is_finished() {
            park::park(WaitReason::Join);
        }
        self.take()
    }

    /// Takes the result of what has ended.
    fn take(&self) -> Outcome<T> {
        let outcome = match &self.of {
            // SAFETY: the goroutine is done, so its result is written and visible, and nobody but this
            // handle uses the packet now.
            Of::Goroutine { packet, .. } => unsafe { raw::take_result::<T>(*packet) },
            Of::Future(future) => {
                let mut outcome = None;
                // SAFETY: the future is done, and this is its handle, of this type.
                unsafe { future.header().take(&mut outcome) };
                outcome
            }
        };
        outcome.expect("what has ended has left a result, and a handle gives it once")
    }

    /// Whether it has ended; [`join`](Self::join) will then return at once.
    pub fn is_finished(&self) -> bool {
        match &self.of {
            Of::Goroutine { task, .. } => task.state.is_done(),
            Of::Future(future) => future.header().state.is_done(),
        }
    }

    /// Has a future end before its time: it is not polled any more, and dropped on a carrier. A poll
    /// that is under way goes on to its end, and if the future is ready then, that is its result.
    ///
    /// False if it has ended, and for a goroutine: nobody can take a stack away from under code that
    /// runs. Tell it by a channel.
    ///
    /// ```
    /// use sched_core::{Config, NoHooks, Scheduler};
    /// # use std::sync::Arc;
    /// let scheduler = Scheduler::new(Config::default(), Arc::new(NoHooks))?;
    /// let future = scheduler.spawn_future(std::future::pending::<()>())?;
    /// assert!(future.abort());
    /// assert!(future.join().is_err());
    /// assert!(!scheduler.spawn(|| ())?.abort());
    /// # scheduler.shutdown(None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn abort(&self) -> bool {
        match &self.of {
            Of::Goroutine { .. } => false,
            Of::Future(future) => future.abort(),
        }
    }

    /// Its number, unique in its scheduler.
    pub fn id(&self) -> TaskId {
        match &self.of {
            Of::Goroutine { task, .. } => task.id(),
            Of::Future(future) => TaskId::new(future.header().birth.id),
        }
    }
}

/// Whom the end has to tell.
#[derive(Clone, Copy)]
enum Joiner<'a> {
    /// The goroutine or thread that calls.
    Caller,
    Waker(&'a Waker),
}

impl Joiner<'_> {
    /// As one who may be told inside the runtime, by a goroutine of the same scheduler as `task`. `None`:
    /// the scheduler ends just now, so the goroutine has ended.
    fn waiter(self, task: &TaskRef) -> Option<Waiter> {
        let Joiner::Waker(waker) = self else { return Some(park::current()) };
        Waiter::of_waker(waker).or_else(|| {
            let origin = core::panic::Location::caller();
            let birth = Birth { id: task.id().get(), creator: 0, origin };
            relay(task.shared(), waker, birth).map(Waiter::of_future)
        })
    }

    /// `before`, if this one is told by it. Else it tells nobody any more.
    ///
    /// # Safety
    ///
    /// `before` was stored for a goroutine to tell, and was taken back.
    unsafe fn keep(self, before: Waiter) -> Option<Waiter> {
        let before = Waker::from(before);
        match self {
            // SAFETY: the caller's claim.
            Joiner::Waker(waker) if unsafe { relay::wakes(&before, waker) } => {
                Waiter::try_from(before).ok()
            }
            _ => {
                // SAFETY: the caller's claim.
                unsafe { relay::dismiss(before) };
                None
            }
        }
    }

    fn waker(self) -> Waker {
        match self {
            Joiner::Caller => park::current().into(),
            Joiner::Waker(waker) => waker.clone(),
        }
    }
}

impl Of {
    /// Has the end tell `joiner`, and nobody who was to be told before. If it has come meanwhile,
    /// nothing more happens.
    fn announce(&self, joiner: Joiner<'_>) {
        match self {
            Of::Goroutine { task, .. } => announce_to_goroutine(task, joiner),
            Of::Future(future) => announce_to_future(future, joiner),
        }
    }
}

fn announce_to_goroutine(task: &TaskRef, joiner: Joiner<'_>) {
    let mut kept = None;
    if task.state.has_joiner() {
        if task.state.clear_joiner() == Join::Done {
            return;
        }
        // SAFETY: taken back before the end, so the place is the handle's again.
        let before = unsafe { task.take_joiner() };
        // SAFETY: it was taken back.
        kept = before.and_then(|before| unsafe { joiner.keep(before) });
    }
    let Some(waiter) = kept.or_else(|| joiner.waiter(task)) else { return };
    // SAFETY: the handle is used by one at a time, and its joiner is not announced: the place is its own.
    unsafe { task.store_joiner(waiter) };
    if task.state.set_joiner() == Join::Done {
        // SAFETY: the goroutine ended before it could see the waiter, so it leaves it alone.
        let unseen = unsafe { task.take_joiner() };
        // SAFETY: it was taken back.
        unseen.into_iter().for_each(|unseen| unsafe { relay::dismiss(unseen.into()) });
    }
}

fn announce_to_future(future: &FutureRef, joiner: Joiner<'_>) {
    let header = future.header();
    if header.state.has_joiner() && header.state.clear_joiner() == JoinFuture::Done {
        return;
    }
    // SAFETY: not announced, or taken back: the place is the handle's.
    let place = unsafe { header.joiner() };
    match joiner {
        Joiner::Waker(waker) if place.as_ref().is_some_and(|old| old.will_wake(waker)) => {}
        _ => *place = Some(joiner.waker()),
    }
    if header.state.set_joiner() == JoinFuture::Done {
        // SAFETY: it ended before it was announced, so the place is the handle's still.
        unsafe { header.joiner() }.take();
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Outcome<T>;

    /// Ready when it has ended, with what [`join`](JoinHandle::join) gives. Once.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        if !self.is_finished() {
            self.of.announce(Joiner::Waker(cx.waker()));
        }
        if self.is_finished() { Poll::Ready(self.take()) } else { Poll::Pending }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        match &self.of {
            Of::Goroutine { task, packet } => {
                let DropHandle { result, joiner } = task.state.drop_handle();
                if result {
                    // SAFETY: the closure has returned and the goroutine leaves the packet to its handle.
                    unsafe { raw::free_packet(*packet) };
                }
                if joiner {
                    // SAFETY: the state gave the place back.
                    let before = unsafe { task.take_joiner() };
                    // SAFETY: it was taken back.
                    before.into_iter().for_each(|before| unsafe { relay::dismiss(before.into()) });
                }
            }
            Of::Future(future) => match future.header().state.drop_handle() {
                // SAFETY: it is done, and the result was for the handle.
                DropFuture::DropResult => unsafe { future.header().drop_result() },
                // SAFETY: the place is the handle's, as the state says.
                DropFuture::DropJoiner => drop(unsafe { future.header().joiner() }.take()),
            },
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
