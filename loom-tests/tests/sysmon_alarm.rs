//! The monitor's sleep against whoever makes the machine active (`sysmon/src/alarm.rs`).
//!
//! Promise: a monitor that sleeps beside an active machine is woken. A lost ring shows as a
//! deadlock: the monitor waits and nobody is left to ring.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::model;
use sysmon::{Alarm, Pause, Wake};

#[test]
fn a_ring_that_follows_work_is_never_lost() {
    model("sysmon_alarm: ring", 3, || {
        let shared = Arc::new((Alarm::new(), AtomicBool::new(false)));
        let worker = shared.clone();
        let worker = thread::spawn(move || {
            let (alarm, active) = &*worker;
            active.store(true, Ordering::Relaxed);
            alarm.ring();
        });
        let (alarm, active) = &*shared;
        while !active.load(Ordering::Relaxed) {
            let woken = alarm.wait(Pause::UntilWoken, || active.load(Ordering::Relaxed));
            assert_eq!(woken, Wake::Look);
        }
        worker.join().unwrap();
    });
}

#[test]
fn two_ringers_wake_one_monitor_and_leave_the_word_clean() {
    model("sysmon_alarm: two ringers", 2, || {
        let shared = Arc::new((Alarm::new(), AtomicBool::new(false)));
        let ringers = [(); 2].map(|()| {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.1.store(true, Ordering::Relaxed);
                shared.0.ring();
            })
        });
        let (alarm, active) = &*shared;
        while !active.load(Ordering::Relaxed) {
            let _ = alarm.wait(Pause::UntilWoken, || active.load(Ordering::Relaxed));
        }
        ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
        alarm.stop();
        assert_eq!(alarm.wait(Pause::UntilWoken, || false), Wake::Stop);
    });
}

#[test]
fn stop_ends_every_sleep_and_publishes_what_was_before() {
    model("sysmon_alarm: stop", 3, || {
        let shared = Arc::new((Alarm::new(), AtomicBool::new(false)));
        let stopper = shared.clone();
        let stopper = thread::spawn(move || {
            stopper.1.store(true, Ordering::Relaxed);
            stopper.0.stop();
        });
        let (alarm, last) = &*shared;
        while alarm.wait(Pause::UntilWoken, || false) != Wake::Stop {}
        assert!(last.load(Ordering::Relaxed), "what the stopper did before is seen");
        stopper.join().unwrap();
    });
}
