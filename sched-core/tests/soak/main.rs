//! Goroutines that do whatever threads do, interrupted every 200 µs: every result must be a
//! thread's.
//!
//! A few seconds by default; `SOAK_ROUNDS=1000 cargo test --release --test soak` for longer. The
//! monitor here is cruder than any real one: it interrupts whoever computes from one pass to the
//! next, and takes the P of whoever sleeps in the kernel.

mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sched_core::monitor::{KernelState, MachineView, Monitor, StateFile};
use sched_core::{Config, NoHooks, Scheduler};

const GOROUTINES: usize = 24;
/// More than there ever are.
const MACHINES: usize = 1000;
const PASS: Duration = Duration::from_micros(200);

fn rounds() -> usize {
    let asked = std::env::var("SOAK_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) { 6 } else { 30 })
}

/// What was seen of an M at the last pass.
#[derive(Default)]
struct Look {
    switches: u64,
    clock: Option<Duration>,
    file: Option<StateFile>,
}

impl Look {
    /// Takes the P of a goroutine that sleeps in the kernel, interrupts one that computes; both from
    /// the second pass that finds it.
    fn at(&mut self, monitor: &Monitor, view: &MachineView) {
        let same = std::mem::replace(&mut self.switches, view.switches) == view.switches;
        let clock = monitor.cpu_time(view.id);
        // The clock first: a signal's handler would move it.
        let stands = std::mem::replace(&mut self.clock, clock) == clock;
        if same && stands {
            if monitor.kernel_state(view.id, &mut self.file) != KernelState::Running {
                monitor.try_take(view);
            }
        } else if same {
            monitor.request_preempt(view.id);
            monitor.signal(view.id);
        }
    }
}

/// Interrupts and takes until `done`. Allocates before it begins only: a preempted goroutine may
/// hold a lock of malloc's, and get on only if this thread does.
fn harass(monitor: &Monitor, done: &AtomicBool) {
    let mut views = Vec::with_capacity(MACHINES);
    let mut looks = Vec::<Look>::new();
    looks.resize_with(MACHINES, Look::default);
    while !done.load(Ordering::Relaxed) {
        thread::sleep(PASS);
        monitor.snapshot(&mut views);
        assert!(views.capacity() == MACHINES, "more Ms than anybody needs");
        for view in views.iter().filter(|view| view.running) {
            looks[view.id].at(monitor, view);
        }
    }
}

fn soak(config: Config) {
    let scheduler = Scheduler::new(config, Arc::new(NoHooks)).expect("it can be had");
    let expected = work::KINDS.map(|kind| kind());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (monitor, done) = (scheduler.monitor(), &done);
        let harasser = scope.spawn(move || harass(&monitor, done));
        let handles = (0..GOROUTINES)
            .map(|index| {
                let body = move || {
                    for round in 0..rounds() {
                        let kind = (index + round) % work::KINDS.len();
                        assert_eq!(work::KINDS[kind](), expected[kind], "kind {kind}");
                    }
                };
                scheduler.spawn(body).expect("a goroutine can be had")
            })
            .collect::<Vec<_>>();
        let results = handles.into_iter().map(|handle| handle.join()).collect::<Vec<_>>();
        done.store(true, Ordering::Relaxed);
        harasser.join().expect("it does not panic");
        assert!(results.iter().all(Result::is_ok), "a goroutine had another result than a thread");
    });
    eprintln!("{:?}", scheduler.stats());
    assert_eq!(scheduler.shutdown(None).left, []);
}

#[test]
fn whatever_threads_do_with_own_tls() {
    soak(Config { procs: 2, ..Config::default() });
}

#[test]
fn whatever_threads_do_in_thread_mode() {
    soak(Config { procs: 2, thread_mode: true, ..Config::default() });
}

/// Goroutines that are preempted while they hold the lock that starting a thread needs: all Ms are
/// soon blocked on it, the service thread too, and nobody but the monitor and the timer thread is
/// left to get the holder to run.
#[test]
fn threads_that_start_threads_do_not_block_each_other_for_ever() {
    start_threads(Config { procs: 2, spare_threads: 1, ..Config::default() }, rounds() * 100);
}

/// The same with half as many Ms as goroutines: sooner or later all are blocked on the lock, and there
/// is no thread for its holder but one whose goroutine is taken out of its system call.
#[test]
fn threads_that_start_threads_go_on_at_the_cap_of_threads() {
    start_threads(Config { procs: 2, max_threads: 8, ..Config::default() }, rounds() * 3);
}

fn start_threads(config: Config, times: usize) {
    let scheduler = Scheduler::new(config, Arc::new(NoHooks)).expect("it can be had");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (monitor, done) = (scheduler.monitor(), &done);
        scope.spawn(move || harass(&monitor, done));
        let body = move || (0..times).for_each(|_| assert_eq!(work::threads(), 21));
        let handles = [(); 16].map(|()| scheduler.spawn(body).expect("a goroutine"));
        let results = handles.map(|handle| handle.join());
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!(scheduler.shutdown(None).left, []);
}
