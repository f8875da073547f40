//! Another policy, while goroutines run.
//!
//! # Problem
//!
//! All queues are exchanged at once, on a thousand Ps, and nobody stops for it. No goroutine may be left in an
//! old queue, or be in two.
//!
//! # How
//!
//! The queues are the value of a [`Succession`](crate::succession::Succession). A P has a
//! [`Chair`](crate::dispatch::Chair) at them: it stays. Threads without a P visit.
//! [`set_policy`](Shared::set_policy) puts new queues into office. From then on
//!
//! * whoever holds a P sees it at his next use of the queues, be it a put or a pick, and *moves over*: he sits
//!   down at the new ones, empties his part of the old ones and what they share into the new, and ends his stay
//!   ([`sit_down`](Dispatch::sit_down)). So a P puts at most one goroutine into the old queues after the change;
//! * visitors find the new ones; those that came before finish their put in the old;
//! * a thief who finds nothing, and has moved over, looks into the old queues, too ([`rescue`](Dispatch::rescue)), as
//!   does the last look of a spinner ([`any_work`](Dispatch::any_work)). So what lies there is found by others,
//!   although a P that is busy for long has not moved;
//! * a P that goes idle has no chair, and sits down anew when it is used again.
//!
//! When nobody uses the old queues any more they are buried: what is left in them is put into the new ones
//! ([`finish_swap`](Shared::finish_swap)). That is the service thread's, as the policy's memory is freed, and a
//! goroutine may have been preempted with the allocator's lock in its hand. (The timer thread did it first: it waited
//! for that lock, and everybody for the timer thread, in two of a hundred runs of `tests/swap.rs`.) Meanwhile, each
//! millisecond, the timer thread presses those who have not moved: goroutines that run are asked to give way, by signal if they
//! compute; from those that stand still in the kernel the P is taken, since their queue would wait with them.
//!
//! # Why nothing is lost
//!
//! A goroutine that was put lies in one of two queues, and both are looked at, as long as there are two; the proof
//! of `idle.md` says "every queue", and means that. Moving is taking and putting, with a
//! [`notify`](Shared::notify) afterwards, on behalf of what was in neither for a moment. So is a burial that
//! failed, while which the old queues could not be seen. A goroutine is moved by value, like
//! one that is taken to be run, so it is never in both.
//!
//! # Price
//!
//! A load and a comparison at each use of the queues; two read-modify-writes for each that becomes ready where
//! there is no P, which takes a lock besides. The change itself takes O(1) for the caller, and O(1) per
//! goroutine queued, by whoever moves it.

use std::sync::{PoisonError, TryLockError};

use crate::{
    dispatch::Dispatch,
    entered::assert_outside,
    entry::enter,
    park::{self, WaitReason},
    policy::Chosen,
    resize::PRESS,
    shared::Shared,
};

impl Shared {
    /// Makes `policy` the one that goroutines are queued by. Waits until the change before this one is complete.
    pub(crate) fn set_policy(&self, policy: &Chosen) {
        // A policy could have itself buried.
        assert_outside("somebody changes the policy");
        loop {
            {
                let _one_at_a_time = self.sizing.lock().unwrap_or_else(PoisonError::into_inner);
                if self.stopping() {
                    return;
                }
                if self.bury() {
                    return self.succeed(policy);
                }
            }
            let soon = std::time::Instant::now() + std::time::Duration::from_nanos(PRESS);
            let _ = park::park_until(WaitReason::Lock, soon);
        }
    }

    /// Nobody is leaving, and the caller holds `sizing`.
    fn succeed(&self, policy: &Chosen) {
        let queues = policy.install(self.procs.room());
        (0..self.procs.len()).for_each(|_| queues.add_proc());
        let _entered = enter();
        // SAFETY: the caller holds `sizing`, as all do who change or bury.
        match unsafe { self.queues.succeed(queues) } {
            Ok(()) => {
                self.press();
                self.service.rouse();
            }
            Err(_) => unreachable!("the one before was buried under the same lock"),
        }
    }

    /// Empties the queues that are leaving, if nobody uses them any more. True if none are left. The caller
    /// holds `sizing`, and is outside of the runtime: the policy's memory is freed.
    fn bury(&self) -> bool {
        let old = {
            let _entered = enter();
            // SAFETY: the caller holds `sizing`.
            unsafe { Dispatch::bury(self) }
        };
        old.is_ok()
    }

    /// The service thread's part in a change of policy. False: it must look again.
    pub(crate) fn finish_swap(&self) -> bool {
        if !self.queues.is_leaving() {
            return true;
        }
        let _one_at_a_time = match self.sizing.try_lock() {
            Ok(one) => one,
            // A policy panicked, in a caller of `set_policy`.
            Err(TryLockError::Poisoned(one)) => one.into_inner(),
            // Whoever holds the lock buries, too, or will be done soon.
            Err(TryLockError::WouldBlock) => return false,
        };
        self.bury()
    }
}
