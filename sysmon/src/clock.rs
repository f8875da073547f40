//! Time, as the duties see it: a number that never goes back.
//!
//! Duties compare instants and nothing else, so an instant is a [`Duration`] since some origin of
//! the clock's own. [`SystemClock`] counts from its creation; [`ManualClock`] stands still until a
//! test moves it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A source of monotonic time.
///
/// ```
/// use std::time::Duration;
/// use sysmon::Clock;
///
/// /// A clock that goes twice as slow.
/// struct Half<C>(C);
///
/// impl<C: Clock> Clock for Half<C> {
///     fn now(&self) -> Duration {
///         self.0.now() / 2
///     }
/// }
///
/// let clock = sysmon::ManualClock::new();
/// clock.advance(Duration::from_secs(2));
/// assert_eq!(Half(clock).now(), Duration::from_secs(1));
/// ```
pub trait Clock {
    /// The time since this clock's origin. Never less than what an earlier call returned.
    fn now(&self) -> Duration;
}

/// The system's monotonic clock, counted from the value's creation.
///
/// ```
/// use sysmon::{Clock, SystemClock};
/// let clock = SystemClock::new();
/// let first = clock.now();
/// assert!(clock.now() >= first);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose origin is now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A clock that stands still until it is told to move. Clones show the same time.
///
/// ```
/// use std::time::Duration;
/// use sysmon::{Clock, ManualClock};
/// let clock = ManualClock::new();
/// let same = clock.clone();
/// clock.advance(Duration::from_millis(3));
/// assert_eq!(same.now(), Duration::from_millis(3));
/// ```
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    now: Rc<Cell<Duration>>,
}

impl ManualClock {
    /// A clock that shows zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the time forward by `by`.
    pub fn advance(&self, by: Duration) {
        self.now.set(self.now.get() + by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        self.now.get()
    }
}
