//! A blocked worker loses its processor, and nobody else does.

mod script;

use script::{Deed, MICRO, MILLI, monitor};
use sysmon::{KernelState, Limits, Pause};

#[test]
fn two_looks_at_a_standing_clock_and_a_sleeping_thread_make_a_take() {
    for state in [KernelState::Sleeping, KernelState::Uninterruptible] {
        let mut monitor = monitor(Limits::DEFAULT);
        monitor.machine_mut().waiting = 1;
        monitor.machine_mut().add(7, state);
        assert_eq!(monitor.look(), Pause::For(250 * MICRO));
        assert_eq!(monitor.machine_mut().deeds(), []);
        monitor.machine_mut().pass(250 * MICRO);
        assert_eq!(monitor.look(), Pause::For(20 * MICRO));
        assert_eq!(monitor.machine_mut().deeds(), [Deed::Take(7)]);
    }
}

#[test]
fn a_processor_is_taken_also_while_nothing_waits() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().add(7, KernelState::Sleeping);
    monitor.look();
    monitor.machine_mut().pass(MILLI);
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Take(7)]);
    assert_eq!(monitor.look(), Pause::UntilWoken, "all processors are idle now");
}

#[test]
fn a_worker_that_switched_or_ran_keeps_its_processor() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().waiting = 1;
    monitor.machine_mut().add(1, KernelState::Sleeping);
    monitor.machine_mut().add(2, KernelState::Sleeping);
    for _ in 0..50 {
        monitor.look();
        monitor.machine_mut().pass(100 * MICRO);
        monitor.machine_mut().actor(1).tick += 1;
        *monitor.machine_mut().actor(2).cpu.as_mut().unwrap() += MICRO;
    }
    assert_eq!(monitor.machine_mut().asked_kernel, 0, "the clock is asked before the kernel");
    assert_eq!(monitor.machine_mut().deeds(), []);
}

#[test]
fn a_thread_that_waits_for_a_core_is_asked_about_once() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().waiting = 1;
    monitor.machine_mut().add(3, KernelState::Runnable).computes = false;
    for _ in 0..10 {
        monitor.look();
        monitor.machine_mut().pass(MILLI / 2);
    }
    assert_eq!(monitor.machine_mut().deeds(), []);
    assert_eq!(monitor.machine_mut().asked_kernel, 1);
}

#[test]
fn a_refused_take_is_repeated_only_after_the_clock_moved() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().waiting = 1;
    monitor.machine_mut().add(4, KernelState::Sleeping).refuses = true;
    for _ in 0..10 {
        monitor.look();
        monitor.machine_mut().pass(MILLI / 2);
    }
    assert_eq!(monitor.machine_mut().asked_kernel, 1);
    let actor = monitor.machine_mut().actor(4);
    actor.refuses = false;
    *actor.cpu.as_mut().unwrap() += MICRO;
    monitor.look();
    monitor.machine_mut().pass(MILLI / 2);
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Take(4)]);
}

#[test]
fn without_proc_two_milliseconds_of_standing_clock_are_enough() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().waiting = 1;
    monitor.machine_mut().add(5, KernelState::Unknown);
    for _ in 0..4 {
        monitor.look();
        monitor.machine_mut().pass(MILLI / 2);
        assert_eq!(monitor.machine_mut().deeds(), []);
    }
    monitor.look();
    assert_eq!(monitor.machine_mut().deeds(), [Deed::Take(5)]);
}

#[test]
fn a_worker_whose_clock_cannot_be_read_keeps_its_processor() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().waiting = 1;
    monitor.machine_mut().add(6, KernelState::Sleeping).cpu = None;
    for _ in 0..10 {
        monitor.look();
        monitor.machine_mut().pass(MILLI / 2);
    }
    assert_eq!(monitor.machine_mut().deeds(), []);
}

#[test]
fn a_worker_between_tasks_is_not_judged() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().waiting = 1;
    monitor.machine_mut().add(8, KernelState::Sleeping).running = false;
    for _ in 0..10 {
        monitor.look();
        monitor.machine_mut().pass(MILLI / 2);
    }
    assert_eq!(monitor.machine_mut().deeds(), []);
}
