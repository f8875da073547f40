//! [`Sleep`]: a point in time as a future.
//!
//! A goroutine that sleeps hands itself to the timer thread (`timers`). A future hands an *alarm*: the
//! place of its waker, and its own place in the heap of deadlines. The alarm is shared by the future and
//! the heap; whoever takes it out of the heap drops the heap's share outside the runtime.
//!
//! A poll exchanges the waker in the alarm, under its lock, unless it has rung: so the waker is woken, or the
//! poll sees that it will not be.
//!
//! # A scheduler that ends
//!
//! It may end before the deadline, when the future was taken elsewhere after its first poll. Its timer thread
//! rings all alarms that are left, as the last thing it does. A poll that finds its alarm rung before the
//! deadline hands a new one to the timer thread of the scheduler where it is polled now.

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
    /// Whom to wake. `None`: it has rung.
    waker: Lock<Option<Waker>>,
}

impl Alarm {
    fn new(waker: Waker) -> Self {
        Self { place: AtomicUsize::new(NO_PLACE), waker: Lock::new(Some(waker)) }
    }

    fn set_place(&self, place: Option<usize>) {
        // Relaxed: the lock orders.
        self.place.store(place.unwrap_or(NO_PLACE), Ordering::Relaxed);
    }

    fn place(&self) -> Option<usize> {
        // Relaxed: the lock orders.
        let place = self.place.load(Ordering::Relaxed);
        (place != NO_PLACE).then_some(place)
    }

    /// Puts `waker` in the place of the one before, which is given back, to be dropped outside the lock. If it
    /// has rung, `waker` is.
    fn renew(&self, waker: Waker) -> Result<Waker, Waker> {
        let _entered = enter();
        match &mut *self.waker.lock() {
            Some(before) => Ok(core::mem::replace(before, waker)),
            None => Err(waker),
        }
    }

    fn take(&self) -> Option<Waker> {
        let _entered = enter();
        self.waker.lock().take()
    }

    fn ring(&self, shared: &Shared) {
        let Some(waker) = self.take() else { return };
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
/// It is woken by the timer thread of the scheduler on which it is first polled, so that poll must be on a
/// goroutine: in a future of a scheduler, or in `block_on` on a goroutine. Later ones may be anywhere. If that
/// scheduler ends before the deadline, the sleep is polled once more, and goes on with the scheduler on which
/// that happens.
#[must_use = "a future does nothing unless it is polled"]
pub struct Sleep {
    deadline: u64,
    alarm: Option<(Arc<Alarm>, Arc<Shared>)>,
}

/// A future that is ready when `deadline` has passed. It may be taken from one scheduler to another, and sleeps
/// on when the first one ends.
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
    /// If it has to wait and is polled elsewhere than on a goroutine, for the first time, or for the first time
    /// after the end of the scheduler that was to wake it.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if now() >= self.deadline {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let waker = match &self.alarm {
            Some((alarm, _)) => match alarm.renew(waker) {
                Ok(_before) => return Poll::Pending,
                Err(waker) => waker,
            },
            None => waker,
        };
        // After the look at the alarm: one that has rung did so after its deadline, or at the end of its
        // scheduler.
        if now() >= self.deadline {
            return Poll::Ready(());
        }
        self.set_alarm(waker);
        Poll::Pending
    }
}

impl Sleep {
    /// Has `waker` woken by the scheduler on which the caller runs.
    fn set_alarm(&mut self, waker: Waker) {
        let shared = goroutine::with_own(|task| task.shared().arc()).expect(
            "a sleep is awaited on a goroutine or in a future of a runtime: elsewhere there is no timer \
             thread to wake it, nor has a runtime one that has ended since the sleep was polled there",
        );
        let alarm = Arc::new(Alarm::new(waker));
        shared.timers.add(self.deadline, Sleeper::Future(Arc::clone(&alarm)));
        self.alarm = Some((alarm, shared));
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((alarm, shared)) = self.alarm.take() {
            let sleeper = shared.timers.cancel(|| alarm.place());
            drop((sleeper, alarm));
            shared.deadline_gone();
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("passed", &(now() >= self.deadline)).finish_non_exhaustive()
    }
}
