//! Goroutines that do whatever threads do, interrupted about every 100 µs that they compute: every result
//! must be a thread's.
//!
//! A second for each kind of preemption by default;
//! `SOAK_SECONDS=60 cargo test --release -p sched-core --test soak` for longer. The monitor here is cruder than any real one: it interrupts whoever computes from one
//! pass to the next, and takes the P of whoever sleeps in the kernel.

mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sched_core::monitor::{KernelState, MachineView, Monitor, StateFile};
use sched_core::{Config, NoHooks, Preemption, Scheduler};

const GOROUTINES: usize = 64;
/// More than there ever are.
const MACHINES: usize = 1000;
/// Half of the time between two interruptions: who is interrupted was seen at the pass before.
const PASS: Duration = Duration::from_micros(50);

/// How long each soak begins new work.
fn time() -> Duration {
    let asked = std::env::var("SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(asked.unwrap_or(1))
}

/// What was seen of an M at the last pass.
#[derive(Default)]
struct Look {
    switches: u64,
    clock: Option<Duration>,
    file: Option<StateFile>,
    signalled: bool,
}

/// What became of those that were seen to compute from one pass to the next.
#[derive(Debug, Default)]
struct Tally {
    due: u64,
    signalled: u64,
}

impl Tally {
    /// Nearly each pass that is due brings a signal, and nearly each signal a preemption.
    fn check(&self, preemptions: u64) {
        assert!(self.signalled * 3 > self.due * 2, "{self:?}");
        assert!(preemptions * 3 > self.signalled * 2, "{preemptions} preemptions, {self:?}");
    }
}

impl Look {
    /// Takes the P of a goroutine that sleeps in the kernel, interrupts one that computes; both from
    /// the second pass that finds it.
    fn at(&mut self, monitor: &Monitor, view: &MachineView, tally: &mut Tally) {
        let same = std::mem::replace(&mut self.switches, view.switches) == view.switches;
        let clock = monitor.cpu_time(view.id);
        // The clock first: a signal's handler would move it.
        let stands = std::mem::replace(&mut self.clock, clock) == clock;
        let before = std::mem::take(&mut self.signalled);
        if same && stands {
            let mut blocks =
                || monitor.kernel_state(view.id, &mut self.file) != KernelState::Running;
            if view.proc.is_some() && blocks() {
                monitor.try_take(view);
            }
        } else if same {
            tally.due += 1;
            // Not at each pass: the handler moves the clock of one that is blocked and stays.
            if !before && monitor.request_preempt(view) {
                self.signalled = true;
                tally.signalled += 1;
                monitor.signal(view.id);
            }
        }
    }
}

/// Interrupts and takes until `done`. Allocates before it begins only: a preempted goroutine may
/// hold a lock of malloc's, and get on only if this thread does.
fn harass(monitor: &Monitor, done: &AtomicBool) -> Tally {
    let mut views = Vec::with_capacity(MACHINES);
    let mut looks = Vec::<Look>::new();
    looks.resize_with(MACHINES, Look::default);
    let mut tally = Tally::default();
    sched_core::sync::sharpen_timers();
    while !done.load(Ordering::Relaxed) {
        thread::sleep(PASS);
        monitor.snapshot(&mut views);
        assert!(views.capacity() == MACHINES, "more Ms than anybody needs");
        for view in views.iter().filter(|view| view.running) {
            looks[view.id].at(monitor, view, &mut tally);
        }
    }
    tally
}

/// What a soak saw.
#[derive(Default)]
struct Seen {
    done: AtomicUsize,
    /// Pieces of work that began on one kernel thread and ended on another.
    moved: AtomicUsize,
}

impl Seen {
    /// Does the work of one kind, and compares.
    fn work(&self, kind: usize, expected: &[u64; work::KINDS.len()]) {
        // SAFETY: no memory is passed.
        let tid = || unsafe { libc::gettid() };
        let before = tid();
        assert_eq!(work::KINDS[kind](), expected[kind], "kind {kind}");
        self.done.fetch_add(1, Ordering::Relaxed);
        self.moved.fetch_add(usize::from(tid() != before), Ordering::Relaxed);
    }
}

fn soak(config: Config) {
    let name = format!("{:?}, thread mode {}", config.preemption, config.thread_mode);
    let preemption = config.preemption;
    let scheduler = Scheduler::new(config, Arc::new(NoHooks)).expect("it can be had");
    let moves = scheduler.mode().is_own_tls();
    let expected = work::KINDS.map(|kind| kind());
    let (done, seen) = (AtomicBool::new(false), Arc::new(Seen::default()));
    let end = Instant::now() + time();
    let tally = thread::scope(|scope| {
        let (monitor, done) = (scheduler.monitor(), &done);
        let harasser = scope.spawn(move || harass(&monitor, done));
        let handles = (0..GOROUTINES)
            .map(|index| {
                let seen = Arc::clone(&seen);
                let body = move || {
                    let kinds = (0..work::KINDS.len()).cycle().skip(index);
                    // Each kind once, however long it takes.
                    for (round, kind) in kinds.enumerate() {
                        if round >= work::KINDS.len() && Instant::now() >= end {
                            break;
                        }
                        seen.work(kind, &expected);
                    }
                };
                scheduler.spawn(body).expect("a goroutine can be had")
            })
            .collect::<Vec<_>>();
        let results = handles.into_iter().map(|handle| handle.join()).collect::<Vec<_>>();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "a goroutine had another result than a thread");
        harasser.join().expect("it does not panic")
    });
    let (pieces, moved) = (seen.done.load(Ordering::Relaxed), seen.moved.load(Ordering::Relaxed));
    let stats = scheduler.stats();
    eprintln!("{name}: {pieces} pieces of work, {moved} moved; {tally:?}; {stats:?}");
    assert!(stats.handoffs > 0);
    // Only an injected call goes on elsewhere in the middle of a piece.
    assert_eq!(moved > 0, moves && preemption == Preemption::Inject);
    match preemption {
        Preemption::Inject => tally.check(stats.preemptions),
        Preemption::ParkThread => assert!(!moves || stats.stays > 0),
        _ => {}
    }
    assert_eq!(scheduler.shutdown(None).left, []);
}

fn with(preemption: Preemption) -> Config {
    Config { procs: 2, preemption, ..Config::default() }
}

#[test]
fn whatever_threads_do_by_injection() {
    soak(with(Preemption::Inject));
}

#[test]
fn whatever_threads_do_where_they_stand() {
    soak(with(Preemption::ParkThread));
}

#[test]
fn whatever_threads_do_without_signals() {
    soak(with(Preemption::Cooperative));
}

#[test]
fn whatever_threads_do_in_thread_mode() {
    soak(Config { thread_mode: true, ..with(Preemption::Inject) });
}

/// Goroutines that are preempted while they hold the lock that starting a thread needs: all Ms are
/// soon blocked on it, the service thread too, and nobody but the monitor and the timer thread is
/// left to get the holder to run.
#[test]
fn threads_that_start_threads_do_not_block_each_other_for_ever() {
    start_threads(Config { spare_threads: 1, ..with(Preemption::Inject) });
}

/// The same with half as many Ms as goroutines: sooner or later all are blocked on the lock, and there
/// is no thread for its holder but one whose goroutine is taken out of its system call.
#[test]
fn threads_that_start_threads_go_on_at_the_cap_of_threads() {
    start_threads(Config { max_threads: 8, ..with(Preemption::Inject) });
}

fn start_threads(config: Config) {
    let scheduler = Scheduler::new(config, Arc::new(NoHooks)).expect("it can be had");
    let done = AtomicBool::new(false);
    let end = Instant::now() + time();
    thread::scope(|scope| {
        let (monitor, done) = (scheduler.monitor(), &done);
        scope.spawn(move || harass(&monitor, done));
        let body = move || {
            let mut times = 0;
            while Instant::now() < end || times < 3 {
                assert_eq!(work::threads(), 21);
                times += 1;
            }
        };
        let handles = [(); 16].map(|()| scheduler.spawn(body).expect("a goroutine"));
        let results = handles.map(|handle| handle.join());
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!(scheduler.shutdown(None).left, []);
}
