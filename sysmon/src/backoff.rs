//! When to look next.
//!
//! A look costs a wake-up of the monitor and some clock readings. While tasks wait for a processor
//! that a blocked worker may hold, short pauses pay; while nothing waits they only burn power.
//!
//! ```text
//!             waiting: double, up to 1 ms             nothing waits: double, up to 10 ms
//!              ┌──────┐                                ┌──────┐
//!   first      │      ▼                                │      ▼
//!  waiting ─► 250 µs … 1 ms ◄──── 250 µs ────────── 500 µs … 10 ms
//!              │      ▲                                      │
//!         take ▼      │ double                               ▼ nobody holds a processor
//!             20 µs ──┘                                sleep until woken
//! ```
//!
//! Go's monitor starts at 20 µs, keeps that for 50 idle rounds and doubles to 10 ms. Two looks are
//! needed here for a verdict, where Go needs one tick, but a look that takes something is followed
//! by one 20 µs later: blocked workers come in crowds.

use std::time::Duration;

use crate::limits::Limits;
use crate::machine::Pause;

/// The monitor's pause, adapted to what its looks found.
///
/// ```
/// use sysmon::{Backoff, Limits, Pause};
/// let mut backoff = Backoff::new(Limits::DEFAULT);
/// assert_eq!(backoff.next(true, 1, 0), Pause::For(Limits::DEFAULT.look));
/// assert_eq!(backoff.next(true, 1, 1), Pause::For(Limits::DEFAULT.after_take));
/// assert_eq!(backoff.next(false, 0, 0), Pause::UntilWoken);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    limits: Limits,
    pause: Duration,
    waited: bool,
}

impl Backoff {
    /// A back-off that starts with [`Limits::look`].
    pub fn new(limits: Limits) -> Self {
        Self { limits, pause: limits.look, waited: false }
    }

    /// The pause after a look that saw an `active` machine or an idle one, so many tasks
    /// `waiting`, and took so many processors.
    pub fn next(&mut self, active: bool, waiting: usize, taken: usize) -> Pause {
        if !active && waiting == 0 {
            *self = Self::new(self.limits);
            return Pause::UntilWoken;
        }
        let began_to_wait = waiting > 0 && !self.waited;
        self.waited = waiting > 0;
        let cap = if self.waited { self.limits.waiting_cap } else { self.limits.quiet_cap };
        self.pause = if taken > 0 {
            self.limits.after_take
        } else if began_to_wait {
            self.limits.look
        } else {
            (self.pause * 2).min(cap)
        };
        Pause::For(self.pause)
    }
}
