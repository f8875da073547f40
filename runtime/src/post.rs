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
//! Who has taken it and finds nobody to start leaves it again, and knows that nothing was done. Another, who has found it
//! taken meanwhile, would not: so one at a time starts somebody ([`Post::man`]). If a holder finds it taken so at its last
//! look, it ends: what was asked for is left to whoever was refused, who says so to the heap.
//!
//! # A rest
//!
//! A driver that leaves sweep to those who allocate waits beside its post, and a request must end that
//! ([`Resting`]): it says where it waits, looks for a request, and waits; who asks writes the request, and wakes whom
//! it finds there. The lock around the place orders the two.
//!
//! Model: `loom-tests/tests/runtime_post.rs`.

use std::mem;
use std::time::Instant;

use sched_core::entry;
use sched_core::lock::Lock;
use sched_core::park::{self, WaitReason};
use sched_core::sync::{AtomicBool, Ordering, const_unless_loom};

/// A place for one servant at a time.
#[derive(Debug)]
pub struct Post(AtomicBool);

impl Post {
    const_unless_loom! {
        /// Nobody's.
        pub const fn new() -> Self {
            Post(AtomicBool::new(false))
        }
    }

    /// True if it was free.
    pub fn take(&self) -> bool {
        // AcqRel: Release gives the holder who is found there what the caller has asked for, at his last look; Acquire
        // brings what the last holder did. Both pair with `leave`; takers in between are read-modify-writes.
        !self.0.swap(true, Ordering::AcqRel)
    }

    fn leave(&self) {
        // AcqRel: a read-modify-write, so that Acquire brings what those have asked for who found it taken, before the
        // look that follows; Release gives the next holder what was done. Both pair with `take`.
        self.0.swap(false, Ordering::AcqRel);
    }

    /// Sees to it that somebody has it, who is `start`ed if nobody has; false if nobody can be. One at a time calls this,
    /// under a lock of the caller's.
    pub fn man(&self, start: impl FnOnce() -> bool) -> bool {
        if !self.take() {
            return true;
        }
        let started = start();
        if !started {
            self.leave();
        }
        started
    }

    /// Holds it, as one who has taken it: serves for as long as somebody asks, and leaves it. If `serve` is false, nobody
    /// can serve any more: then it is false as well, and the post stays taken.
    pub fn hold(&self, asked: impl Fn() -> bool, mut serve: impl FnMut() -> bool) -> bool {
        loop {
            while asked() {
                if !serve() {
                    return false;
                }
            }
            self.leave();
            if !asked() || !self.take() {
                return true;
            }
        }
    }
}

impl Default for Post {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the driver rests until it is asked for a cycle.
#[derive(Debug)]
pub struct Resting(Lock<Option<park::Waiter>>);

impl Resting {
    const_unless_loom! {
        /// Nobody rests.
        pub const fn new() -> Self {
            Resting(Lock::new(None))
        }
    }

    /// Puts `waiter` there. Returns the former one, to be woken or dropped when the lock is free again.
    fn exchange(&self, waiter: Option<park::Waiter>) -> Option<park::Waiter> {
        let _inside = entry::enter();
        mem::replace(&mut *self.0.lock(), waiter)
    }

    /// The driver rests until then, or until it is woken; not at all if `may` declines. That is
    /// asked when the driver can be woken: what comes before [`wake`](Self::wake) is seen by it, or
    /// wakes.
    pub fn rest(&self, until: Instant, may: impl FnOnce() -> bool) {
        drop(self.exchange(Some(park::current())));
        if may() {
            // Why it ends makes no difference: the caller looks again. A permit that comes too late
            // does no harm to the next wait, which is a loop as every wait is.
            let _ = park::park_until(WaitReason::Sleep, until);
        }
        drop(self.exchange(None));
    }

    /// Ends the rest. The driver then does not wait for a slice to end, as one that begins does not.
    pub fn wake(&self) {
        if let Some(waiter) = self.exchange(None) {
            waiter.unpark_urgently();
        }
    }
}

impl Default for Resting {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

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
            assert!(RESTING.exchange(None).is_none(), "nobody rests");
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
