//! The watch: the monitor's long sleep beside a P that may be blocked.
//!
//! While nothing waits the monitor looks every 10 ms. A goroutine that became ready just then, while
//! goroutines blocked in the kernel held all Ps, waited for as long. So before such a sleep the monitor
//! sets *watch*, and looks once more whether anything is queued ([`Idle::watch`]). Whoever leaves *need*
//! clears *watch* with the same RMW and wakes the monitor; and *need* that stands counts for nothing
//! beside *watch*, as its P may be one of the blocked. One submission in a sleep pays for it, and none
//! while somebody spins or a P is idle.
//!
//! The proof, with that of the rest, is in [`idle`](super)'s essay.

use core::time::Duration;

use super::{Idle, counts::Counts};
use crate::bell::{Bell, Roused};
use crate::sync::{Ordering, fence};

impl Idle {
    /// *Need* was left: `before` says whether the monitor wants to know.
    pub(super) fn tell(&self, before: Counts) {
        if before.watch() {
            self.bell.wake();
        }
    }

    /// Where the monitor sleeps while all is idle.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// The monitor, which found nothing queued, sleeps for `limit`; but not if `any_work` finds something
    /// now, and no longer than until something is queued that nobody looks for: then it was [called](Roused::Called).
    ///
    /// `all_idle` is as in [`Bell::wait`]. One thread at a time.
    pub fn watch(
        &self,
        limit: Duration,
        any_work: impl FnOnce() -> bool,
        all_idle: impl FnOnce() -> bool,
    ) -> Roused {
        self.update(Counts::with_watch);
        // SeqCst: (WatchFence) the watch comes before the look at the queues. Partner: the fence in
        // `notify`.
        fence(Ordering::SeqCst);
        let roused = if any_work() { Roused::Woken } else { self.bell.wait(Some(limit), all_idle) };
        let told = !self.update(Counts::without_watch).watch();
        if told { Roused::Called } else { roused }
    }
}
