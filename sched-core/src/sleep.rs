//! [`Sleep`]: a point in time as a future.
//!
//! A goroutine that sleeps hands itself to the timer thread (`timers`). A future hands an *alarm*: the
//! place of its waker, and its own place in the heap of deadlines. The alarm is shared by the future and
//! the heap; whoever takes it out of the heap drops the heap's share outside the runtime.
//!
//! A poll with another waker exchanges it in the alarm. If the alarm went off in between, the old one
//! was woken; but then the deadline has passed, which the poll sees, as it looks at the clock after the
//! exchange.

use core::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use crate::{
    entry::enter,
    goroutine,
    lock::Lock,
    park::{self, Waiter},
    shared::Shared,
    sync::{AtomicUsize, Ordering, now},
    task::{Run, TaskRef},
    timer::Timed,
};

/// In no heap.
const NO_PLACE: usize = usize::MAX;

/// What the timer thread wakes.
#[derive(Debug)]
pub(crate) enum Sleeper {
    Goroutine(TaskRef),
    Future(Arc<Alarm>),
}

impl Timed for Sleeper {
    fn set_place(&self, place: Option<usize>) {
        match self {
            Sleeper::Goroutine(task) => task.set_timer_place(place),
            Sleeper::Future(alarm) => alarm.set_place(place),
        }
    }
}

impl Sleeper {
    /// Its time has come. On the timer thread, outside the runtime; it settles afterwards, and queues what this
    /// gives.
    pub(crate) fn wake(self, shared: &Shared) -> Option<Run> {
        match self {
            Sleeper::Goroutine(task) => goroutine::awaken(&task),
            Sleeper::Future(alarm) => {
                alarm.ring(shared);
                None
            }
        }
    }
}

/// What a future that sleeps and the timer thread share.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// Where it lies in the heap. Written and read under the lock of the deadlines.
    place: AtomicUsize,
    waker: Lock<Option<Waker>>,
}

impl Alarm {
    fn set_place(&self, place: Option<usize>) {
        // Relaxed: the lock orders.
        self.place.store(place.unwrap_or(NO_PLACE), Ordering::Relaxed);
    }

    fn place(&self) -> Option<usize> {
        // Relaxed: the lock orders.
        let place = self.place.load(Ordering::Relaxed);
        (place != NO_PLACE).then_some(place)
    }

    /// Puts `waker` in the place of the one before, which is dropped outside the lock.
    fn exchange(&self, waker: Option<Waker>) -> Option<Waker> {
        let _entered = enter();
        core::mem::replace(&mut *self.waker.lock(), waker)
    }

    fn ring(&self, shared: &Shared) {
        let Some(waker) = self.exchange(None) else { return };
        match Waiter::try_from(waker) {
            Ok(waiter) => waiter.unpark_due(shared),
            // A waker of the user's: if it panics, the timers go on. What it panicked with may panic
            // again when dropped, so it stays.
            Err(waker) => {
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake())).map_err(core::mem::forget);
            }
        }
    }
}

/// Ready when a point in time has passed. Made by [`sleep_until`].
///
/// It is woken by the timer thread of the scheduler on which it is first polled, which must be polled by a
/// goroutine therefore: by a future of a scheduler, or `block_on` on a goroutine.
#[must_use = "a future does nothing unless it is polled"]
pub struct Sleep {
    deadline: u64,
    alarm: Option<(Arc<Alarm>, Arc<Shared>)>,
}

/// A future that is ready when `deadline` has passed.
///
/// ```
/// use sched_core::{Config, NoHooks, Scheduler, sleep_until};
/// # use std::sync::Arc;
/// use std::time::{Duration, Instant};
/// let scheduler = Scheduler::new(Config::default(), Arc::new(NoHooks))?;
/// let deadline = Instant::now() + Duration::from_millis(2);
/// let sleeper = scheduler.spawn_future(async move {
///     sleep_until(deadline).await;
///     Instant::now()
/// })?;
/// assert!(sleeper.join().unwrap() >= deadline);
/// # scheduler.shutdown(None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline: park::nanos(deadline), alarm: None }
}

impl Future for Sleep {
    type Output = ();

    /// # Panics
    ///
    /// If the first poll that has to wait is not on a goroutine.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if now() >= self.deadline {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        match &self.alarm {
            Some((alarm, _)) => drop(alarm.exchange(Some(waker))),
            None => {
                let shared = goroutine::with_own(|task| task.shared().arc()).expect(
                    "a sleep is awaited on a goroutine or in a future of a runtime: \
                     elsewhere there is no timer thread to wake it",
                );
                let place = AtomicUsize::new(NO_PLACE);
                let alarm = Arc::new(Alarm { place, waker: Lock::new(Some(waker)) });
                let sleeper = Sleeper::Future(Arc::clone(&alarm));
                shared.timers.add(self.deadline, sleeper);
                self.alarm = Some((alarm, shared));
            }
        }
        // After the exchange: an alarm that went off before it has woken the waker before.
        if now() >= self.deadline { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((alarm, shared)) = self.alarm.take() {
            let sleeper = shared.timers.cancel(|| alarm.place());
            drop((sleeper, alarm));
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("passed", &(now() >= self.deadline)).finish_non_exhaustive()
    }
}
