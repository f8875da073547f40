//! Parking: one permit per goroutine and per plain thread, one handle for both.
//!
//! # Problem
//!
//! Channels, locks and joins are written once and used by goroutines and by plain threads alike: a
//! `main` that is no goroutine waits for one, a foreign thread sends into a channel. All of them
//! want what `std::thread::park` offers: *park until somebody unparks me; an unpark that came
//! first is kept*. Std's own cannot be used: its futex would block the M, and its permit may be
//! spent by other users of the same thread.
//!
//! # Words
//!
//! A [`Waiter`] names who waits: a goroutine of any scheduler, or a thread. A *permit* is what
//! [`Waiter::unpark`] leaves and [`park`] uses up; there is at most one, so two unparks before a
//! park count once. Every wait is therefore a loop over a condition of one's own:
//!
//! ```
//! use sched_core::park::{self, WaitReason};
//! use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
//!
//! let done = Arc::new(AtomicBool::new(false));
//! let (flag, waiter) = (Arc::clone(&done), park::current());
//! let other = std::thread::spawn(move || {
//!     flag.store(true, Ordering::Release);
//!     waiter.unpark();
//! });
//! while !done.load(Ordering::Acquire) {
//!     park::park(WaitReason::Park);
//! }
//! # other.join().unwrap();
//! ```
//!
//! # How
//!
//! A goroutine parks by switching away; what publishes it as parked runs after the switch
//! (`worker`). A thread parks on a futex word of its own (`park/thread.rs`). A `Waiter` can be made
//! into a `Waker` and back (`park/waker.rs`). Who waits for something on its own stack can do without a
//! counted name (`park/caller.rs`).
//!
//! # Rejected
//!
//! A wait queue per condition (as `parking_lot`): one global table of locks, and nothing that a
//! `select` over several conditions could use.

pub use crate::reason::WaitReason;

mod batch;
mod caller;
mod thread;
mod waker;
mod watch;

use core::{fmt, time::Duration};
use std::time::Instant;

use crate::{
    entry::enter, future::waker::FutureRef, goroutine, policy::Cause, shared::Shared, sync::now,
    task::TaskRef,
};

pub use batch::Batch;
pub use caller::{Caller, caller};
pub(crate) use thread::{AllParkers, FreeParkers, Sleepers, ThreadParker, ThreadRef, adopt_thread};
pub use watch::{Watch, watch};

/// How [`park_until`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a wait with a deadline must tell which of the two came"]
pub enum Woken {
    /// There was a permit; it is used up.
    Unparked,
    /// The deadline has passed. (A permit that came at the same moment may be used up with it: look
    /// at what you wait for in either case.)
    Timeout,
}

/// Somebody who waits, or may: the goroutine or the plain thread that called [`current`], or one of our
/// futures ([`of_waker`](Waiter::of_waker)). For a future an unpark is a wake.
#[derive(Clone)]
pub struct Waiter(Who);

#[derive(Clone)]
enum Who {
    Goroutine(TaskRef),
    Thread(ThreadRef),
    Future(FutureRef),
}

/// The waiter that the calling goroutine or thread is.
pub fn current() -> Waiter {
    match goroutine::current_task() {
        Some(task) => Waiter(Who::Goroutine(task)),
        None => Waiter(Who::Thread(ThreadRef::current())),
    }
}

/// Waits until somebody has called [`Waiter::unpark`] for the caller, and uses that permit up.
/// Returns at once if the permit is there.
///
/// Not inside the runtime: there (in a policy, or while an [`Entered`](crate::entry::Entered) of the caller is
/// alive) a goroutine's park ends the process.
pub fn park(reason: WaitReason) {
    if goroutine::on_goroutine() {
        goroutine::park(reason);
    } else {
        ThreadRef::current().park(None);
    }
}

/// As [`park`], until `deadline` at the latest. A goroutine's deadline is kept by the scheduler's
/// timer thread: a few tens of microseconds late on an idle machine.
pub fn park_until(reason: WaitReason, deadline: Instant) -> Woken {
    let at = nanos(deadline);
    let unparked = if goroutine::on_goroutine() {
        goroutine::park_until(reason, at)
    } else {
        ThreadRef::current().park(Some(at))
    };
    if unparked { Woken::Unparked } else { Woken::Timeout }
}

/// The deadline on the clock of [`now`]; one in the past is now.
pub(crate) fn nanos(deadline: Instant) -> u64 {
    let left: Duration = deadline.saturating_duration_since(Instant::now());
    now().saturating_add(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX))
}

impl Waiter {
    /// Leaves a permit: lets the waiter's [`park`] return, now or when it is called.
    ///
    /// Everything that the caller did before is visible to the waiter after its `park`. Does
    /// nothing once the goroutine or thread has ended. Never blocks.
    pub fn unpark(&self) {
        match &self.0 {
            Who::Goroutine(task) => goroutine::unpark(task),
            Who::Thread(thread) => thread.unpark(),
            Who::Future(future) => future.wake(),
        }
    }

    /// As [`unpark`](Self::unpark), and a goroutine that was parked does not wait for a slice to
    /// end, as if its deadline had come.
    pub fn unpark_urgently(&self) {
        match &self.0 {
            Who::Goroutine(task) => goroutine::unpark_urgently(task),
            Who::Thread(_) | Who::Future(_) => self.unpark(),
        }
    }

    pub(crate) fn of_future(future: FutureRef) -> Self {
        Waiter(Who::Future(future))
    }

    /// As [`unpark`](Self::unpark), from the timer thread of `shared`, which then sees to it that those of
    /// its own that it has woken need not wait for a slice to end.
    pub(crate) fn unpark_due(&self, shared: &Shared) {
        match &self.0 {
            Who::Goroutine(task) if core::ptr::eq(task.shared(), shared) => {
                let _entered = enter();
                let put = |run| shared.put(None, run, Cause::Woken);
                goroutine::awaken(task).into_iter().for_each(put);
            }
            Who::Future(future) if core::ptr::eq(&**future.header().shared(), shared) => {
                future.wake_due();
            }
            _ => self.unpark(),
        }
    }

    /// Whether both name the same goroutine or thread.
    pub fn same(&self, other: &Waiter) -> bool {
        match (&self.0, &other.0) {
            (Who::Goroutine(a), Who::Goroutine(b)) => a.same(b),
            (Who::Thread(a), Who::Thread(b)) => a.0 == b.0,
            (Who::Future(a), Who::Future(b)) => a.same(b),
            _ => false,
        }
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Who::Goroutine(task) => write!(f, "Waiter(goroutine {})", task.id()),
            Who::Thread(thread) => write!(f, "Waiter(thread {:p})", thread.0),
            Who::Future(future) => write!(f, "Waiter(future {})", future.header().birth.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_kept_and_counts_once() {
        let me = current();
        me.unpark();
        me.unpark();
        park(WaitReason::Park);
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(park_until(WaitReason::Park, soon), Woken::Timeout);
    }

    #[test]
    fn a_timeout_leaves_no_permit_and_takes_none_later() {
        let me = current();
        assert_eq!(park_until(WaitReason::Park, Instant::now()), Woken::Timeout);
        me.unpark();
        assert_eq!(park_until(WaitReason::Park, Instant::now()), Woken::Unparked);
    }

    #[test]
    fn waiters_outlive_their_thread() {
        let waiter = std::thread::spawn(current).join().expect("the thread ends");
        waiter.unpark();
        let again = waiter.clone();
        assert!(again.same(&waiter) && !again.same(&current()));
    }

    #[test]
    fn threads_hand_a_token_to_and_fro() {
        use std::sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        };
        const ROUNDS: usize = 2_000;
        let turn = Arc::new(AtomicUsize::new(0));
        let (theirs, first) = (Arc::clone(&turn), current());
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(current()).expect("the first thread listens");
            for round in 0..ROUNDS {
                while theirs.load(Ordering::Acquire) != 2 * round + 1 {
                    park(WaitReason::Park);
                }
                theirs.store(2 * round + 2, Ordering::Release);
                first.unpark();
            }
        });
        let second = told.recv().expect("the second thread says who it is");
        for round in 0..ROUNDS {
            turn.store(2 * round + 1, Ordering::Release);
            second.unpark();
            while turn.load(Ordering::Acquire) != 2 * round + 2 {
                park(WaitReason::Park);
            }
        }
        thread.join().expect("the second thread ends");
    }
}
