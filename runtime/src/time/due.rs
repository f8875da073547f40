//! [`Due`]: for when an alarm is set, and when a ticker's next tick is.

use std::time::{Duration, Instant};

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// For when an alarm is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    At(Instant),
    /// For a time beyond the end of the clock: it is set, and never fires.
    Never,
    /// For none: its fire has been taken, or it was called off.
    Off,
}

impl Due {
    /// In `span` from now.
    pub(super) fn after(span: Duration) -> Self {
        Due::of(Instant::now().checked_add(span))
    }

    /// The first time after `now` that is a whole number of periods after `last`, which has come.
    pub(super) fn next(last: Instant, period: Duration, now: Instant) -> Self {
        // One step, however many periods were missed: a whole number of them is more than any type holds.
        let over = now.duration_since(last).as_nanos() % period.as_nanos();
        // Neither cast cuts off: less than a period is a `Duration`.
        let over =
            Duration::new((over / NANOS_PER_SECOND) as u64, (over % NANOS_PER_SECOND) as u32);
        Due::of(now.checked_add(period - over))
    }

    /// `None` is beyond the end of the clock.
    fn of(deadline: Option<Instant>) -> Self {
        deadline.map_or(Due::Never, Due::At)
    }

    /// When it fires, if it does.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Due::At(deadline) => Some(deadline),
            Due::Never | Due::Off => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: Duration = Duration::from_nanos(1);
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

    #[test]
    fn the_next_tick_is_after_now_by_a_period_at_most_and_in_rhythm() {
        let last = Instant::now();
        let periods = [NS, 3 * NS, Duration::from_millis(7), Duration::new(5, 999_999_999), YEAR];
        let lates = [Duration::ZERO, NS, 2 * NS, Duration::from_secs(9), 100 * YEAR];
        for (period, late) in periods.into_iter().flat_map(|p| lates.map(|late| (p, late))) {
            let now = last + late;
            let Due::At(next) = Due::next(last, period, now) else {
                panic!("{period:?} after {late:?} is beyond the end of the clock")
            };
            assert!(next > now && next <= now + period, "{period:?}, {late:?}");
            let since = next.duration_since(last).as_nanos();
            assert_eq!(since % period.as_nanos(), 0, "{period:?}, {late:?}");
        }
    }

    #[test]
    fn nine_seconds_of_nanoseconds_are_missed_in_one_step() {
        let last = Instant::now();
        let now = last + Duration::from_secs(9);
        assert_eq!(Due::next(last, NS, now), Due::At(now + NS));
    }

    #[test]
    fn a_tick_beyond_the_end_of_the_clock_never_comes() {
        let last = Instant::now();
        assert_eq!(Due::next(last, Duration::MAX, last + NS), Due::Never);
        assert_eq!(Due::after(Duration::MAX), Due::Never);
        assert_eq!(Due::Never.deadline(), None);
    }
}
