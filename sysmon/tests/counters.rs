//! What the monitor counts, in the time of a manual clock.

mod script;

use std::time::Duration;

use script::{MICRO, MILLI, monitor};
use sysmon::{KernelState, Limits};

#[test]
fn looks_pauses_and_the_time_asleep() {
    let mut monitor = monitor(Limits::DEFAULT);
    let counters = monitor.counters();
    monitor.machine_mut().add(1, KernelState::Runnable);
    monitor.machine_mut().sleeps = 6;
    monitor.run();
    let stats = counters.read();
    assert_eq!((stats.looks, stats.pause), (7, 10 * MILLI));
    // 0.5 + 1 + 2 + 4 + 8 + 10 + 10 ms; the clock stands still during a look.
    assert_eq!((stats.asleep, stats.awake), (35_500 * MICRO, Duration::ZERO));
}

#[test]
fn takes_and_refusals() {
    let mut monitor = monitor(Limits::DEFAULT);
    let counters = monitor.counters();
    monitor.machine_mut().waiting = 1;
    monitor.machine_mut().add(1, KernelState::Sleeping);
    monitor.machine_mut().add(2, KernelState::Sleeping).refuses = true;
    for _ in 0..3 {
        monitor.look();
        monitor.machine_mut().pass(MILLI);
    }
    let stats = counters.read();
    assert_eq!((stats.looks, stats.takes, stats.refusals), (3, 1, 1));
    assert_eq!(stats.asleep, Duration::ZERO, "whoever calls `look` sleeps by itself");
}

#[test]
fn requests_and_signals() {
    let mut monitor = monitor(Limits::DEFAULT);
    let counters = monitor.counters();
    monitor.machine_mut().waiting = 1;
    monitor.machine_mut().add(1, KernelState::Runnable);
    for _ in 0..30 {
        monitor.look();
        monitor.machine_mut().pass(MILLI);
    }
    let deeds = monitor.machine_mut().deeds();
    let signals = deeds.iter().filter(|deed| matches!(deed, script::Deed::Signal(1))).count();
    let stats = counters.read();
    assert!(signals > 0, "a task has computed for three slices");
    assert_eq!((stats.signals, stats.requests), (signals as u64, (deeds.len() - signals) as u64));
}

#[test]
fn errands_and_calls() {
    let mut monitor = monitor(Limits { trace: Some(MILLI), ..Limits::DEFAULT });
    let counters = monitor.counters();
    monitor.machine_mut().collected = Some(Duration::ZERO);
    monitor.machine_mut().add(1, KernelState::Runnable);
    monitor.machine_mut().pass(120 * Duration::from_secs(1));
    monitor.machine_mut().calls = 2;
    monitor.machine_mut().sleeps = 2;
    let machine = monitor.run();
    let stats = counters.read();
    assert_eq!(stats.errands, (machine.deeds.len() + machine.resizes) as u64);
    assert!(stats.errands >= 2, "a collection and a trace");
    assert_eq!(stats.calls, 2);
}
