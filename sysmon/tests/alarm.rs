//! The monitor's sleep is cut short by a ring, and a ring is never lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sysmon::{Alarm, Pause, Wake};

#[test]
fn a_ring_ends_an_endless_sleep_each_time() {
    const ROUNDS: usize = 20_000;
    let (alarm, posted, seen) = (Alarm::new(), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                while posted.load(Ordering::Relaxed) < round {
                    let active = || posted.load(Ordering::Relaxed) >= round;
                    assert_eq!(alarm.wait(Pause::UntilWoken, active), Wake::Look);
                }
                seen.store(round, Ordering::Relaxed);
            }
        });
        for round in 1..=ROUNDS {
            posted.store(round, Ordering::Relaxed);
            alarm.ring();
            while seen.load(Ordering::Relaxed) < round {
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn stop_is_for_good_and_reaches_every_kind_of_sleep() {
    let alarm = Alarm::new();
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| alarm.wait(Pause::UntilWoken, || false));
        alarm.stop();
        assert_eq!(sleeper.join().unwrap(), Wake::Stop);
    });
    alarm.ring();
    for pause in
        [Pause::UntilWoken, Pause::For(Duration::from_secs(60)), Pause::For(Duration::ZERO)]
    {
        assert_eq!(alarm.wait(pause, || false), Wake::Stop);
    }
}

#[test]
fn a_timed_sleep_ends_by_itself() {
    let alarm = Alarm::new();
    assert_eq!(alarm.wait(Pause::For(Duration::from_millis(2)), || false), Wake::Due);
    assert_eq!(alarm.wait(Pause::For(Duration::from_millis(2)), || true), Wake::Look);
    assert_eq!(alarm.wait(Pause::For(Duration::from_micros(1)), || false), Wake::Look);
}
