//! Forced collections, held guards, free memory, cores, deadlocks, trace lines.

mod script;

use std::time::Duration;

use script::{Deed, MILLI, monitor};
use sysmon::{KernelState, Limits, Pause};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_collection_is_forced_after_two_minutes_and_not_before() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().add(1, KernelState::Runnable);
    monitor.machine_mut().collected = Some(Duration::ZERO);
    monitor.machine_mut().pass(120 * SECOND - MILLI);
    assert_eq!(monitor.look(), Pause::For(MILLI / 2));
    assert_eq!(monitor.machine_mut().deeds(), []);
    monitor.machine_mut().pass(MILLI);
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Collect]);
    for _ in 0..119 {
        monitor.machine_mut().pass(SECOND);
        monitor.look();
    }
    assert_eq!(monitor.machine_mut().deeds(), [], "a request is not repeated at each look");
    monitor.machine_mut().pass(SECOND);
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Collect]);
}

#[test]
fn no_heap_no_collection_and_an_idle_machine_is_not_woken_for_one() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().pass(500 * SECOND);
    assert_eq!(monitor.look(), Pause::UntilWoken);
    assert_eq!(monitor.machine_mut().deeds(), []);
    monitor.machine_mut().collected = Some(450 * SECOND);
    assert_eq!(monitor.look(), Pause::UntilWoken);
}

#[test]
fn an_old_guard_is_reported_once() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().guard = Some((9, Duration::ZERO));
    assert_eq!(monitor.look(), Pause::For(SECOND), "the holder may sleep; the monitor must not");
    monitor.machine_mut().pass(SECOND);
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Guard(9)]);
    monitor.machine_mut().pass(SECOND);
    assert_eq!(monitor.look(), Pause::UntilWoken);
    assert_eq!(monitor.machine_mut().deeds(), []);
    monitor.machine_mut().guard = Some((10, Duration::ZERO));
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Guard(10)]);
}

#[test]
fn a_busy_machine_is_asked_for_guards_four_times_a_second() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().add(1, KernelState::Runnable);
    monitor.look();
    monitor.machine_mut().guard = Some((3, Duration::ZERO));
    let mut looks = 0;
    while monitor.machine_mut().deeds() != [Deed::Guard(3)] {
        monitor.machine_mut().pass(10 * MILLI);
        monitor.look();
        looks += 1;
    }
    assert!((100..=125).contains(&looks), "reported after {looks} times 10 ms");
}

#[test]
fn trace_lines_keep_their_period_also_in_an_idle_machine() {
    let mut monitor = monitor(Limits { trace: Some(SECOND), ..Limits::DEFAULT });
    monitor.machine_mut().sleeps = 3;
    let script = monitor.run();
    assert_eq!(script.pauses, [Pause::For(SECOND); 4]);
    assert_eq!(script.deeds, [Deed::Trace; 3]);
}

#[test]
fn free_memory_wakes_the_scavenger_also_when_the_last_worker_has_stopped() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().add(1, KernelState::Runnable);
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), []);
    monitor.machine_mut().rests = true;
    monitor.look();
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Scavenge]);
    monitor.machine_mut().rests = true;
    monitor.machine_mut().actors.clear();
    assert_eq!(monitor.look(), Pause::UntilWoken);
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Scavenge]);
}

#[test]
fn cores_are_counted_once_a_second_and_not_for_an_idle_machine() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().pass(500 * SECOND);
    assert_eq!(monitor.look(), Pause::UntilWoken);
    assert_eq!(monitor.machine_mut().resizes, 0);
    monitor.machine_mut().add(1, KernelState::Runnable);
    for _ in 0..1000 {
        monitor.look();
        monitor.machine_mut().pass(10 * MILLI);
    }
    assert_eq!(monitor.machine_mut().resizes, 10);
}

#[test]
fn a_deadlock_is_asked_for_some_times_and_anew_when_something_has_happened() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().asleep = true;
    monitor.machine_mut().add(1, KernelState::Runnable);
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), [], "somebody runs");
    for busy in [true, false, true] {
        if busy {
            monitor.machine_mut().add(1, KernelState::Runnable);
            monitor.look();
            monitor.machine_mut().actors.clear();
        }
        // Else somebody has woken it after the last question.
        for n in [10, 20, 40, 80, 160, 320, 640] {
            assert_eq!(monitor.look(), Pause::For(n * MILLI));
            // Woken early, it does not ask.
            monitor.machine_mut().pass(n * MILLI - MILLI);
            assert_eq!(monitor.look(), Pause::For(MILLI));
            assert_eq!(monitor.machine_mut().deeds(), []);
            monitor.machine_mut().pass(MILLI);
            let pause = monitor.look();
            assert_eq!(pause == Pause::UntilWoken, n == 640, "that was the last one");
            assert_eq!(monitor.machine_mut().deeds(), [Deed::Asleep]);
        }
    }
}

#[test]
fn a_trace_line_is_no_reason_to_ask_for_a_deadlock_anew() {
    let mut monitor = monitor(Limits { trace: Some(SECOND), ..Limits::DEFAULT });
    monitor.machine_mut().asleep = true;
    monitor.machine_mut().sleeps = 30;
    let script = monitor.run();
    let asked = script.deeds.iter().filter(|deed| **deed == Deed::Asleep).count();
    assert_eq!(asked, 7);
    assert!(script.deeds.ends_with(&[Deed::Trace; 10]), "{:?}", script.deeds);
}

#[test]
fn a_short_lull_asks_for_no_deadlock() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().asleep = true;
    for _ in 0..100 {
        monitor.machine_mut().actors.clear();
        assert_eq!(monitor.look(), Pause::For(10 * MILLI));
        monitor.machine_mut().pass(9 * MILLI);
        monitor.machine_mut().add(1, KernelState::Runnable);
        monitor.look();
    }
    assert_eq!(monitor.machine_mut().deeds(), []);
}
