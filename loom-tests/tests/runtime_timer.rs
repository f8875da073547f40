//! Timers: a fire is taken once, never after a stop or a reset, and who waits hears of a reset (R2).
//!
//! A deadline of a model has passed or never does: an hour is for ever.
#![cfg(loom)]

use std::time::{Duration, Instant};

use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
use runtime::time::Timer;

const HOUR: Duration = Duration::from_secs(3600);

fn due() -> Arc<Timer> {
    Arc::new(Timer::at(Instant::now()))
}

/// Of two that ask after the deadline one gets the fire.
#[test]
fn a_fire_is_taken_once() {
    model("a_fire_is_taken_once", 3, || {
        let timer = due();
        let other = {
            let timer = timer.clone();
            thread::spawn(move || timer.try_wait().is_some())
        };
        let one = timer.try_wait().is_some();
        assert!(one != other.join().unwrap(), "one of them");
    });
}

/// A stop that says that it had not fired is believed: nobody gets it, and only one stop says so.
#[test]
fn a_stop_or_a_fire() {
    model("a_stop_or_a_fire", 2, || {
        let timer = due();
        let [stopper, taker] =
            [Timer::stop, |timer: &Timer| timer.try_wait().is_some()].map(|act| {
                let timer = timer.clone();
                thread::spawn(move || act(&timer))
            });
        let ends = [timer.stop(), stopper.join().unwrap(), taker.join().unwrap()];
        assert_eq!(ends.iter().filter(|end| **end).count(), 1, "{ends:?}");
        assert!(timer.try_wait().is_none());
    });
}

/// A timer that is put off while it is due: the fire was taken before, or there is none.
#[test]
fn no_fire_of_before_a_reset() {
    model("no_fire_of_before_a_reset", 3, || {
        let timer = due();
        let taker = {
            let timer = timer.clone();
            thread::spawn(move || timer.try_wait().is_some())
        };
        let called_off = timer.reset(HOUR);
        assert!(timer.try_wait().is_none(), "an hour has not passed");
        assert!(called_off != taker.join().unwrap());
    });
}

/// Who waits for a far deadline is told of a nearer one.
#[test]
fn who_waits_hears_of_a_reset() {
    model("who_waits_hears_of_a_reset", 3, || {
        let timer = Arc::new(Timer::new(HOUR));
        let waiter = {
            let timer = timer.clone();
            thread::spawn(move || timer.wait())
        };
        assert!(timer.reset(Duration::ZERO));
        waiter.join().unwrap();
        assert!(!timer.stop(), "it has fired");
    });
}
