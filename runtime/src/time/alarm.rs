//! [`Timer`] and [`Ticker`]: points in time that can be waited for, put off and called off.
//!
//! # Problem
//!
//! Go's timers send into a channel. For ten years a timer that was stopped or reset could leave a stale
//! value there, and every user had to drain it; since 1.23 the channel seems unbuffered, which costs a lock,
//! a sequence number and a flag for "is sending".
//!
//! # How
//!
//! Nothing is sent. An alarm is a deadline under a lock. Whoever waits for it parks until that deadline,
//! as any wait with a deadline does, and when it has passed *takes* the fire, under the lock: of several
//! one gets it. So there is nothing that could be stale: what is taken is judged by the deadline of that
//! moment. Nobody's timer thread runs for an alarm for which nobody waits, and dropping one frees it.
//!
//! Those who wait lie in a list, beside the deadline. Stop and reset take them out and wake them; each
//! then looks again, and waits for the deadline of now.
//!
//! # Ticks
//!
//! A ticker's fire sets the next deadline a whole number of periods after the last: a receiver that is late
//! misses ticks, all in one step, and the rhythm stays (Go: `next = when + period·(1 + delay/period)`).

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use sched_core::entry;
use sched_core::lock::{Guard, Lock};
use sched_core::park::WaitReason;
use sched_core::sync::UnsafeCell;

use super::due::Due;
use crate::wait::{Later, List, Node, Ticket};

/// A deadline, and who waits for it.
pub(crate) struct Alarm {
    lock: Lock<()>,
    /// Guarded by `lock`; beside it, so that a `select!` can hold locks of one type.
    state: UnsafeCell<State>,
}

struct State {
    due: Due,
    period: Option<Duration>,
    waiters: List,
}

// SAFETY: the state is reached under the lock only.
unsafe impl Send for Alarm {}
// SAFETY: as above.
unsafe impl Sync for Alarm {}

// Nobody's code runs while it is changed, so a panic leaves it whole.
impl UnwindSafe for Alarm {}
impl RefUnwindSafe for Alarm {}

impl Alarm {
    fn new(due: Due, period: Option<Duration>) -> Self {
        let state = State { due, period, waiters: List::new() };
        Alarm { lock: Lock::new(()), state: UnsafeCell::new(state) }
    }

    pub(crate) fn lock(&self) -> &Lock<()> {
        &self.lock
    }

    /// # Safety
    ///
    /// The caller holds this alarm's lock as long as it uses the result, and has no other reference to
    /// the state.
    #[expect(clippy::mut_from_ref, reason = "the lock makes it unique")]
    unsafe fn state(&self, _held: &Guard<'_, ()>) -> &mut State {
        // SAFETY: unique by the caller's promise.
        self.state.with_mut(|state| unsafe { &mut *state })
    }

    /// Takes the fire, if the deadline has passed at `now`.
    pub(crate) fn take(&self, held: &Guard<'_, ()>, now: Instant) -> Option<Instant> {
        // SAFETY: the lock is held, and the reference ends with this function.
        let state = unsafe { self.state(held) };
        let deadline = state.due.deadline().filter(|deadline| *deadline <= now)?;
        state.due = state.period.map_or(Due::Off, |period| Due::next(deadline, period, now));
        Some(deadline)
    }

    /// When it fires, if it does.
    pub(crate) fn deadline(&self, held: &Guard<'_, ()>) -> Option<Instant> {
        self.due(held).deadline()
    }

    fn due(&self, held: &Guard<'_, ()>) -> Due {
        // SAFETY: as in `take`.
        unsafe { self.state(held) }.due
    }

    /// Appends `node` to those who wait.
    ///
    /// # Safety
    ///
    /// As `List::push_back`, with `held` as the lock.
    pub(crate) unsafe fn queue(&self, held: &Guard<'_, ()>, node: &Node) {
        // SAFETY: the lock is held, and the caller keeps the node in place.
        unsafe { self.state(held).waiters.push_back(node) };
    }

    /// Takes `node` out again, if it is still in.
    ///
    /// # Safety
    ///
    /// As `List::remove`, with `held` as the lock.
    pub(crate) unsafe fn unqueue(&self, held: &Guard<'_, ()>, node: &Node) {
        // SAFETY: the lock is held; the node was queued here and nowhere else.
        unsafe { self.state(held).waiters.remove(node) };
    }

    /// Sets it anew, and has all who wait look again. Returns whether it was set before, and had not fired.
    fn set(&self, due: Due, period: Option<Duration>) -> bool {
        let inside = entry::enter();
        let held = self.lock.lock();
        // SAFETY: the lock is held; the reference ends before it is given up.
        let state = unsafe { self.state(&held) };
        let before = std::mem::replace(&mut state.due, due);
        state.period = period;
        // SAFETY: the lock is held.
        let waiters = unsafe { state.waiters.claim_all() };
        drop(held);
        let later = waiters.map(|waiters| waiters.finish(false));
        drop(inside);
        later.into_iter().for_each(Later::wake);
        before != Due::Off
    }

    /// Waits for the fire, and takes it. For ever, if it was stopped and nobody resets it.
    fn wait(&self) -> Instant {
        loop {
            let ticket = Ticket::new();
            let node = Node::new(&ticket, 0, std::ptr::null_mut());
            let now = Instant::now();
            let deadline = {
                let _inside = entry::enter();
                let held = self.lock.lock();
                if let Some(fired) = self.take(&held, now) {
                    return fired;
                }
                // SAFETY: the lock is held; ticket and node stay on this frame until the ticket is done,
                // or withdrawn and the node removed.
                unsafe { self.queue(&held, &node) };
                self.deadline(&held)
            };
            let outcome = match deadline {
                Some(deadline) => ticket.wait_until(WaitReason::Sleep, deadline),
                None => Some(ticket.wait(WaitReason::Sleep)),
            };
            if outcome.is_none() {
                let _inside = entry::enter();
                let held = self.lock.lock();
                // SAFETY: the lock is held; the node was queued in this list and no other.
                unsafe { self.unqueue(&held, &node) };
            }
        }
    }

    fn try_take(&self) -> Option<Instant> {
        let now = Instant::now();
        let _inside = entry::enter();
        let held = self.lock.lock();
        self.take(&held, now)
    }
}

/// A point in time that fires once. It can be put off and called off, and waited for by [`wait`](Self::wait)
/// or in a [`select!`](crate::select!), by several at once: one of them gets the fire.
///
/// A fire is taken by whoever waits or asks after the deadline, never stored: after a
/// [`stop`](Self::stop) or [`reset`](Self::reset) nobody gets one of before.
///
/// ```
/// use runtime::{chan, select, time::Timer};
/// use std::time::Duration;
///
/// let timer = Timer::new(Duration::from_millis(2));
/// let (_tx, rx) = chan::rendezvous::<()>();
/// let woken = select! {
///     recv(&rx) -> _ => "a value",
///     timer(&timer) -> _ => "the timer",
/// };
/// assert_eq!(woken, "the timer");
/// assert!(!timer.stop(), "it has fired");
/// ```
pub struct Timer(Alarm);

/// A point in time that comes again and again. See [`Timer`] for how it is waited for.
///
/// A receiver that is late misses ticks; the others stay on time.
///
/// ```
/// use runtime::time::Ticker;
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let ticker = Ticker::new(Duration::from_millis(1));
/// let third = (0..3).map(|_| ticker.wait()).last().unwrap();
/// assert!(third >= start + Duration::from_millis(3));
/// ```
pub struct Ticker(Alarm);

/// A timer that fires in `span` from now; see [`Timer::new`].
///
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// let fired = runtime::time::after(Duration::from_millis(1)).wait();
/// assert!(fired >= start + Duration::from_millis(1));
/// ```
pub fn after(span: Duration) -> Timer {
    Timer::new(span)
}

impl Timer {
    /// A timer that fires in `span` from now. One
    /// [beyond the end of the clock](crate::time#beyond-the-end-of-the-clock) is set, and never fires: who waits
    /// for it waits for ever.
    ///
    /// ```
    /// use runtime::time::Timer;
    /// use std::time::Duration;
    /// let timer = Timer::new(Duration::MAX);
    /// assert!(timer.try_wait().is_none());
    /// assert!(timer.stop(), "it was set");
    /// assert!(!timer.stop(), "and is not any more");
    /// ```
    pub fn new(span: Duration) -> Self {
        Timer(Alarm::new(Due::after(span), None))
    }

    /// A timer that fires at `deadline`.
    ///
    /// ```
    /// use runtime::time::Timer;
    /// use std::time::Instant;
    /// let now = Instant::now();
    /// assert_eq!(Timer::at(now).wait(), now);
    /// ```
    pub fn at(deadline: Instant) -> Self {
        Timer(Alarm::new(Due::At(deadline), None))
    }

    /// Waits until it fires, and gives the time for which it was set. Parks the goroutine, or blocks the
    /// thread; for ever, if it has fired before or was stopped, and nobody resets it.
    pub fn wait(&self) -> Instant {
        self.0.wait()
    }

    /// Takes the fire if the time has come.
    ///
    /// ```
    /// use runtime::time::Timer;
    /// use std::time::{Duration, Instant};
    /// assert!(Timer::at(Instant::now()).try_wait().is_some());
    /// assert!(Timer::new(Duration::from_secs(60)).try_wait().is_none());
    /// ```
    pub fn try_wait(&self) -> Option<Instant> {
        self.0.try_take()
    }

    /// Calls it off. True if it was set, and its fire had not been taken: nobody gets that one any more. False
    /// if there was nothing to call off, as its fire had been taken, or it was stopped before, and nobody has
    /// [reset](Self::reset) it since. Nobody who waits is told; they wait on.
    ///
    /// ```
    /// use runtime::time::Timer;
    /// use std::time::Duration;
    /// let timer = Timer::new(Duration::ZERO);
    /// assert!(timer.stop(), "its time has come, but nobody has taken it");
    /// assert!(timer.try_wait().is_none());
    /// assert!(!timer.stop());
    /// ```
    pub fn stop(&self) -> bool {
        self.0.set(Due::Off, None)
    }

    /// Sets it to fire in `span` from now, whether it has fired or not. True if this takes the place of a
    /// fire that had not been taken, as [`stop`](Self::stop) says it. Those who wait wait for the new time;
    /// one beyond the end of the clock is as in [`new`](Self::new).
    ///
    /// ```
    /// use runtime::time::Timer;
    /// use std::time::Duration;
    /// let timer = Timer::new(Duration::from_secs(60));
    /// assert!(timer.reset(Duration::from_millis(1)));
    /// timer.wait();
    /// assert!(!timer.reset(Duration::ZERO));
    /// assert!(timer.try_wait().is_some());
    /// ```
    pub fn reset(&self, span: Duration) -> bool {
        self.0.set(Due::after(span), None)
    }

    pub(crate) fn alarm(&self) -> &Alarm {
        &self.0
    }
}

impl Ticker {
    /// Ticks every `period` from now on.
    ///
    /// # Panics
    ///
    /// If the period is zero.
    pub fn new(period: Duration) -> Self {
        let ticker = Ticker(Alarm::new(Due::Off, None));
        ticker.reset(period);
        ticker
    }

    /// Waits for the next tick, and gives the time for which it was set.
    pub fn wait(&self) -> Instant {
        self.0.wait()
    }

    /// Takes the tick that has come, if one has.
    pub fn try_wait(&self) -> Option<Instant> {
        self.0.try_take()
    }

    /// No tick comes any more, before a reset.
    pub fn stop(&self) {
        self.0.set(Due::Off, None);
    }

    /// Ticks every `period` from now on.
    ///
    /// # Panics
    ///
    /// If the period is zero.
    pub fn reset(&self, period: Duration) {
        assert!(!period.is_zero(), "a ticker needs a period");
        self.0.set(Due::after(period), Some(period));
    }

    pub(crate) fn alarm(&self) -> &Alarm {
        &self.0
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let due = {
            let _inside = entry::enter();
            let held = self.lock.lock();
            self.due(&held)
        };
        f.debug_struct("Alarm").field("due", &due).finish_non_exhaustive()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timer").field(&self.0).finish()
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticker").field(&self.0).finish()
    }
}
