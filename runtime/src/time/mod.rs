//! Time: sleeping, timers, tickers, and from durations to deadlines.
//!
//! A sleep parks the goroutine: its P runs others meanwhile, and no thread is spent on it. (A
//! `std::thread::sleep` works as well, but blocks the thread until sysmon takes its P away.)
//!
//! | for | see |
//! |---|---|
//! | waiting for a while, or until a time | [`sleep`], [`sleep_until`] |
//! | the same in a future | [`sleep_async`], [`sleep_until_async`], [`timeout`] |
//! | a time beside other things | `default(span)` or `timer(&timer)` in a [`select!`](crate::select!) |
//! | a time that may be put off or called off | [`Timer`], [`after`] |
//! | a rhythm | [`Ticker`] |
//! | a channel operation with a deadline | `recv_timeout`, `send_deadline` and their like in [`chan`](crate::chan) |
//!
//! # Beyond the end of the clock
//!
//! A wait whose end the clock cannot name (`Instant::now() + span` does not exist, as with `Duration::MAX`) has no
//! deadline: it waits for ever. It cannot end by itself, so the
//! [detection of deadlocks](crate::Builder::detect_deadlocks) counts it like one without a timeout. Any other
//! deadline, however far, is one that comes. This holds for all functions here, for `recv_timeout` and
//! `send_timeout`, and for the `default(span)` of a `select!`.

mod alarm;
mod due;
#[cfg(not(loom))]
mod future;

pub use alarm::{Ticker, Timer, after};
#[cfg(not(loom))]
pub use future::{Elapsed, Sleep, sleep_async, sleep_until_async, timeout};

pub(crate) use alarm::Alarm;

use std::time::{Duration, Instant};

use crate::wait::Patience;
use sched_core::park::{self, WaitReason, Woken};

/// Sleeps for at least `duration`. Works on goroutines and on plain threads.
///
/// For ever, if that is [beyond the end of the clock](crate::time#beyond-the-end-of-the-clock): then it is a
/// deadlock if everybody else waits as well, and nobody can wake anyone.
///
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// runtime::sleep(Duration::from_millis(2));
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
pub fn sleep(duration: Duration) {
    match until(duration) {
        Patience::Until(deadline) => sleep_until(deadline),
        Patience::None | Patience::Forever => loop {
            park::park(WaitReason::Sleep);
        },
    }
}

/// Sleeps until `deadline` has passed.
///
/// A loop that sleeps until `start + n·period` keeps its rhythm: one that sleeps for `period` drifts
/// by what it does in between.
///
/// ```
/// use std::time::{Duration, Instant};
/// let deadline = Instant::now() + Duration::from_millis(2);
/// runtime::sleep_until(deadline);
/// assert!(Instant::now() >= deadline);
/// ```
pub fn sleep_until(deadline: Instant) {
    while park::park_until(WaitReason::Sleep, deadline) != Woken::Timeout {}
}

/// A timeout as a deadline; one beyond the end of the clock is none.
pub(crate) fn until(timeout: Duration) -> Patience {
    Instant::now().checked_add(timeout).map_or(Patience::Forever, Patience::Until)
}
