//! How late a ticker was, recorded by the ticker and read by a thread outside the scheduler.
//!
//! The reader must not depend on the scheduler under test: a frozen ticker says nothing. So the
//! ticker announces its next deadline before it sleeps, and when the time is over the reader
//! counts a deadline that has passed unanswered as one more, unfinished, tick.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use harness::{Request, stats};

/// The ticker's record. The lock is held for a few instructions, once per tick.
#[derive(Debug, Default)]
pub struct Ticks {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    recording: bool,
    lateness: Vec<Duration>,
    next: Option<Instant>,
}

impl Ticks {
    /// The ticker is about to sleep until `deadline`.
    pub fn expect(&self, deadline: Instant) {
        self.state.lock().unwrap().next = Some(deadline);
    }

    /// The ticker runs again.
    pub fn woke(&self) {
        let mut state = self.state.lock().unwrap();
        let late = state.next.take().map(|deadline| deadline.elapsed());
        if state.recording {
            state.lateness.extend(late);
        }
    }

    /// Records for `time`, asleep on the calling thread.
    pub fn record_for(&self, time: Duration) -> Lateness {
        {
            let mut state = self.state.lock().unwrap();
            state.lateness.reserve(time.as_millis() as usize * 2);
            state.recording = true;
        }
        thread::sleep(time);
        let mut state = self.state.lock().unwrap();
        state.recording = false;
        let mut sorted = std::mem::take(&mut state.lateness);
        let ticks = sorted.len();
        sorted.extend(state.next.map(|deadline| deadline.elapsed()).filter(|late| !late.is_zero()));
        sorted.sort();
        Lateness { sorted, ticks }
    }
}

/// What was recorded.
#[derive(Debug)]
pub struct Lateness {
    sorted: Vec<Duration>,
    ticks: usize,
}

impl Lateness {
    /// Prints median, 99th percentile, maximum and the rate. A ticker is called frozen if its
    /// longest silence is more than half of the time.
    pub fn report(&self, request: &Request, time: Duration) {
        let milliseconds = |q| {
            let late = stats::quantile(&self.sorted, q).unwrap_or(time);
            late.as_secs_f64() * 1e3
        };
        let frozen = milliseconds(1.0) > time.as_secs_f64() * 1e3 / 2.0;
        for (metric, q) in [("late p50", 0.5), ("late p99", 0.99), ("late max", 1.0)] {
            if frozen {
                request.report_noted(metric, "ms", milliseconds(q), "frozen");
            } else {
                request.report(metric, "ms", milliseconds(q));
            }
        }
        let each = time.as_secs_f64() * 1e3 / self.ticks.max(1) as f64;
        request.report("time per tick", "ms", each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticker_that_never_returns_is_as_late_as_its_deadline_is_old() {
        let ticks = Ticks::default();
        ticks.expect(Instant::now());
        let time = Duration::from_millis(5);
        let lateness = ticks.record_for(time);
        assert_eq!((lateness.ticks, lateness.sorted.len()), (0, 1));
        assert!(lateness.sorted[0] >= time);
    }

    #[test]
    fn ticks_before_the_recording_do_not_count() {
        let ticks = Ticks::default();
        ticks.expect(Instant::now());
        ticks.woke();
        assert_eq!(ticks.record_for(Duration::ZERO).sorted, []);
    }
}
