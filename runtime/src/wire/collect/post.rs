//! Who is at work, so that no request falls between the end of one servant and the beginning of the next.
//!
//! # A post
//!
//! A driver ends when nobody asks for a cycle, and whoever asks starts one only if there is none. So each looks at what
//! the other has written:
//!
//! ```text
//!   who asks                         who ends
//!   A1  writes the request           E1  leaves the post
//!   A2  takes the post, or finds     E2  looks for a request, and takes the post again
//!       it taken                         if there is one
//! ```
//!
//! Either A2 comes after E1, and finds the post free; or before it, and then E2 finds what A1 wrote. If both find the
//! other's, one of them has the post. What is written in A1 is the heap's: a request, or that something is doomed.
//!
//! # A rest
//!
//! A driver that leaves sweep to those who allocate waits beside its post, and a request must end that
//! ([`Resting`]): it says where it waits, looks for a request, and waits; who asks writes the request, and wakes whom
//! it finds there. The mutex around the place orders the two.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use sched_core::park::{self, WaitReason};

/// A place for one servant at a time.
#[derive(Debug)]
pub(super) struct Post(AtomicBool);

impl Post {
    pub(super) const fn new() -> Self {
        Post(AtomicBool::new(false))
    }

    /// True if it was free.
    pub(super) fn take(&self) -> bool {
        // SeqCst: whoever has asked for something and finds the post taken relies on its holder's
        // last look, which comes after `leave`.
        !self.0.swap(true, Ordering::SeqCst)
    }

    pub(super) fn leave(&self) {
        // SeqCst: a read-modify-write, so that the look that follows comes after it; partner of `take`.
        self.0.swap(false, Ordering::SeqCst);
    }
}

/// Where the driver rests until it is asked for a cycle.
#[derive(Debug)]
pub(super) struct Resting(Mutex<Option<park::Waiter>>);

impl Resting {
    pub(super) const fn new() -> Self {
        Resting(Mutex::new(None))
    }

    fn waiter(&self) -> MutexGuard<'_, Option<park::Waiter>> {
        // Whole between any two statements; poison carries no news.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The driver rests until then, or until it is woken; not at all if `may` declines. That is
    /// asked when the driver can be woken: what comes before [`wake`](Self::wake) is seen by it, or
    /// wakes.
    pub(super) fn rest(&self, until: Instant, may: impl FnOnce() -> bool) {
        *self.waiter() = Some(park::current());
        if may() {
            // Why it ends makes no difference: the caller looks again. A permit that comes too late
            // does no harm to the next wait, which is a loop as every wait is.
            let _ = park::park_until(WaitReason::Sleep, until);
        }
        *self.waiter() = None;
    }

    /// Ends the rest. The driver then does not wait for a slice to end, as one that begins does not.
    pub(super) fn wake(&self) {
        // Woken when the lock is free again.
        let waiter = self.waiter().take();
        if let Some(waiter) = waiter {
            waiter.unpark_urgently();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_post_has_one_holder() {
        let post = Post::new();
        assert!(post.take() && !post.take());
        post.leave();
        assert!(post.take());
    }

    /// On one P, where nobody else ends slices: hangs where nobody ends a rest, or only a slice does.
    #[test]
    fn a_driver_that_is_asked_for_does_not_rest() {
        static RESTING: Resting = Resting::new();
        static ENDED: AtomicBool = AtomicBool::new(false);
        let hour = Duration::from_secs(3600);
        let rt = crate::Runtime::builder().procs(1).preempt_after(hour).build();
        rt.expect("threads and stacks").run(|| {
            let until = Instant::now() + hour;
            RESTING.rest(until, || false);
            assert!(RESTING.waiter().is_none(), "nobody rests");
            RESTING.rest(until, || {
                drop(crate::go(|| {
                    RESTING.wake();
                    while !ENDED.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                }));
                true
            });
            ENDED.store(true, Ordering::Relaxed);
        });
    }
}
