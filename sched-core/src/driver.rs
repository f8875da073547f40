//! The thread that waits for deadlines.
//!
//! # Problem
//!
//! If timers are looked at between goroutines, a sleeper is late by whatever runs (Go's ticker
//! beside eight hogs: 19 ms). So one thread that holds no P sleeps until the earliest deadline of
//! all, and hands what is due to the scheduler, which finds it a P at once.
//!
//! # Algorithm
//!
//! Heap, *look*, *armed* and *stopping* are under one lock. The thread:
//!
//! 1. under the lock: takes out what is due, up to a batch, and hands each on without the lock; then has
//!    the scheduler settle what the batch as a whole needs;
//! 2. when nothing is due, still under the lock: sets *armed* to the earliest deadline, and reads
//!    the turn;
//! 3. sleeps on the turn's futex while it has not changed, until *armed*.
//!
//! Whoever adds a deadline earlier than *armed* advances the turn under the lock, and wakes the
//! thread after it. *armed* is 0 while the thread is up, so nobody wakes it then.
//!
//! # Many deadlines
//!
//! A hundred thousand sleepers have a deadline every microsecond, and a sleep that ends for each of them
//! costs two switches. So the thread does not get up twice within 50 µs (`GRAIN`): if the next deadline is nearer
//! to its last batch than that it sleeps until then, and *armed* says that it is up: it will look by
//! itself before anybody is late by more. A deadline that comes alone is not delayed.
//!
//! # Why no deadline is missed
//!
//! An addition is under the lock either before step 2, and then *armed* takes it into account; or
//! after it, and then it compares with the *armed* of this sleep. If it is earlier it advances the
//! turn, which step 2 has read already: step 3 finds it changed, or sleeps and is woken.
//!
//! # The look
//!
//! The scheduler has something of its own to wait for: a P that was not to be had at once. It asks for
//! a *look* at a point in time ([`Driver::look_at`]). There is one such deadline, the earliest that was
//! asked for, with a place beside the heap: were it an entry of the heap, it would find no room when as
//! many goroutines sleep as there are places, and nobody would see to the Ps that wait for a thread.
//!
//! *look* is cleared under the lock and before the look is made. So whoever publishes something and then
//! asks comes before the clearing, and is seen by the look, or after it, and gets another one.
//!
//! # Source
//!
//! Go's `findRunnable` with `netpoll(delay)` and `wakeNetPoller` (`proc.go`); there the waiting M is
//! whichever ran out of work last. The futex takes an absolute time in nanoseconds; the thread asks
//! the kernel for the smallest timer slack. Model: `loom-tests/tests/sched_timer.rs`.

use core::{fmt, mem};

use crate::lock::{Guard, Lock};
use crate::sync::{Futex, Ordering, scaled, sharpen_timers};
use crate::timer::{Storage, Timed, Timers};

/// What is handed on at once, at most.
const BATCH: usize = scaled(32, 2);

/// Nanoseconds between two batches, if the second can wait so long.
const GRAIN: u64 = scaled(50_000, 0) as u64;

/// No deadline: sleep until told.
const NEVER: u64 = u64::MAX;
/// The thread is not asleep, and will look by itself.
const UP: u64 = 0;

/// The timers of one scheduler, and where their thread sleeps.
///
/// ```
/// use std::sync::{Arc, Mutex, atomic::{AtomicUsize, Ordering}};
/// use sched_core::driver::{Driver, Due};
/// use sched_core::sync::now;
/// use sched_core::timer::{Storage, Timed};
///
/// struct Alarm(AtomicUsize);
/// impl Timed for Alarm {
///     fn set_place(&self, place: Option<usize>) {
///         self.0.store(place.unwrap_or(usize::MAX), Ordering::Relaxed);
///     }
/// }
///
/// let driver = Driver::new(Storage::new(8));
/// let fired = Mutex::new(0);
/// std::thread::scope(|scope| {
///     scope.spawn(|| driver.run(now, |due: Due<Arc<Alarm>>| {
///         assert!(matches!(due, Due::Item(_)));
///         *fired.lock().unwrap() += 1;
///         driver.stop();
///     }, || (), || ()));
///     let alarm = Arc::new(Alarm(AtomicUsize::new(usize::MAX)));
///     assert!(driver.add(now() + 1_000, alarm).is_ok());
/// });
/// assert_eq!(fired.into_inner().unwrap(), 1);
/// ```
pub struct Driver<T: Timed> {
    desk: Lock<Desk<T>>,
    /// How often the thread was told to look again. Advanced under the lock.
    turn: Futex,
}

struct Desk<T: Timed> {
    timers: Timers<T>,
    /// When the scheduler wants a look; [`NEVER`] if it does not.
    look: u64,
    /// Until when the thread sleeps; [`UP`] while it does not.
    armed: u64,
    /// The thread has taken an item out, and may not have handed it on yet.
    in_hand: bool,
    stopping: bool,
}

/// What has come due.
#[derive(Debug)]
pub enum Due<T> {
    /// The deadline of an item.
    Item(T),
    /// A look that somebody asked for.
    Look,
}

/// What the thread does next.
enum Step<T> {
    Fire([Option<Due<T>>; BATCH]),
    Sleep { turn: u32, until: u64 },
    Stop,
}

impl<T: Timed> Driver<T> {
    /// No timers, in `storage`. Nothing fires before a thread [`run`](Self::run)s it.
    pub fn new(storage: Storage<T>) -> Self {
        let timers = Timers::new(storage);
        let desk = Desk { timers, look: NEVER, armed: UP, in_hand: false, stopping: false };
        Self { desk: Lock::new(desk), turn: Futex::new(0) }
    }

    /// Adds `item`, which fires at `deadline` or soon after; gives it back if there is no room.
    pub fn add(&self, deadline: u64, item: T) -> Result<(), T> {
        let mut desk = self.desk.lock_patiently();
        desk.timers.insert(deadline, item)?;
        self.announce(desk, deadline);
        Ok(())
    }

    /// Asks for a look at `at`, or earlier if somebody else did. It needs no room.
    pub fn look_at(&self, at: u64) {
        let mut desk = self.desk.lock();
        desk.look = desk.look.min(at);
        self.announce(desk, at);
    }

    /// There is a new deadline: the thread gets up if it sleeps for a later one.
    fn announce(&self, mut desk: Guard<'_, Desk<T>>, deadline: u64) {
        let earlier = deadline < desk.armed;
        if earlier {
            desk.armed = UP;
            self.advance();
        }
        drop(desk);
        if earlier {
            self.turn.wake(1);
        }
    }

    /// Takes an item out before it fires. `place` reads what [`Timed::set_place`] stored; it is
    /// called under the lock.
    ///
    /// `None`: it was handed out already, and its callback may be running. The thread is not told:
    /// at worst it wakes once for nothing.
    pub fn cancel(&self, place: impl FnOnce() -> Option<usize>) -> Option<T> {
        let mut desk = self.desk.lock_patiently();
        let place = place()?;
        Some(desk.timers.cancel(place))
    }

    /// How many timers there are, and how many there can be.
    pub fn occupancy(&self) -> (usize, usize) {
        let desk = self.desk.lock();
        (desk.timers.len(), desk.timers.places())
    }

    /// Whether anything is to fire, or is being fired: what was taken out has not woken anybody yet.
    pub fn any(&self) -> bool {
        let desk = self.desk.lock();
        desk.in_hand || !desk.timers.is_empty()
    }

    /// Gives the timers more room. The storage that comes back is freed by the caller, outside.
    pub fn enlarge(&self, storage: Storage<T>) -> Storage<T> {
        self.desk.lock().timers.enlarge(storage)
    }

    /// The body of the thread: hands each item and each look to `fire` when `clock` has reached its
    /// deadline, until [`stop`](Self::stop); calls `settle` after some, and `rest` when nothing is due any more and it is
    /// about to sleep: from then on [`any`](Self::any) does not count what it has fired. All are called without the lock.
    pub fn run(
        &self,
        clock: impl Fn() -> u64,
        mut fire: impl FnMut(Due<T>),
        mut settle: impl FnMut(),
        mut rest: impl FnMut(),
    ) {
        sharpen_timers();
        let (mut last, mut fired) = (0, false);
        loop {
            match self.next(&clock, &mut last) {
                Step::Fire(batch) => {
                    batch.into_iter().flatten().for_each(&mut fire);
                    settle();
                    fired = true;
                }
                Step::Sleep { turn, until } => {
                    if mem::take(&mut fired) {
                        rest();
                    }
                    self.turn.wait(turn, (until != NEVER).then_some(until));
                }
                Step::Stop => return,
            }
        }
    }

    /// `last`: when something was due for the last time.
    fn next(&self, clock: &impl Fn() -> u64, last: &mut u64) -> Step<T> {
        let mut desk = self.desk.lock();
        desk.in_hand = false;
        if desk.stopping {
            return Step::Stop;
        }
        desk.armed = UP;
        let now = clock();
        let mut look = None;
        if desk.look <= now {
            desk.look = NEVER;
            look = Some(Due::Look);
        }
        let mut due = look.into_iter().chain(core::iter::from_fn(|| {
            let item = desk.timers.pop_due(now)?;
            Some(Due::Item(item))
        }));
        let batch: [_; BATCH] = core::array::from_fn(|_| due.next());
        drop(due);
        if batch[0].is_some() {
            // A look wakes nobody of its own accord, and whoever asks is not told when it is over.
            desk.in_hand = batch.iter().any(|due| matches!(due, Some(Due::Item(_))));
            *last = now;
            return Step::Fire(batch);
        }
        desk.armed = desk.timers.earliest().unwrap_or(NEVER).min(desk.look);
        // Relaxed: advanced under the lock, which is held.
        let turn = self.turn.word().load(Ordering::Relaxed);
        let until = desk.armed.max(last.saturating_add(GRAIN));
        if until > desk.armed {
            desk.armed = UP;
        }
        Step::Sleep { turn, until }
    }

    /// Takes out the item with the earliest deadline, whenever that is: for who ends those that have not fired.
    ///
    /// ```
    /// use sched_core::driver::Driver;
    /// use sched_core::timer::{Storage, Timed};
    ///
    /// struct Alarm(&'static str);
    /// impl Timed for Alarm {
    ///     fn set_place(&self, _: Option<usize>) {}
    /// }
    /// let driver = Driver::new(Storage::new(2));
    /// assert!(driver.add(u64::MAX, Alarm("never")).is_ok());
    /// assert!(driver.add(7, Alarm("early")).is_ok());
    /// assert_eq!(driver.take().map(|alarm| alarm.0), Some("early"));
    /// assert_eq!(driver.take().map(|alarm| alarm.0), Some("never"));
    /// assert!(driver.take().is_none());
    /// ```
    pub fn take(&self) -> Option<T> {
        self.desk.lock().timers.pop_due(u64::MAX)
    }

    /// Ends [`run`](Self::run). What has not fired stays, for [`take`](Self::take).
    pub fn stop(&self) {
        let mut desk = self.desk.lock();
        desk.stopping = true;
        self.advance();
        drop(desk);
        self.turn.wake(1);
    }

    /// Makes a sleep that begins or has begun end. Called under the lock.
    fn advance(&self) {
        // Relaxed: the futex compares it atomically; everything else is under the lock.
        self.turn.word().fetch_add(1, Ordering::Relaxed);
    }
}

impl<T: Timed> fmt::Debug for Driver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::now;
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::sync::{Arc, mpsc};

    struct Alarm {
        id: u64,
        place: AtomicUsize,
    }

    impl Alarm {
        fn new(id: u64) -> Arc<Self> {
            Arc::new(Self { id, place: AtomicUsize::new(usize::MAX) })
        }

        fn place(&self) -> Option<usize> {
            let place = self.place.load(Ordering::Relaxed);
            (place != usize::MAX).then_some(place)
        }
    }

    impl Timed for Alarm {
        fn set_place(&self, place: Option<usize>) {
            self.place.store(place.unwrap_or(usize::MAX), Ordering::Relaxed);
        }
    }

    fn item(due: Due<Arc<Alarm>>) -> Arc<Alarm> {
        match due {
            Due::Item(alarm) => alarm,
            Due::Look => panic!("nobody asked for a look"),
        }
    }

    #[test]
    fn alarms_fire_in_order_and_not_before_their_time() {
        let driver = Driver::new(Storage::new(8));
        let (sent, fired) = mpsc::channel();
        let start = now();
        // However long that takes, nothing is due before all are added.
        let added = AtomicBool::new(false);
        let clock = || if added.load(Ordering::Relaxed) { now() } else { start };
        let fired: Vec<(u64, u64)> = std::thread::scope(|scope| {
            scope.spawn(|| {
                driver.run(clock, |due| sent.send((item(due).id, now())).unwrap(), || (), || ());
            });
            for offset in [3_000_000, 1_000_000, 2_000_000] {
                assert!(driver.add(start + offset, Alarm::new(offset)).is_ok());
            }
            added.store(true, Ordering::Relaxed);
            let fired = fired.iter().take(3).collect();
            driver.stop();
            fired
        });
        assert!(fired.iter().all(|&(id, at)| at >= start + id), "fired before its time");
        assert_eq!(
            fired.iter().map(|&(id, _)| id).collect::<Vec<_>>(),
            [1_000_000, 2_000_000, 3_000_000]
        );
    }

    #[test]
    fn a_cancelled_alarm_does_not_fire() {
        let driver = Driver::new(Storage::new(8));
        let (early, late) = (Alarm::new(1), Alarm::new(2));
        assert!(driver.add(1, early.clone()).is_ok() && driver.add(2, late).is_ok());
        assert!(driver.cancel(|| early.place()).is_some());
        assert!(driver.cancel(|| early.place()).is_none());
        let mut fired = Vec::new();
        driver.run(
            now,
            |due| {
                fired.push(item(due).id);
                driver.stop();
            },
            || (),
            || (),
        );
        assert_eq!(fired, [2]);
    }

    #[test]
    fn what_is_being_fired_is_not_gone_yet() {
        let driver = Driver::new(Storage::new(8));
        assert!(!driver.any());
        assert!(driver.add(1, Alarm::new(1)).is_ok());
        assert!(driver.any());
        let fire = |_| assert!(driver.any() && driver.occupancy().0 == 0);
        let rest = || {
            assert!(!driver.any());
            driver.stop();
        };
        driver.run(now, fire, || assert!(driver.any()), rest);
        assert!(!driver.any());
    }

    #[test]
    fn a_look_is_no_deadline() {
        let driver: Driver<Arc<Alarm>> = Driver::new(Storage::new(1));
        driver.look_at(1);
        assert!(!driver.any());
        driver.run(now, |_| assert!(!driver.any()), || driver.stop(), || ());
    }

    #[test]
    fn a_look_needs_no_room_and_the_earliest_counts() {
        let driver = Driver::new(Storage::new(1));
        let start = now();
        assert!(driver.add(start + 3_600_000_000_000, Alarm::new(1)).is_ok());
        assert!(driver.add(start, Alarm::new(2)).is_err(), "the heap is full");
        driver.look_at(start + 3_600_000_000_000);
        driver.look_at(start + 1_000_000);
        driver.look_at(start + 3_600_000_000_000);
        let mut looks = 0;
        driver.run(
            now,
            |due| {
                assert!(matches!(due, Due::Look) && now() >= start + 1_000_000);
                looks += 1;
                driver.stop();
            },
            || (),
            || (),
        );
        assert_eq!(looks, 1);
    }
}
