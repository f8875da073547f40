//! How long the monitor sleeps, and that it does not wake for nothing.

mod script;

use script::{MICRO, MILLI, monitor};
use sysmon::{KernelState, Limits, Pause};

fn pauses(sleeps: usize, prepare: impl FnOnce(&mut script::Script)) -> Vec<Pause> {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().sleeps = sleeps;
    prepare(monitor.machine_mut());
    monitor.run().pauses
}

#[test]
fn an_idle_machine_is_never_looked_at() {
    assert_eq!(pauses(0, |_| {}), [Pause::UntilWoken]);
}

#[test]
fn looks_double_to_one_millisecond_while_something_waits() {
    let seen = pauses(4, |script| {
        script.waiting = 1;
        script.add(1, KernelState::Runnable);
    });
    assert_eq!(seen, [250, 500, 1000, 1000, 1000].map(|n| Pause::For(n * MICRO)));
}

#[test]
fn looks_double_to_ten_milliseconds_while_nothing_waits() {
    let seen = pauses(7, |script| {
        script.add(1, KernelState::Runnable);
    });
    let expected = [500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000];
    assert_eq!(seen, expected.map(|n| Pause::For(n * MICRO)));
}

#[test]
fn a_take_shortens_the_pause_and_peace_lengthens_it_again() {
    let seen = pauses(7, |script| {
        script.waiting = 1;
        script.add(1, KernelState::Sleeping);
        script.add(2, KernelState::Runnable);
    });
    assert_eq!(seen, [250, 20, 40, 80, 160, 320, 640, 1000].map(|n| Pause::For(n * MICRO)));
}

#[test]
fn a_task_that_begins_to_wait_brings_the_looks_back() {
    let mut monitor = monitor(Limits::DEFAULT);
    monitor.machine_mut().add(1, KernelState::Runnable);
    for _ in 0..10 {
        monitor.look();
        monitor.machine_mut().pass(MILLI / 10);
    }
    assert_eq!(monitor.look(), Pause::For(10 * MILLI));
    monitor.machine_mut().waiting = 3;
    assert_eq!(monitor.look(), Pause::For(250 * MICRO));
}

#[test]
fn blocked_workers_let_the_monitor_sleep_in_the_end() {
    let seen = pauses(2, |script| {
        script.add(1, KernelState::Sleeping);
        script.add(2, KernelState::Sleeping);
    });
    assert_eq!(seen, [Pause::For(500 * MICRO), Pause::For(20 * MICRO), Pause::UntilWoken]);
}
