//! Goroutines that do whatever threads do, interrupted about every 100 µs that they compute: every result
//! must be a thread's.
//!
//! A second for each kind of preemption by default;
//! `SOAK_SECONDS=60 cargo test -p sched-core --test soak -- --nocapture` for longer. The monitor here is cruder than any
//! real one: it interrupts whoever computes from one pass to the next, and takes the P of whoever sleeps in the kernel.
//!
//! That command on 2026-12-02, on two cores of a Zen 4 at a load of 10 to 25:
//!
//! | soak | preemptions | of it |
//! |---|---|---|
//! | by injection | 55,396 in 30.4 s of processor time | 17,118 pieces of work, 5,441 ended on another thread |
//! | where they stand | 56,591 in 56.1 s | 35,224 pieces |
//! | in thread mode | 49,600 in 42.7 s | 24,058 pieces |
//! | starting threads, one M in reserve | 197,500 | 950,763 threads started; 19 Ms |
//! | starting threads, 8 Ms at most | 127,300 | 869,427 threads started; 3,052 interruptions in the kernel |

mod work;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use sched_core::monitor::{KernelState, MachineView, Monitor, StateFile};
use sched_core::{Config, NoHooks, Preemption, Scheduler, Stats};

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

/// Preemptions for each second of processor time that a soak by injection takes, at least, and pieces of work that
/// ended elsewhere for that reason: a quarter of the least seen. Of processor time, since on a loaded machine a second of
/// the clock may hold little of it.
const PREEMPTIONS: u64 = 300;
const MOVED: usize = 30;

/// One soak at a time: the processor time is then its own.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|error| error.into_inner())
}

/// The processor time of all threads of the process so far.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
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
    let _alone = alone();
    let name = format!("{:?}, thread mode {}", config.preemption, config.thread_mode);
    let preemption = config.preemption;
    let scheduler = Scheduler::new(config, Arc::new(NoHooks)).expect("it can be had");
    let moves = scheduler.mode().is_own_tls();
    let expected = work::KINDS.map(|kind| kind());
    let (done, seen) = (AtomicBool::new(false), Arc::new(Seen::default()));
    let (end, before) = (Instant::now() + time(), processor_time());
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
    let (stats, took) = (scheduler.stats(), (processor_time() - before).as_secs_f64());
    eprintln!(
        "{name}: {pieces} pieces of work, {moved} moved; {tally:?}; {took:.2} s of processor time; {stats:?}"
    );
    assert!(stats.handoffs > 0);
    // Only an injected call goes on elsewhere in the middle of a piece.
    assert_eq!(moved > 0, moves && preemption == Preemption::Inject);
    match preemption {
        Preemption::Inject => {
            tally.check(stats.preemptions);
            assert!(stats.preemptions as f64 > PREEMPTIONS as f64 * took, "too few preemptions");
            assert!(!moves || moved as f64 > MOVED as f64 * took, "too few moved");
        }
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
/// left to get the holder to run. Of the one M in reserve is made use, and the reserve is filled again: nobody but the
/// service thread makes Ms, and it makes none beyond the Ps' and the reserve before one is taken.
#[test]
fn threads_that_start_threads_do_not_block_each_other_for_ever() {
    let config = Config { spare_threads: 1, ..with(Preemption::Inject) };
    let enough = config.procs + config.spare_threads + 1;
    start_threads(config, move |stats| stats.threads > enough as u64);
}

/// The same with half as many Ms as goroutines: sooner or later all are blocked on the lock, and there
/// is no thread for its holder but one whose goroutine is taken out of its system call.
#[test]
fn threads_that_start_threads_go_on_at_the_cap_of_threads() {
    let config = Config { max_threads: 8, ..with(Preemption::Inject) };
    start_threads(config, |stats| stats.threads == 8 && stats.escapes > 0);
}

/// A scheduler whose goroutines start and join threads, for as long as a soak and until what is to be shown `was_seen`.
fn start_threads(config: Config, was_seen: impl Fn(Stats) -> bool + Copy + Send + 'static) {
    let _alone = alone();
    let scheduler = Scheduler::new(config, Arc::new(NoHooks)).expect("it can be had");
    let (done, started) = (AtomicBool::new(false), Arc::new(AtomicUsize::new(0)));
    let end = Instant::now() + time();
    thread::scope(|scope| {
        let (monitor, done) = (scheduler.monitor(), &done);
        scope.spawn(move || harass(&monitor, done));
        let handles = [(); 16].map(|()| {
            let started = Arc::clone(&started);
            let body = move || {
                let own = sched_core::current().expect("a goroutine");
                while Instant::now() < end || !was_seen(own.stats()) {
                    assert_eq!(work::threads(), 21);
                    started.fetch_add(3, Ordering::Relaxed);
                }
            };
            scheduler.spawn(body).expect("a goroutine")
        });
        let results = handles.map(|handle| handle.join());
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    let (stats, cap) = (scheduler.stats(), scheduler.config().max_threads);
    eprintln!("at most {cap} Ms: {} threads started; {stats:?}", started.load(Ordering::Relaxed));
    assert_eq!(scheduler.shutdown(None).left, []);
}
