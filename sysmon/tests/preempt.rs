//! A task that keeps its processor is asked to yield, then made to.

mod script;

use script::{Deed, MICRO, MILLI, monitor};
use sysmon::{KernelState, Limits, Pause};

const SLICE: std::time::Duration = Limits::DEFAULT.slice;

#[test]
fn a_used_up_slice_is_requested_first_and_signalled_at_the_next_look() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().waiting = 1;
    monitor.machine_mut().add(1, KernelState::Runnable);
    monitor.look();
    monitor.machine_mut().pass(SLICE - MICRO);
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), []);
    monitor.machine_mut().pass(MICRO);
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Request(1)]);
    monitor.machine_mut().pass(MILLI);
    monitor.look();
    // The first request may have met a worker between two tasks.
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Request(1), Deed::Signal(1)]);
}

#[test]
fn the_monitor_is_back_when_the_slice_ends() {
    let mut monitor = monitor(Limits { waiting_cap: SLICE * 9, ..Limits::DEFAULT });
    monitor.machine_mut().waiting = 1;
    monitor.machine_mut().add(1, KernelState::Runnable);
    monitor.look();
    monitor.machine_mut().pass(SLICE - 300 * MICRO);
    assert_eq!(monitor.look(), Pause::For(300 * MICRO));
}

#[test]
fn a_task_that_yields_in_time_is_never_signalled() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().waiting = 1;
    monitor.machine_mut().add(1, KernelState::Runnable);
    for _ in 0..5 {
        monitor.look();
        monitor.machine_mut().pass(SLICE);
        monitor.look();
        assert_eq!(monitor.machine_mut().deeds(), [Deed::Request(1)]);
        let now = sysmon::Clock::now(&monitor.machine().clock);
        let actor = monitor.machine_mut().actor(1);
        (actor.tick, actor.slice_began) = (actor.tick + 1, now);
        monitor.machine_mut().pass(MILLI);
        monitor.look();
        assert_eq!(monitor.machine_mut().deeds(), []);
    }
}

#[test]
fn a_blocked_task_is_never_signalled() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().waiting = 1;
    let actor = monitor.machine_mut().add(1, KernelState::Sleeping);
    actor.refuses = true;
    monitor.look();
    for _ in 0..20 {
        monitor.machine_mut().pass(SLICE);
        monitor.look();
    }
    // The script itself asserts that no blocked thread is signalled.
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Request(1)]);
}

#[test]
fn signals_keep_a_distance() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().waiting = 1;
    monitor.machine_mut().add(1, KernelState::Runnable);
    monitor.look();
    monitor.machine_mut().pass(SLICE);
    monitor.look();
    for _ in 0..40 {
        monitor.machine_mut().pass(MILLI / 4);
        monitor.look();
    }
    let deeds = monitor.machine_mut().deeds();
    let signals = deeds.iter().filter(|&&deed| deed == Deed::Signal(1)).count();
    assert_eq!(signals, 10, "ten milliseconds, one signal each: {deeds:?}");
}

#[test]
fn nobody_is_asked_to_yield_to_nobody() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().add(1, KernelState::Runnable);
    for _ in 0..10 {
        monitor.look();
        monitor.machine_mut().pass(SLICE);
    }
    assert_eq!(monitor.machine_mut().deeds(), []);
    monitor.machine_mut().waiting = 1;
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Request(1)]);
}

#[test]
fn who_computes_without_a_processor_is_pressed_at_once() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().waiting = 1;
    monitor.machine_mut().add(1, KernelState::Runnable).holds = false;
    monitor.machine_mut().add(2, KernelState::Sleeping).holds = false;
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), []);
    monitor.machine_mut().pass(MILLI);
    monitor.look();
    monitor.machine_mut().pass(MILLI);
    monitor.look();
    let pressed = [Deed::Request(1), Deed::Request(1), Deed::Signal(1)];
    assert_eq!(monitor.machine_mut().deeds(), pressed);
}

#[test]
fn clocks_of_many_without_a_processor_are_read_in_turn() {
    const MANY: u64 = 1000;
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().waiting = 1;
    for id in 0..MANY {
        monitor.machine_mut().add(id, KernelState::Sleeping).holds = false;
    }
    monitor.machine_mut().add(MANY / 2, KernelState::Runnable).holds = false;
    monitor.machine_mut().add(MANY, KernelState::Runnable);
    let mut looks = 0;
    while monitor.machine().deeds.is_empty() {
        monitor.machine_mut().read = 0;
        monitor.look();
        let read = monitor.machine().read;
        assert!(read <= 40, "{read} clocks in one look");
        monitor.machine_mut().pass(MICRO);
        looks += 1;
    }
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Request(MANY / 2)]);
    assert!(looks <= 64, "it was its turn twice in {looks} looks");
}

#[test]
fn who_is_seen_again_is_known_although_others_come_and_go() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().waiting = 1;
    for id in 1..10 {
        monitor.machine_mut().add(id, KernelState::Runnable).holds = false;
    }
    monitor.look();
    monitor.machine_mut().pass(MILLI);
    monitor.machine_mut().actors.retain(|&id, _| id > 3 && id != 7);
    monitor.machine_mut().add(0, KernelState::Runnable).holds = false;
    monitor.machine_mut().add(6, KernelState::Runnable).tick = 2;
    monitor.look();
    let known = [4, 5, 8, 9].map(Deed::Request);
    assert_eq!(monitor.machine_mut().deeds(), known);
}
